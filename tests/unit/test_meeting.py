"""Processes on several hosts look whether they have one recipe and one run directory."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

from ftune.errors import RunError
from ftune.recipe.reading import load_recipe
from ftune.recipe.schema import Recipe
from ftune.stages import meeting

RECIPE = Path(__file__).parents[2] / "recipes" / "ci-smoke.yaml"


def recipe(folder: Path, *overrides: str) -> Recipe:
    return load_recipe(RECIPE, (f"runs_dir={folder}", *overrides)).alone().recipe


def meet(*recipes: Recipe) -> list[str]:
    """What becomes of processes with these recipes; an empty text where all is well."""
    barrier = threading.Barrier(len(recipes))
    box: list[Any] = [None] * len(recipes)
    told = [""] * len(recipes)

    def process(rank: int) -> None:
        def share(value: Any) -> list[Any]:
            barrier.wait(10)
            box[rank] = value
            barrier.wait(10)
            return list(box)

        try:
            meeting.same_place(recipes[rank], share, rank == 0)
        except RunError as error:
            told[rank] = str(error)

    threads = [threading.Thread(target=process, args=(rank,)) for rank in range(len(recipes))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    return told


def test_one_folder_and_one_recipe(tmp_path: Path) -> None:
    runs = tmp_path / "runs"
    other = recipe(runs, "distributed.timeout_seconds=9", "train.grace_seconds=3")
    assert meet(recipe(runs), recipe(runs), other) == ["", "", ""]
    assert list(runs.iterdir()) == []


def test_another_folder_is_refused_by_all(tmp_path: Path) -> None:
    said = meet(*(recipe(tmp_path / name) for name in ("a", "a", "b")))
    assert said[0] == said[1] and all("does not see there what process 0" in each for each in said)
    assert "process 2 (on " in said[0] and "all hosts share" in said[0]
    assert list((tmp_path / "a").iterdir()) == [] and not (tmp_path / "b").exists()


def test_another_recipe_is_refused_by_all(tmp_path: Path) -> None:
    said = meet(recipe(tmp_path), recipe(tmp_path, "train.learning_rate=1e-5"))
    assert all("process 1 (on " in each and "has another recipe" in each for each in said)


def test_a_folder_that_can_not_be_written_is_told_by_all(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    said = meet(*[recipe(tmp_path / "file" / "runs")] * 2)
    assert said[0] == said[1] and str(tmp_path / "file") in said[0]
