"""What the documentation speaks of exists: links, recipes, commands, keys, metrics."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import pytest
import typer.main

from ftune.cli.app import app
from ftune.data.template_file import read_template
from ftune.recipe.base import Section
from ftune.recipe.reading import load_recipe
from ftune.recipe.schema import Recipe
from ftune.recipe.yaml_tree import parse
from ftune.registry import METHODS, METRICS

ROOT = Path(__file__).parents[2]
AHEAD = ROOT / "docs" / "roadmap.md"  # speaks of verbs that are not there yet
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
BLOCK = re.compile(r"^(?P<fence>`{3,})(?P<kind>\w*)[^\n]*\n(?P<text>.*?)^(?P=fence)$", re.M | re.S)
INLINE = re.compile(r"`([^`\n]+)`")
LINK = re.compile(r"\]\(([^)\s]+)\)")
KEY = re.compile(r"((?:model|data|tune|train|evaluate|distributed)(?:\.[a-z0-9_]+)+)(?:[:=] ?.*)?")
FILES = (".arrow", ".py", ".yaml", ".jsonl", ".md")  # train.arrow is a file and no key
MACHINE = re.compile(r"(?<![\w.])/(?:home|root|work|tmp|Users|mnt|opt)/|[A-Z]:\\")
SHELL = ("", "sh", "bash", "console")

each_page = pytest.mark.parametrize("page", PAGES, ids=lambda p: str(p.relative_to(ROOT)))


def blocks(page: Path, *kinds: str) -> Iterator[str]:
    for found in BLOCK.finditer(page.read_text(encoding="utf-8")):
        if found["kind"] in kinds:
            yield found["text"]


def prose(page: Path) -> str:
    """The page without its blocks."""
    return BLOCK.sub("", page.read_text(encoding="utf-8"))


def anchors(page: Path) -> set[str]:
    """What GitHub makes of the headings."""
    heads = re.findall(r"^#+ (.+)$", prose(page), re.M)
    return {re.sub(r"[^\w\- ]", "", head.lower()).replace(" ", "-") for head in heads}


@each_page
def test_links_lead_somewhere(page: Path) -> None:
    for link in LINK.findall(prose(page)):
        if link.startswith(("http://", "https://")):
            continue
        path, _, anchor = link.partition("#")
        there = (page.parent / path).resolve() if path else page
        assert there.is_relative_to(ROOT) and there.exists(), f"{link} leads nowhere"
        if anchor:
            assert anchor in anchors(there), f"{link}: there is no such heading"


@each_page
def test_no_path_of_a_machine(page: Path) -> None:
    assert MACHINE.search(page.read_text(encoding="utf-8")) is None


@each_page
def test_whole_recipes_and_templates(page: Path, tmp_path: Path) -> None:
    for number, text in enumerate(blocks(page, "yaml", "yml")):
        file = tmp_path / f"{number}.yaml"
        file.write_text(text, encoding="utf-8")
        plain, _, faults = parse(text, file.name)
        assert not faults, text
        if {"model", "data"} <= set(plain):
            stand_in(plain, tmp_path)
            load_recipe(file)
        elif "assistant" in plain:
            read_template(file)


def stand_in(plain: dict[str, Any], folder: Path) -> None:
    """Files where the recipe names some."""
    data = plain["data"]
    lists = [data.get(part, ()) for part in ("train", "eval", "test")]
    named = [source["path"] for part in lists if isinstance(part, tuple) for source in part]
    template = str(data.get("template", ""))
    named += [template] if template.endswith((".yaml", ".yml")) else []
    for name in named:
        if Path(name).suffix and not name.startswith("ftune:"):
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).touch()


def command_lines(page: Path) -> Iterator[str]:
    for text in blocks(page, *SHELL):
        yield from (line.strip().removeprefix("$ ") for line in text.splitlines())
    for text in blocks(page, "yaml", "yml"):
        yield from re.findall(r"^\s*- run: (.+)$", text, re.M)


def words_of(line: str) -> list[str] | None:
    """What stands behind ``ftune``, or None where the line calls something else."""
    try:
        words = shlex.split(line, comments=True)
    except ValueError:
        return None
    while words and re.fullmatch(r"[A-Z_]+=\S*", words[0]):
        words = words[1:]
    if not words or Path(words[0]).name != "ftune":
        return None
    ends = [i for i, word in enumerate(words) if word in {">", "|", "&&", "2>"}]
    return words[1 : min(ends, default=len(words))]


def verb_of(words: list[str]) -> tuple[Any, list[str]]:
    """The command that the words name, and the words behind its name."""
    command: Any = typer.main.get_command(app)
    while words and words[0] in getattr(command, "commands", {}):
        command, words = command.commands[words[0]], words[1:]
    return command, words


@each_page
def test_commands_can_be_typed(page: Path) -> None:
    for line in command_lines(page):
        words = words_of(line)
        if words is None:
            continue
        command, rest = verb_of(words)
        assert not getattr(command, "commands", None) or set(rest) & {"--help", "--version"}, (
            f"{line}: no such verb"
        )
        if "--debug" in rest:
            rest.remove("--debug")  # is taken anywhere on the line
        command.make_context("ftune", rest)  # raises where an option or argument is wrong


@each_page
def test_commands_in_the_text_exist(page: Path) -> None:
    for code in INLINE.findall(prose(page)) if page != AHEAD else ():
        words = words_of(code)
        if not words:
            continue
        command, rest = verb_of(words)
        assert words[0].startswith("--") or words != rest, f"`{code}`: no such verb"
        known = {option for p in command.params for option in p.opts} | {"--help"}
        known |= {option for p in typer.main.get_command(app).params for option in p.opts}
        wrong = [w for w in rest if w.startswith("-") and w.partition("=")[0] not in known]
        assert not wrong, f"`{code}`: no option {wrong}"


def keys(section: type[Section], before: str = "") -> set[str]:
    """All keys of a section by their dotted names."""
    found: set[str] = set()
    for name, field in section.model_fields.items():
        found.add(before + name)
        for kind in (field.annotation, *parts(field.annotation)):
            if isinstance(kind, type) and issubclass(kind, Section):
                found |= keys(kind, f"{before}{name}.")
    return found


def parts(kind: Any) -> list[Any]:
    """What a union or a tuple is made of, at any depth."""
    return [part for arg in get_args(kind) for part in (arg, *parts(arg))]


@pytest.fixture(scope="module")
def known_keys() -> set[str]:
    found = keys(Recipe) | {"tune.method"}
    for name in METHODS.names():
        found |= keys(METHODS.load(name).Config, "tune.")
    return found


@each_page
def test_keys_exist(page: Path, known_keys: set[str]) -> None:
    for code in INLINE.findall(prose(page)):
        match = KEY.fullmatch(code)
        if match and not match[1].endswith(FILES):
            assert match[1] in known_keys, f"`{code}` is not a key of a recipe"


def test_the_key_finder_finds(known_keys: set[str]) -> None:
    wanted = {"train.learning_rate", "data.train.path", "model.quantization.load_in_4bit"}
    wanted |= {"tune.r", "tune.num_virtual_tokens", "evaluate.generation.top_p"}
    assert wanted <= known_keys
    assert "train.learning_rte" not in known_keys
    assert KEY.fullmatch("train.learning_rte: 1e-4") and not KEY.fullmatch("train/adapter")


def test_the_command_finder_finds() -> None:
    lines = [line for page in PAGES for line in command_lines(page) if words_of(line)]
    assert len(lines) > 20
    assert words_of("OMP_NUM_THREADS=4 .venv/bin/ftune train r.yaml > log") == ["train", "r.yaml"]
    command, rest = verb_of(["train", "r.yaml", "--frsh"])
    with pytest.raises(Exception, match="frsh"):
        command.make_context("ftune", rest)


def test_metrics_are_named_as_they_are() -> None:
    page = (ROOT / "docs" / "evaluation.md").read_text(encoding="utf-8")
    for name in METRICS.names():
        assert f"- `{name}`" in page, f"docs/evaluation.md says nothing of {name}"
