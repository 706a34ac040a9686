"""``ftune data split``: one file into parts with exact shares."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Annotated

import typer

from ftune.cli.data.options import DataFile
from ftune.cli.options import Json
from ftune.errors import RecipeError


def split(
    data: DataFile,
    into: Annotated[
        str, typer.Option("--into", help="The parts and their shares, which sum to 1.")
    ] = "train=0.9,test=0.1",
    out: Annotated[
        Path | None,
        typer.Option("--out", help="Folder to write to; by default the file's own."),
    ] = None,
    group: Annotated[
        str | None,
        typer.Option("--group", help="A column: rows with one value in it stay together."),
    ] = None,
    stratify: Annotated[
        str | None,
        typer.Option("--stratify", help="A column: each of its values is cut by the shares."),
    ] = None,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Another seed, other parts.")] = 0,
    json: Json = False,
) -> None:
    """Cut a file into parts by its rows' content, so that equal rows stay on one side."""
    from ftune.cli.data.options import tell_bad
    from ftune.cli.screen import Screen
    from ftune.data.curating.splitting import split as cut
    from ftune.data.curating.table import plain

    shares = _shares(into)
    screen = Screen(json=json)
    files = {part: _file(data, part, out) for part in shares}
    found = cut(plain(data, screen), shares, files, seed, group, stratify)
    tell_bad(screen, found.read, "can't be read and are in no part")
    screen.answer(
        {
            "read": found.read.rows,
            "bad": found.read.bad,
            "parts": {p: {"path": str(files[p]), "rows": n} for p, n in found.rows.items()},
            "strata": found.strata,
        }
    )
    if not json:
        good = max(1, found.read.rows - found.read.bad)
        screen.table(
            ("part", "rows", "share", "file"),
            [(p, f"{n:,}", f"{n / good:.2%}", str(files[p])) for p, n in found.rows.items()],
            right=(1, 2),
        )
        if found.strata:
            rows = [(s, *(f"{n:,}" for n in p.values())) for s, p in found.strata.items()]
            screen.table((stratify or "", *shares), rows, right=tuple(range(1, 1 + len(shares))))


def _shares(text: str) -> dict[str, float]:
    """``train=0.9,test=0.1`` as a mapping."""
    wrong = RecipeError(
        f"--into {text}: write names with shares above 0 that sum to 1, such as train=0.9,test=0.1"
    )
    found: dict[str, float] = {}
    for part in text.split(","):
        name, _, share = part.strip().partition("=")
        if not name.replace("-", "").replace("_", "").isalnum() or name in found:
            raise wrong
        try:
            found[name] = float(share)
        except ValueError:
            raise wrong from None
    sound = all(0 < share < math.inf for share in found.values())
    if len(found) < 2 or not sound or not math.isclose(sum(found.values()), 1, abs_tol=1e-9):
        raise wrong
    return found


def _file(data: str, part: str, folder: Path | None) -> Path:
    """``rows.jsonl.gz`` and ``test`` give ``rows.test.jsonl.gz``; hub data gives jsonl."""
    path = Path(data)
    if not path.is_file():
        return (folder or Path()) / f"{path.name}.{part}.jsonl"
    inner = Path(path.name.removesuffix(".gz"))
    kind = inner.suffix if inner.suffix in (".jsonl", ".csv", ".tsv", ".parquet") else ".jsonl"
    zipped = ".gz" if path.suffix == ".gz" and kind != ".parquet" else ""
    return (folder or path.parent) / f"{inner.stem}.{part}{kind}{zipped}"
