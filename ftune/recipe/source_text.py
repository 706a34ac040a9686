"""Reading the recipe's file: bounded in size, UTF-8, with line and column of a bad byte."""

from __future__ import annotations

import difflib
import re
import stat
from pathlib import Path

from ftune.errors import RecipeError

LARGEST = 1_000_000  # bytes
UNPRINTABLE = re.compile(
    "[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufefe\uff00-\ufffd\U00010000-\U0010ffff]"
)


def read_text(path: Path) -> str:
    """The text of a recipe file.

    Raises:
        RecipeError: it is not there, not a file, too large, or not UTF-8 text.
    """
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            raise RecipeError(f"{path}: is not a file; name a recipe, a YAML file")
        if status.st_size > LARGEST:
            raise RecipeError(
                f"{path}: is {status.st_size:,} bytes long, and a recipe has at most {LARGEST:,}; "
                "is it a data file? name the recipe"
            )
        with path.open("rb") as handle:
            raw = handle.read(LARGEST + 1)
    except FileNotFoundError:
        raise RecipeError(f"{path}: there is no such file; {near_files(path)}") from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise RecipeError(f"{path}: can't be read ({reason}); name a file that can") from None
    return decode(raw, str(path))


def near_files(path: Path) -> str:
    """What to say where ``path`` is missing: files beside it with like names."""
    try:
        beside = sorted(p.name for p in path.parent.iterdir())
    except (OSError, ValueError):
        return f"the folder {path.parent} can't be looked into; check the path"
    near = difflib.get_close_matches(path.name, beside, n=3, cutoff=0.7)
    if not near:
        near = [name for name in beside if Path(name).stem == path.stem][:3]
    return f"did you mean {' or '.join(near)}?" if near else "check the path"


def decode(raw: bytes, file: str) -> str:
    """UTF-8 text, a byte-order mark taken off."""
    if raw[:2] in (b"\xff\xfe", b"\xfe\xff"):
        raise RecipeError(f"{file}:1:1: the file is UTF-16; save it as UTF-8")
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        before = error.object[: error.start].decode("utf-8")
        raise RecipeError(
            f"{place(file, before)}: byte 0x{error.object[error.start]:02x} is not UTF-8; "
            "save the file as UTF-8"
        ) from None
    bad = UNPRINTABLE.search(text)
    if bad:
        code = ord(bad[0])
        what = "a NUL" if code == 0 else f"the control character U+{code:04X}"
        raise RecipeError(f"{place(file, text[: bad.start()])}: {what} is not text; remove it")
    return text


def place(file: str, before: str) -> str:
    """``file:line:col`` of what follows the text ``before``."""
    lines = re.split("\r\n|\r|\n", before)
    return f"{file}:{len(lines)}:{len(lines[-1]) + 1}"
