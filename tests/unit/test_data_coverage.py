"""Characters that a tokenizer can't write are found, and no others."""

from __future__ import annotations

from pathlib import Path

import pytest
from transformers import AutoTokenizer

from ftune.data.coverage import Characters
from ftune.types import Example, Message


def seen(*texts: str) -> Characters:
    found = Characters()
    for text in texts:
        found.add(Example((Message("user", text, text[::-1]), Message("assistant", text))))
    return found


def test_lost_characters_are_counted_by_example(shared: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(shared / "models" / "TinyStories-656K")
    lost = seen("name[Alimentum], area[city]", "plain words", "[again").lost(tokenizer)
    assert lost == {"[": 2, "]": 1}
    (warning,) = seen("name[x]", "[y").warnings(tokenizer)
    assert "2 characters" in warning and "[ ]" in warning and "2 examples" in warning


@pytest.mark.parametrize("name", ["stories260K", "gpt2-tokenizer"])
def test_bytes_can_write_everything(shared: Path, name: str) -> None:
    tokenizer = AutoTokenizer.from_pretrained(shared / "models" / name)
    assert seen("äöü [x] 漢字 🙂 \t\n", "~{}|^").warnings(tokenizer) == ()
