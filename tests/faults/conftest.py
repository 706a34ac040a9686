"""Fixtures: a home with a model and data, a warmed parent, and runs that nothing happened to."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from parent import Parent
from world import make_home

if not hasattr(os, "fork"):
    collect_ignore_glob = ["test_*.py"]


@pytest.fixture(scope="session")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Model, data and recipes."""
    return make_home(tmp_path_factory.mktemp("faults"))


@pytest.fixture(scope="session")
def parent(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Parent]:
    """Runs ``ftune train`` in forks, with faults."""
    server = Parent(tmp_path_factory.mktemp("said"))
    yield server
    server.close()


@pytest.fixture(scope="session")
def reference(
    home: Path, parent: Parent, tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str], Path]:
    """The run of a variant that nothing happened to, made when it is first asked for."""
    runs: dict[str, Path] = {}

    def of(name: str) -> Path:
        if name not in runs:
            folder = tmp_path_factory.mktemp(f"reference-{name}")
            done = parent.train(folder, home / f"{name}.yaml")
            assert done.code == 0, done.err
            runs[name] = folder / "runs" / name / "001"
        return runs[name]

    return of
