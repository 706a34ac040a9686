"""What is fuzzed: bytes are read as a recipe, as data or as weights; all that may come is an error.

``corpus/<kind>/`` holds inputs that once were read wrongly, and a few of each sort.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from ftune.data.sources import READERS, read_rows
from ftune.errors import DataError, ModelError, RecipeError
from ftune.model import weights
from ftune.recipe.reading import load_recipe
from ftune.types import Row

CORPUS = Path(__file__).parent / "corpus"
SUFFIXES = tuple(READERS)


def recipe(data: bytes, folder: Path) -> None:
    """A recipe, or a RecipeError that names the file."""
    path = folder / "recipe.yaml"
    path.write_bytes(data)
    try:
        load_recipe(path)
    except RecipeError as error:
        assert str(path) in str(error), error


def _source(path: Path) -> Any:
    plain = {"split": "train", "subset": None, "revision": None, "max_rows": 200}
    return SimpleNamespace(path=str(path), **plain)


def rows(data: bytes, folder: Path) -> None:
    """Rows with a value or a problem, or a DataError that names the file; byte 0 picks the kind."""
    path = folder / f"rows{SUFFIXES[data[0] % len(SUFFIXES)] if data else '.jsonl'}"
    path.write_bytes(data[1:])
    try:
        for row in read_rows(_source(path), folder):
            assert isinstance(row, Row)
            assert row.problem or isinstance(row.value, dict), row
    except DataError as error:
        assert path.name in str(error), error


def header(data: bytes, folder: Path) -> None:
    """A ModelError that names the file, or tensors that safetensors itself reads too."""
    from safetensors import safe_open

    path = folder / "x.safetensors"
    path.write_bytes(data)
    try:
        found = weights.header(path)
    except ModelError as error:
        assert str(path) in str(error), error
        return
    with safe_open(path, framework="np") as opened:
        assert set(opened.keys()) == set(found)


TARGETS: dict[str, Callable[[bytes, Path], None]] = {
    "recipe": recipe,
    "rows": rows,
    "header": header,
}
