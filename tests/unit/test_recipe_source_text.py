"""Files that are no recipe: each gets one line that names the place."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from ftune.errors import RecipeError
from ftune.recipe.source_text import read_text

BAD = {
    "nul": (b"a: 1\nb: x\x00y\n", ":2:5: a NUL"),
    "control": (b"a: \x07", ":1:4: the control character U+0007"),
    "latin-1": (b"a: 1\nb: caf\xe9\n", ":2:7: byte 0xe9 is not UTF-8"),
    "utf-16": ("a: 1".encode("utf-16"), ":1:1: the file is UTF-16"),
    "large": (b"a: 1\n" * 300_000, "is 1,500,000 bytes long"),
}


@pytest.mark.parametrize("name", BAD)
def test_refused(name: str, tmp_path: Path) -> None:
    raw, expected = BAD[name]
    file = tmp_path / "r.yaml"
    file.write_bytes(raw)
    with pytest.raises(RecipeError) as caught:
        read_text(file)
    assert expected in str(caught.value)


def test_byte_order_mark_and_windows_lines_are_read(tmp_path: Path) -> None:
    file = tmp_path / "r.yaml"
    file.write_bytes(b"\xef\xbb\xbfa: \xc3\xa9\r\n")
    assert read_text(file) == "a: é\r\n"


def test_missing_file_names_a_near_one(tmp_path: Path) -> None:
    (tmp_path / "recipe.yaml").touch()
    with pytest.raises(RecipeError, match=r"did you mean recipe\.yaml"):
        read_text(tmp_path / "recipes.yaml")


def test_100_mb_are_not_read(tmp_path: Path) -> None:
    file = tmp_path / "r.yaml"
    with file.open("wb") as handle:
        handle.truncate(100_000_000)
    with pytest.raises(RecipeError, match="100,000,000 bytes"):
        read_text(file)


@pytest.mark.parametrize("kind", ["folder", "fifo"])
def test_not_a_file(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "r.yaml"
    if kind == "folder":
        path.mkdir()
    else:
        os.mkfifo(path)
    with pytest.raises(RecipeError, match="is not a file"):
        read_text(path)


def test_nul_in_the_path() -> None:
    with pytest.raises(RecipeError, match="can't be read"):
        read_text(Path("a\0b"))
