"""Plain scalars by the core rules of YAML 1.2."""

from __future__ import annotations

import pytest

from ftune.recipe.scalars import plain_scalar

MEANT = {
    "true": True,
    "FALSE": False,
    "~": None,
    "": None,
    "null": None,
    "0": 0,
    "-12": -12,
    "+3": 3,
    "1_000": 1000,
    "1e-4": 1e-4,
    "1E3": 1000.0,
    "1.5": 1.5,
    ".5": 0.5,
    "1.": 1.0,
    "-2.5e+3": -2500.0,
}
TEXT = ["yes", "no", "on", "off", "y", "n", "tRue", "nULL", "nan", "inf", "e5", "1e", "=", "<<"]
TEXT += ["0755", "007.5", "0x1f", "0o17", "0b1", "12:30:45", "2024-01-02", "1.2.3", "--1", "1,000"]
TEXT += ["١٢"]


@pytest.mark.parametrize("text", MEANT)
def test_value(text: str) -> None:
    value = plain_scalar(text)
    assert (value, type(value)) == (MEANT[text], type(MEANT[text]))


@pytest.mark.parametrize("text", TEXT)
def test_text_stays_text(text: str) -> None:
    assert plain_scalar(text) == text


@pytest.mark.parametrize("text", [".nan", ".inf", "-.Inf", "1e999", "9" * 200])
def test_no_number_that_a_recipe_can_hold(text: str) -> None:
    with pytest.raises(ValueError, match="write a"):
        plain_scalar(text)
