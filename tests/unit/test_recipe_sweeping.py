"""A recipe's sweep: its points are recipes like others, and what is wrong is told by its place."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest
from recipe_texts import GOOD

from ftune.errors import RecipeError
from ftune.recipe.reading import Loaded, load_recipe
from ftune.recipe.resolved import to_plain, to_yaml
from ftune.recipe.sweeping import MOST_POINTS, written
from ftune.stages.sweep import command

RANKS = "sweep:\n  tune.r: [1, 2]\n  tune.target_modules: [[q_proj], [q_proj, v_proj]]\n"


def loaded(folder: Path, sweep: str, *overrides: str) -> Loaded:
    (folder / "train.jsonl").touch()
    (folder / "grid.yaml").write_text(GOOD + sweep, encoding="utf-8")
    return load_recipe(folder / "grid.yaml", overrides)


def problems(folder: Path, sweep: str, *overrides: str) -> list[str]:
    with pytest.raises(RecipeError) as raised:
        loaded(folder, sweep, *overrides)
    return [line.removeprefix(f"{folder}/grid.yaml:") for line in raised.value.problems]


def test_points_are_the_product_and_the_last_key_changes_first(tmp_path: Path) -> None:
    found = loaded(tmp_path, RANKS)
    assert [p.label for p in found.points] == [
        "r=1,target_modules=q_proj",
        "r=1,target_modules=q_proj+v_proj",
        "r=2,target_modules=q_proj",
        "r=2,target_modules=q_proj+v_proj",
    ]
    last = found.points[-1]
    assert last.values == {"tune.r": 2, "tune.target_modules": ("q_proj", "v_proj")}
    assert last.loaded.recipe.tune.config.r == 2
    assert last.loaded.recipe.name == "grid,r=2,target_modules=q_proj+v_proj"
    assert last.loaded.recipe.sweep is None and not last.loaded.points


def test_a_point_is_the_recipe_that_its_command_reads(tmp_path: Path) -> None:
    given = ("train.seed=7", "sweep={tune.r: [1, 3], data.system_prompt: [null, 'no, \"x\" = 1']}")
    found = loaded(tmp_path, "", *given)
    assert len(found.points) == 4
    for point in found.points:
        words = shlex.split(command(point, found, given))
        assert words[:3] == ["ftune", "train", str(tmp_path / "grid.yaml")]
        alone = load_recipe(words[2], words[4::2])
        assert words[3::2] == ["-o"] * len(words[4::2])
        assert alone.recipe == point.loaded.recipe
        assert alone.alone() is alone


def test_the_recipe_itself_is_refused_where_one_run_is_meant(tmp_path: Path) -> None:
    found = loaded(tmp_path, RANKS)
    with pytest.raises(RecipeError, match="its sweep makes 4 runs; `ftune sweep"):
        found.alone()
    assert loaded(tmp_path, RANKS, "sweep=null").alone().recipe.sweep is None


def test_it_reads_back(tmp_path: Path) -> None:
    found = loaded(tmp_path, RANKS)
    assert to_plain(found.recipe)["sweep"]["tune.target_modules"] == [
        ["q_proj"],
        ["q_proj", "v_proj"],
    ]
    (tmp_path / "again.yaml").write_text(to_yaml(found.recipe), encoding="utf-8")
    again = load_recipe(tmp_path / "again.yaml", home=tmp_path / "grid.yaml")
    assert again.recipe == found.recipe
    assert [p.loaded.recipe for p in again.points] == [p.loaded.recipe for p in found.points]


LINE = GOOD.count("\n") + 1
WRONG = [
    ("{tune.rr: [1]}", [":9: tune.rr is not a key of tune; did you mean r?"]),
    ("{trian.seed: [1]}", [":9: trian is not a key of a recipe; did you mean train?"]),
    ("{train.lora_r: [1]}", [":9: train.lora_r is not a key of train; write tune.r, which"]),
    ("{tune.r: [1, x, 0]}", [":21: tune.r must be a whole", ":24: tune.r must be at least 1"]),
    ("{tune.r: []}", [":17: sweep.tune.r is empty; add an entry"]),
    ("{tune.r: 3}", [":17: sweep.tune.r must be a list, got the number 3; write [3]"]),
    ("{}", [":8: sweep is empty; add an entry"]),
    ("[1]", [":8: sweep must be keys"]),
    ("{tune.r: [1, 2, 1]}", [":24: sweep.tune.r: 1 is there already"]),
    ("{tune.r: [1], tune.r: [2]}", [":22: tune.r stands here again (first in line"]),
    ("{tune.r: [1], tune: [{method: full}]}", [":22: sweep.tune lies in the same as tune.r"]),
    ("{name: [a]}", [":9: sweep.name changes nothing in what a run computes"]),
    ("{train.save_steps: [1, 2]}", [":9: sweep.train.save_steps changes nothing"]),
    ('{"a..b": [1]}', [":9: sweep.a..b is no key"]),
    ("{data.train.path: [x]}", [":9: data.train is a list; name an entry, as in data.train[0]"]),
    ("{tune: {r: [1]}}", [":15: sweep.tune must be a list of values, got keys; write tune.r:"]),
]  # fmt: skip


@pytest.mark.parametrize(("sweep", "expected"), WRONG, ids=[sweep for sweep, _ in WRONG])
def test_wrong_ones_are_told_by_their_place(
    sweep: str, expected: list[str], tmp_path: Path
) -> None:
    told = problems(tmp_path, f"sweep: {sweep}\n")
    assert len(told) == len(expected), told
    for line, start in zip(told, expected, strict=True):
        assert line.startswith(f"{LINE}{start}"), line


def test_values_that_do_not_go_together_name_the_point(tmp_path: Path) -> None:
    sweep = "sweep: {tune.method: [lora, qlora], tune.r: [1, 2]}\n"
    [line] = problems(tmp_path, sweep)
    assert "quantization" in line
    assert line.endswith("(at the point method=qlora,r=1)") or line.startswith(f"{LINE}:")


def test_the_recipe_and_the_sweep_are_told_together_and_once(tmp_path: Path) -> None:
    told = problems(tmp_path, "sweep: {tune.r: [1, x]}\n", "train.seed=-1")
    assert ["x" in told[0], "seed" in told[1], len(told)] == [True, True, 2]


def test_a_key_that_is_set_by_both_is_refused(tmp_path: Path) -> None:
    [line] = problems(tmp_path, RANKS, "tune.r=4")
    assert line.startswith("-o tune.r: is set by the sweep too") and f":{LINE + 1}:3)" in line


def test_a_grid_has_a_bound(tmp_path: Path) -> None:
    count = MOST_POINTS // 2 + 1
    sweep = f"sweep: {{train.seed: {list(range(count))}, tune.r: [1, 2]}}\n"
    [line] = problems(tmp_path, sweep)
    assert f"sweep makes {2 * count} points, and at most {MOST_POINTS}" in line


def test_names_stay_folders_names(tmp_path: Path) -> None:
    odd = "sweep: {data.system_prompt: [a/b, 'a b', null], data.train.0.weight: [0.5, 2.0]}\n"
    found = [p.label for p in loaded(tmp_path, odd).points]
    # Two of the prompts would be called alike.
    assert found[0] == "system_prompt=v1,weight=0.5" and len(set(found)) == 6
    long = f"sweep: {{tune.target_modules: [[{'a' * 30}], [{'b' * 30}]]}}\n"
    names = [p.label for p in loaded(tmp_path, long, f"name={'n' * 70}").points]
    assert names == ["target_modules=v1", "target_modules=v2"]


@pytest.mark.parametrize(
    "value", ["x", "true", "1e-4", "", None, True, 0.5, ("a", 1), {"a": "b c"}]
)
def test_written_values_read_back(value: object, tmp_path: Path) -> None:
    from ftune.recipe.overrides import read_override

    assert read_override(f"k={written(value)}") == (("k",), value)
