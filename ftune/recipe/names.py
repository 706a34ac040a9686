"""Rules on names and paths: what would stand outside its folder, or is not there."""

from __future__ import annotations

import os
import re
import unicodedata
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from ftune.recipe.checks_of_sources import every
from ftune.recipe.places import KeyPath, Problem, dotted
from ftune.recipe.source_text import near_files
from ftune.registry import ROOT, template_names

SHIPPED = "ftune:"
ASSETS = ROOT / "assets"
ENDINGS = (".jsonl", ".json", ".csv", ".tsv", ".parquet", ".txt")
HUB_ID = re.compile(r"[\w][\w.-]*(/[\w][\w.-]*)?")
DATA_SET = re.compile(r"[\w-][\w.-]*/[\w-][\w.-]*")
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
    """Files of rows are there, and take no keys of hub data sets; so are files beside them."""
    for part in ("train", "eval", "test"):
        entries = getattr(recipe.data, part)
        for i, source in enumerate(entries if isinstance(entries, tuple) else ()):
            yield from _source(("data", part, i), source, folder)
    for at, source in every(recipe):
        if source.few_shot is not None and source.few_shot.pool is not None:
            yield from _source((*at, "few_shot", "pool"), source.few_shot.pool, folder)
        if source.format.name == "prompts" and source.format.config is not None:
            yield from _templates((*at, "columns", "templates"), source.format.config, folder)


def _templates(at: KeyPath, config: Any, folder: Path) -> Iterator[Problem]:
    """The file of prompt templates is there."""
    path = config.templates
    if path is None:
        return
    file = folder / _expanded(path.replace("\0", ""))
    if "\0" in path or file.is_dir():
        what = "holds a NUL" if "\0" in path else "is a folder; name a file of templates in it"
        yield Problem(at, f"{dotted(at)}: {path!r} {what}")
    elif not file.is_file():
        said = f"there is no file {path!r}; {_hint(path, file, folder)}"
        yield Problem(at, f"{dotted(at)}: {said}")


def _source(at: KeyPath, source: Any, folder: Path) -> Iterator[Problem]:
    """Problems of one source: a file, a folder in a hub data set's layout, or a hub id."""
    path, where = source.path, (*at, "path")
    if "\0" in path:
        yield Problem(where, f"{dotted(where)} holds a NUL; write a path without")
        return
    shipped = path.startswith(SHIPPED)
    file = ASSETS / path.removeprefix(SHIPPED) if shipped else folder / _expanded(path)
    if not shipped and file.is_dir():
        return
    known = path.lower().removesuffix(".gz").endswith(ENDINGS)
    local = path.startswith(("/", "./", "../", "~"))
    if not (shipped or known or local or file.exists()):
        if not DATA_SET.fullmatch(path):
            said = f"{path!r} is neither a file that is there nor a hub id owner/name; correct it"
            yield Problem(where, f"{dotted(where)}: {said}")
        return
    if shipped and ASSETS.resolve() not in file.resolve().parents:
        said = f"{path} leads out of what ships with ftune; correct it"
        yield Problem(where, f"{dotted(where)}: {said}")
    elif not file.exists():
        said = f"there is no file {path}; {_hint(path, file, folder)}"
        yield Problem(where, f"{dotted(where)}: {said}")
    elif not known:
        said = f"the ending of {path} says nothing of what is in it; name the file "
        said += f"*{' or *'.join(ENDINGS)}, each also with .gz"
        yield Problem(where, f"{dotted(where)}: {said}")
    for key, default in (("split", "train"), ("subset", None), ("revision", None)):
        if getattr(source, key) != default:
            said = f"belongs to hub data sets, and {path} is a file; remove it"
            yield Problem((*at, key), f"{dotted((*at, key))} {said}")


def _hint(path: str, file: Path, folder: Path) -> str:
    """What may have been meant by a file that is not there."""
    if Path(path).is_file():
        there = os.path.relpath(path, folder)
        return f"relative paths start at the recipe's folder: write {there}"
    return near_files(file)


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
