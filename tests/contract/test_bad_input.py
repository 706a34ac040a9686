"""Bad input anywhere: one clear message, the right exit code, nothing lost or half done."""

from __future__ import annotations

import shutil
import time
from pathlib import Path

import pytest
from bad_inputs import ALL, Bad
from calling import call, contents
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from small_runs import RECIPE, make_home

from ftune.errors import RecipeError
from ftune.recipe.reading import load_recipe
from ftune.recipe.schema import Recipe
from ftune.run.atomic import TEMPORARY


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with model, data and recipe, in which all is well."""
    home = tmp_path_factory.mktemp("good") / "home"
    recipe = make_home(home)
    there = recipe.read_text(encoding="utf-8").replace(str(home / "model"), "./model")
    recipe.write_text(there, encoding="utf-8")
    return home


@pytest.fixture(autouse=True)
def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")


def test_there_are_enough() -> None:
    assert len(ALL) >= 40
    assert len({bad.name for bad in ALL}) == len(ALL)


def test_the_good_one_is_good(good: Path, tmp_path: Path) -> None:
    home = Path(shutil.copytree(good, tmp_path / "home"))
    assert call("train", "recipe.yaml", within=home).code == 0


@pytest.mark.parametrize("bad", ALL, ids=lambda b: b.name)
def test_bad_input(bad: Bad, good: Path, tmp_path: Path) -> None:
    home = Path(shutil.copytree(good, tmp_path / "home"))
    bad.spoil(home)
    before = contents(tmp_path)
    ended = call(*bad.arguments, within=home)
    assert ended.code == bad.code, ended.said
    for word in bad.words:
        assert word in ended.err
    assert "Traceback" not in ended.said
    assert "unexpected" not in ended.said
    after = contents(tmp_path)
    assert {name: after.get(name) for name in before} == before
    new = set(after) - set(before)
    assert all(name.startswith("home/runs") for name in new), new
    assert not [name for name in new if TEMPORARY in name]
    if bad.code != 3 or "test" not in bad.words[0]:  # the test rows come after the training
        assert not [name for name in new if "/adapter" in name]


EDITS = st.lists(
    st.tuples(
        st.sampled_from(["delete", "double", "insert", "swap"]),
        st.integers(0, 10_000),
        st.sampled_from([*"\t\n :-[]{}&*!|>'\"%@`#,?\\\0\x7f￾é1", "  ", "~", "<<: ", "- "]),
    ),
    min_size=1,
    max_size=6,
)


def mutated(text: str, edits: list[tuple[str, int, str]]) -> str:
    for what, where, piece in edits:
        lines = text.split("\n")
        at = where % max(1, len(text))
        if what == "delete":
            text = text[:at] + text[at + 1 :]
        elif what == "double":
            text = text[:at] + text[at : at + 1] * 2 + text[at + 1 :]
        elif what == "insert":
            text = text[:at] + piece + text[at:]
        else:
            one, other = where % len(lines), (where // 7) % len(lines)
            lines[one], lines[other] = lines[other], lines[one]
            text = "\n".join(lines)
    return text


@settings(
    max_examples=100,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(edits=EDITS)
def test_a_mutated_recipe_is_a_recipe_or_an_error(
    edits: list[tuple[str, int, str]], good: Path, tmp_path: Path
) -> None:
    file = tmp_path / "recipe.yaml"
    for name in ("train", "eval", "test"):
        (tmp_path / f"{name}.jsonl").touch()
    file.write_text(mutated(RECIPE, edits), encoding="utf-8")
    begun = time.process_time()
    try:
        assert isinstance(load_recipe(file).recipe, Recipe)
    except RecipeError as error:
        assert error.problems
        assert all(str(file) in line for line in error.problems)
    assert time.process_time() - begun < 1
