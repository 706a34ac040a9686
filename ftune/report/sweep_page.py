"""What a sweep writes: sweep.json for programs, sweep.html and sweep.md to read, sweep.png."""

from __future__ import annotations

from ftune.report import tables
from ftune.report.html.sweep_page import sweep_page
from ftune.report.sweep import Swept, headline, heads, row
from ftune.report.sweep_picture import draw_sweep
from ftune.run import atomic


def write_sweep(found: Swept, picture: bool) -> None:
    """Writes the files of a sweep into its folder; the picture where there is something to draw.

    Raises:
        RunError: the disk is full, or the folder can't be written.
    """
    path = found.folder / "sweep.png"
    drawn = draw_sweep(found, path) if picture else path.is_file()
    atomic.write_json(found.folder / "sweep.json", found.to_plain())
    atomic.write_text(found.folder / "sweep.md", page(found, drawn))
    atomic.write_text(found.folder / "sweep.html", sweep_page(found))


def page(found: Swept, picture: bool) -> str:
    """The Markdown page."""
    cells = tables.cell
    titles = heads(found, whole=True)
    words = len(found.spots[0].values) + ("state" in titles)
    rows = [[cells(each) for each in row(found, spot, whole=True)] for spot in found.spots]
    whole = tables.table([cells(h) for h in titles], rows, right=range(words, len(titles)))
    parts = [f"# Sweep {cells(found.name)}", cells(f"{headline(found)} {found.doubt}"), whole]
    if picture:
        parts.append("![The metric at each point](sweep.png)")
    parts += [f"- {cells(note)}" for note in found.notes]
    failed = found.of("failed")
    if failed:
        parts.append("## What failed")
        for spot in failed:
            said = tables.block(f"{spot.error}\n\n{spot.command}")
            parts.append(f"{cells(spot.label)}\n\n{said}")
    folders = [f"- {tables.code(str(spot.folder))}" for spot in found.spots if spot.folder]
    if folders:
        parts.append("## Runs\n\n" + "\n".join(folders))
    return "\n\n".join(parts) + "\n"
