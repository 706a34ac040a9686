"""Fixtures that run ftune's command line on real models and data."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from commands import Trained, Warm, command, files

RECIPES = Path(__file__).parents[1] / "recipes"


@pytest.fixture(autouse=True, scope="package")
def one_thread() -> Iterator[None]:
    """For models this small, as ``ENVIRONMENT`` has it for the commands."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def warm(tmp_path_factory: pytest.TempPathFactory, shared: Path) -> Iterator[Warm]:
    """Runs commands without importing everything anew each time."""
    server = Warm(tmp_path_factory.mktemp("streams"))
    yield server
    server.close()


@pytest.fixture(scope="session")
def recipe(shared: Path) -> Callable[..., list[str]]:
    """Arguments for a recipe of tests/recipes, with the places of model and data in ``shared``."""

    def arguments(name: str, *overrides: str, model: str = "TinyStories-656K") -> list[str]:
        data = {"train": "gsm8k/train.jsonl", "test": "gsm8k/test.jsonl"}
        if name != "gsm8k-lora":
            data = {"train": "e2e/devset.csv", "test": "e2e/testset_w_refs.csv"}
        sets = {"model.name_or_path": f"{shared.resolve()}/models/{model}"}
        for split, path in data.items():
            sets[f"data.{split}[0].path"] = f"{shared.resolve()}/data/{path}"
        sets |= dict(each.split("=", 1) for each in overrides)  # the last one counts
        if sets.get("data.test") == "[]":
            del sets["data.test[0].path"]
        pairs = (("-o", f"{key}={value}") for key, value in sets.items())
        return [str(RECIPES / f"{name}.yaml"), *(part for pair in pairs for part in pair)]

    return arguments


@pytest.fixture(scope="session")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The working folder of the runs that the tests have in common."""
    return tmp_path_factory.mktemp("home")


@pytest.fixture(scope="session")
def trained(warm: Warm, recipe: Callable[..., list[str]], home: Path) -> Callable[[str], Trained]:
    """The run of a recipe of tests/recipes, trained when it is first asked for.

    Tests may add to its folder (evaluations, merged), and change nothing that was there.
    """
    runs: dict[str, Trained] = {}

    def of(name: str) -> Trained:
        if name not in runs:
            # Once through the real command.
            run = command if name == "lora" else warm.run
            done = run(home, "train", *recipe(name), "--json")
            folder = home / "runs" / name / "001"
            runs[name] = Trained(folder, frozenset(files(folder)), done)
        return runs[name]

    return of
