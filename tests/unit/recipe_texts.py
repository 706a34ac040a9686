"""A small valid recipe, and what the reader says of changed ones."""

from __future__ import annotations

from pathlib import Path

from ftune.errors import RecipeError
from ftune.recipe.reading import load_recipe
from ftune.recipe.schema import Recipe

GOOD = """\
model:
  name_or_path: ftune:tiny
data:
  train:
    - path: ftune:quickstart/train.jsonl
      format: alpaca
tune:
  method: lora
train:
  learning_rate: 1e-4
"""


def load(text: str, folder: Path, *overrides: str) -> Recipe:
    """The recipe that ``text`` holds."""
    file = folder / "recipe.yaml"
    file.write_text(text, encoding="utf-8")
    return load_recipe(file, overrides).recipe


def said(text: str, folder: Path, *overrides: str) -> list[str]:
    """All problems of ``text``, the folder taken out of them; none if it is right."""
    try:
        load(text, folder, *overrides)
    except RecipeError as error:
        return [p.replace(f"{folder}/", "") for p in error.problems]
    return []
