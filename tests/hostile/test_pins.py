"""Every dependency is pinned to one version, at or above what published advisories ask for."""

from __future__ import annotations

import re
import sys
import tomllib
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).parents[2]
# torch: code from weights_only loads; jinja2: a sandbox that leaked; the others: see SECURITY.md.
FLOORS = {"torch": "2.10", "jinja2": "3.1.6"}


def pins() -> dict[str, str]:
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    found = {}
    for line in lines:
        said = line.partition("#")[0].strip()
        if said:
            match = re.fullmatch(r"([\w.-]+)(?:\[.*\])?==([\w.+!-]+)(?: *;.*)?", said)
            assert match, f"{line}: is no exact version"
            found[canonicalize_name(match[1])] = match[2]
    return found


def test_all_that_ftune_needs_is_pinned():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    names = {canonicalize_name(Requirement(line).name) for line in project["dependencies"]}
    assert names - pins().keys() == set()


@pytest.mark.parametrize("name", FLOORS)
def test_floors(name):
    assert Version(pins()[name]) >= Version(FLOORS[name])
    assert Version(version(name)) >= Version(FLOORS[name])


def test_what_is_installed_is_what_is_pinned():
    wrong = []
    for name, pin in pins().items():
        try:
            there = version(name)
        except PackageNotFoundError:  # of an extra
            continue
        if Version(there).public != Version(pin).public:
            wrong.append(f"{name} is {there}, pinned to {pin}")
    assert wrong == []


def lock() -> dict[str, tuple[str, str]]:
    """Version and sha256 of each locked package."""
    found = {}
    for path in ROOT.glob("requirements-*.lock"):
        for line in path.read_text(encoding="utf-8").splitlines()[1:]:
            match = re.fullmatch(r"([\w.-]+)==([\w.+!-]+) --hash=sha256:([0-9a-f]{64})", line)
            assert match, f"{path.name}: {line}"
            found[canonicalize_name(match[1])] = (match[2], match[3])
    return found


def test_all_that_is_pinned_but_torch_is_locked_at_the_same_version():
    """`make lock` writes it again."""
    locked = {name: version for name, (version, _) in lock().items()}
    wanted = {name: pin for name, pin in pins().items() if name != "torch"}
    assert locked.keys() == wanted.keys()
    assert {n: Version(v) for n, v in locked.items()} == {n: Version(v) for n, v in wanted.items()}
    assert len({digest for _, digest in lock().values()}) == len(locked)


def test_the_lock_is_written_from_what_pip_reports():
    sys.path.append(str(ROOT / "tools"))
    import lock as tool

    assert tool.pins("# a\nb==1\ntorch==2 # local\n\nC.d==2.0 # why\n") == ["b==1", "C.d==2.0"]
    digest = "0" * 64
    packages = [
        {
            "metadata": {"name": name, "version": "1"},
            "download_info": {"archive_info": {"hashes": {"sha256": digest}}},
        }
        for name in ("b", "A")
    ]
    lines = tool.written(packages).splitlines()
    assert lines[1:] == [f"A==1 --hash=sha256:{digest}", f"b==1 --hash=sha256:{digest}"]
