"""Rules on names and paths: what would stand outside its folder, or is not there."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from ftune.recipe.places import KeyPath, Problem, dotted
from ftune.recipe.source_text import near_files
from ftune.registry import ROOT, template_names

SHIPPED = "ftune:"
ASSETS = ROOT / "assets"
ENDINGS = (".jsonl", ".json", ".csv", ".tsv", ".parquet", ".txt")
HUB_ID = re.compile(r"[\w][\w.-]*(/[\w][\w.-]*)?")
LONGEST_NAME = 100  # bytes; file systems take 255, and runs add to it

Rule = Callable[..., Iterator[Problem]]  # (recipe, folder)


def run_name(recipe: Any, folder: Path) -> Iterator[Problem]:  # noqa: ARG001
    """The run's name is one plain folder's name."""
    name = recipe.name
    what = ""
    if any(unicodedata.category(c) in ("Cc", "Cf", "Cs", "Zl", "Zp") for c in name):
        what = "holds a control character"
    elif "/" in name or "\\" in name:
        what = "holds a / or \\"
    elif name[:1] in (".", "-", "~"):
        what = f"begins with {name[:1]}"
    elif name != name.strip():
        what = "begins or ends with a blank"
    elif len(name.encode()) > LONGEST_NAME:
        what = f"has more than {LONGEST_NAME} bytes"
    if what:
        shown = name if len(name) <= 40 else f"{name[:37]}..."
        yield Problem(
            ("name",),
            f"name: {shown!r} {what}, and is to be a folder's name; write a plain one under name:",
        )


def runs_folder(recipe: Any, folder: Path) -> Iterator[Problem]:  # noqa: ARG001
    """The folder of all runs can be one."""
    path = recipe.runs_dir
    if not path or any(unicodedata.category(c) == "Cc" for c in path):
        said = "is empty" if not path else "holds a control character"
        yield Problem(("runs_dir",), f"runs_dir {said}; write a folder's path, such as runs")
    elif Path(path).exists() and not Path(path).is_dir():
        yield Problem(("runs_dir",), f"runs_dir: {path} is a file; write a folder's path")


def model(recipe: Any, folder: Path) -> Iterator[Problem]:  # noqa: ARG001
    """A model that is written as a path, or as one that ships, is there."""
    name = recipe.model.name_or_path
    at = ("model", "name_or_path")
    local = name.startswith(("/", "./", "../", "~"))
    if name.startswith(SHIPPED):
        there = sorted(p.parent.name for p in ASSETS.glob("*/config.json"))
        if name.removeprefix(SHIPPED) not in there:
            names = ", ".join(SHIPPED + n for n in there)
            yield Problem(at, f"{dotted(at)}: {name!r} does not ship with ftune; write {names}")
    elif "\0" in name or not (local or HUB_ID.fullmatch(name) or _is_folder(name)):
        said = f"{dotted(at)}: {name!r} is neither a folder that is there nor a hub id owner/name"
        yield Problem(at, f"{said}; correct it")
    elif local and not _is_folder(name):
        hint = near_files(_expanded(name))
        yield Problem(at, f"{dotted(at)}: there is no folder {name}; {hint}")
    elif not (local or _is_folder(name)):
        return
    if recipe.model.revision and (name.startswith(SHIPPED) or _is_folder(name)):
        said = "model.revision has no effect on a model in a folder; remove it"
        yield Problem(("model", "revision"), said)


def _expanded(path: str) -> Path:
    """The path with ``~`` filled in where there is such a home."""
    try:
        return Path(path).expanduser()
    except RuntimeError:
        return Path(path)


def _is_folder(name: str) -> bool:
    return _expanded(name).is_dir()


def sources(recipe: Any, folder: Path) -> Iterator[Problem]:
    """Files of rows are there, and take no keys of hub data sets."""
    for part in ("train", "eval", "test"):
        entries = getattr(recipe.data, part)
        for i, source in enumerate(entries if isinstance(entries, tuple) else ()):
            at = ("data", part, i)
            file = local_file(source.path, folder)
            if file is None:
                yield from _hub_id((*at, "path"), source.path)
                continue
            yield from _file((*at, "path"), source.path, file)
            for key, default in (("split", "train"), ("subset", None), ("revision", None)):
                if getattr(source, key) != default:
                    yield Problem(
                        (*at, key),
                        f"{dotted((*at, key))} belongs to hub data sets, and "
                        f"{source.path} is a file; remove it",
                    )


def local_file(path: str, folder: Path) -> Path | None:
    """The file that a source names; None if it is a hub id."""
    if path.startswith(SHIPPED):
        return ASSETS / path.removeprefix(SHIPPED)
    if "\0" in path:
        return Path(path)
    file = folder / _expanded(path)
    plain = path.removesuffix(".gz")
    if plain.endswith(ENDINGS) or path.startswith(("/", "./", "../", "~")) or file.is_file():
        return file
    return None


def _file(at: KeyPath, path: str, file: Path) -> Iterator[Problem]:
    """Problems of a file of rows."""
    if "\0" in path:
        yield Problem(at, f"{dotted(at)} holds a NUL; write a path without")
    elif path.startswith(SHIPPED) and ASSETS.resolve() not in file.resolve().parents:
        yield Problem(at, f"{dotted(at)}: {path} leads out of what ships with ftune; correct it")
    elif file.is_dir():
        yield Problem(at, f"{dotted(at)}: {path} is a folder; name a file in it")
    elif not file.exists():
        yield Problem(at, f"{dotted(at)}: there is no file {path}; {near_files(file)}")
    elif not path.removesuffix(".gz").endswith(ENDINGS):
        yield Problem(
            at,
            f"{dotted(at)}: the ending of {path} says nothing of what is in it; name the file "
            f"*{' or *'.join(ENDINGS)}, each also with .gz",
        )


def _hub_id(at: KeyPath, path: str) -> Iterator[Problem]:
    """A problem where a source is neither a file nor a hub id."""
    if not HUB_ID.fullmatch(path):
        yield Problem(
            at,
            f"{dotted(at)}: {path!r} is neither a file that is there nor a hub id owner/name; "
            "correct it",
        )


def template(recipe: Any, folder: Path) -> Iterator[Problem]:
    """The template ships, or is a file."""
    name = recipe.data.template
    at = ("data", "template")
    if name in template_names():
        return
    if name.endswith((".yaml", ".yml")):
        file = folder / _expanded(name)
        if "\0" in name or not file.is_file():
            yield Problem(at, f"data.template: there is no file {name!r}; {near_files(file)}")
        return
    from ftune.recipe.wording import near

    meant = near(name, list(template_names()))
    hint = f"did you mean {meant}? " if meant else ""
    yield Problem(
        at,
        f"data.template: {name!r} is not a template; {hint}write {', '.join(template_names())}, "
        "or the path of a .yaml file",
    )


RULES: tuple[Rule, ...] = (run_name, runs_folder, model, sources, template)
