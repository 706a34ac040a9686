"""Opening a data file, plain or gzipped, and reading its lines without ever holding a long one."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, cast

from ftune.errors import DataError

LONGEST = 10_000_000  # bytes in a line or a row
BOM = b"\xef\xbb\xbf"
WIDE = (b"\xff\xfe", b"\xfe\xff")  # UTF-16 and UTF-32
TOO_LONG = f"is longer than {LONGEST // 1_000_000} MB; split it up or leave it out"


@dataclass(frozen=True, slots=True)
class Line:
    """A line without its end. ``problem`` says why ``raw`` is not all of it or can't be used."""

    number: int
    raw: bytes
    ended: bool  # a line end followed, so the line was not cut off
    problem: str | None = None


@contextmanager
def opened(path: Path) -> Iterator[BinaryIO]:
    """The bytes of a file, unpacked if its name ends in .gz, after a byte-order mark.

    Raises:
        DataError: it isn't there, can't be read, is no UTF-8 file, or is not what its name says.
    """
    try:
        with path.open("rb") as plain:
            packed = path.suffix.lower() == ".gz"
            handle = cast(BinaryIO, gzip.GzipFile(fileobj=plain, mode="rb") if packed else plain)
            start = handle.read(4)
            if start[:2] in WIDE or (len(start) > 1 and 0 in start[:2]):
                raise DataError(f"{path}: is not UTF-8 but looks like UTF-16; save it as UTF-8")
            handle.seek(len(BOM) if start.startswith(BOM) else 0)
            yield handle
    except FileNotFoundError as error:
        raise DataError(f"{path}: there is no such file; correct the path") from error
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise DataError(
            f"{path}: is damaged or not gzipped ({error}); fetch it again or take .gz off its name"
        ) from error
    except OSError as error:
        raise DataError(
            f"{path}: can't be read ({error.strerror or error}); check the file and its rights"
        ) from error


def lines(handle: BinaryIO, longest: int = LONGEST) -> Iterator[Line]:
    """The lines of a file in order, empty ones too; what is beyond ``longest`` is skipped over."""
    number = 0
    while raw := handle.readline(longest + 2):
        number += 1
        ended = raw.endswith(b"\n")
        if len(raw.rstrip(b"\r\n")) > longest:
            # Told first: the rest may be gigabytes, and only who goes on needs the next line.
            yield Line(number, b"", True, f"line {number} {TOO_LONG}")
            while not ended and (more := handle.readline(1 << 20)):
                ended = more.endswith(b"\n")
            continue
        raw = raw.rstrip(b"\n")
        yield Line(number, raw.removesuffix(b"\r"), ended, byte_problem(raw, number))


def byte_problem(raw: bytes, number: int) -> str | None:
    """What is wrong with the bytes of a line, with its column in characters."""
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError as error:
        column = len(raw[: error.start].decode("utf-8")) + 1
        return (
            f"line {number}, column {column}: byte 0x{raw[error.start]:02x} is not UTF-8; "
            "save the file as UTF-8"
        )
    if b"\0" in raw:
        return f"line {number}, column {text.index(chr(0)) + 1}: a NUL; remove it"
    return None
