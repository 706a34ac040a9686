"""Every dependency is pinned to one version, at or above what published advisories ask for."""

from __future__ import annotations

import re
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
