"""A sweep as a picture: a metric over a numeric key, a grid of colours, or bars."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ftune.report.curves import DPI, EVAL, GRID, INK, QUIET, TRAIN
from ftune.report.numbers import value
from ftune.report.scores import Score
from ftune.report.sweep import Spot, Swept, shown
from ftune.report.sweep_values import is_numeric, values_of
from ftune.run import atomic

COLOURS = (TRAIN, EVAL, "#3f8f5b", "#8b5fbf", "#b8860b", "#c2416b", "#2b8c9e", "#6b7280")
STYLES = ("-", "--", ":", "-.")
WIDE = 5  # times: values that spread further get a logarithmic axis
MOST_BARS = 60

Scored = tuple[Spot, Score]


def draw_sweep(found: Swept, path: Path) -> bool:
    """Writes a PNG; False, and no file, where fewer than two points have a figure."""
    scored = [(spot, s) for spot in found.spots if (s := spot.score(found.metric))]
    if len(scored) < 2:
        path.unlink(missing_ok=True)
        return False
    from matplotlib.figure import Figure

    numeric = next((key for key in found.spots[0].values if is_numeric(found, key)), None)
    varied = [key for key in found.spots[0].values if len(values_of(found, key)) > 1]
    if numeric is not None:
        picture = _figure(Figure, 8, 5)
        _lines(picture.subplots(), found, scored, numeric)
    elif len(varied) == 2:
        down, across = (len(values_of(found, key)) for key in varied)
        picture = _figure(Figure, 3.5 + 1.3 * across, 2 + 0.7 * down)
        _heat(picture, found, scored, varied)
    else:
        bars = scored[:MOST_BARS]
        picture = _figure(Figure, 8, 1.2 + 0.35 * len(bars))
        _bars(picture.subplots(), found, bars)
    atomic.write(path, lambda p: picture.savefig(p, format="png", metadata={"Software": None}))
    return True


def _figure(kind: Any, width: float, height: float) -> Any:
    return kind(figsize=(width, height), dpi=DPI, facecolor="white", layout="constrained")


def _words(text: str) -> str:
    """Text as matplotlib shows it as it is."""
    return text.replace("$", r"\$")


def _others(spot: Spot, left_out: Sequence[str]) -> str:
    """The values of the other keys, as a line is called."""
    pairs = [(k.rpartition(".")[2], shown(v)) for k, v in spot.values.items() if k not in left_out]
    return "  ".join(f"{key}={words}" for key, words in pairs)


def _lines(axes: Any, found: Swept, scored: Sequence[Scored], key: str) -> None:
    lines: dict[str, list[Scored]] = {}
    for spot, score in scored:
        lines.setdefault(_others(spot, [key]), []).append((spot, score))
    for i, (label, pairs) in enumerate(lines.items()):
        pairs.sort(key=lambda pair: pair[0].values[key])
        colour, style = COLOURS[i % len(COLOURS)], STYLES[i // len(COLOURS) % len(STYLES)]
        xs = [spot.values[key] for spot, _ in pairs]
        ys = [score.tuned for _, score in pairs]
        axes.plot(xs, ys, style, color=colour, lw=1.8, marker="o", ms=5, label=_words(label))
        known = [(x, s.tuned_interval) for x, (_, s) in zip(xs, pairs, strict=True)]
        ends = [(x, low, high) for x, (low, high) in ((x, e) for x, e in known if e)]
        if ends:
            x, low, high = zip(*ends, strict=True)
            axes.vlines(x, low, high, color=colour, lw=1.2, alpha=0.45)
    _number_axis(axes, values_of(found, key))
    axes.set_xlabel(_words(key), color=QUIET, fontsize=9)
    axes.set_ylabel(_words(found.metric), color=QUIET, fontsize=9)
    if any(lines):
        axes.legend(
            frameon=False, fontsize=8, labelcolor=INK, ncols=1 if len(lines) < 5 else 2,
            loc="lower left", bbox_to_anchor=(0, 1.06), borderaxespad=0,
        )  # fmt: skip
    _dress(axes, found, "y")


def _number_axis(axes: Any, listed: list[float]) -> None:
    """Ticks at the values themselves."""
    from matplotlib.ticker import NullLocator

    low, high = min(listed), max(listed)
    if low > 0 and high / low > WIDE:
        axes.set_xscale("log")
    axes.set_xticks(listed, [f"{each:g}" for each in listed])
    axes.xaxis.set_minor_locator(NullLocator())


def _heat(picture: Any, found: Swept, scored: Sequence[Scored], keys: Sequence[str]) -> None:
    down, across = (values_of(found, key) for key in keys)
    cells: list[list[float]] = [[float("nan")] * len(across) for _ in down]
    at = {s.label: (down.index(s.values[keys[0]]), across.index(s.values[keys[1]]))
          for s in found.spots}  # fmt: skip
    states = {at[spot.label]: spot.state for spot in found.spots}
    for spot, score in scored:
        i, j = at[spot.label]
        cells[i][j] = float(score.tuned or 0.0)
    axes = picture.subplots()
    better = scored[0][1].higher_is_better is not False
    drawn = axes.imshow(cells, cmap="YlGnBu" if better else "YlGnBu_r", aspect="auto")
    middle = (drawn.norm.vmin + drawn.norm.vmax) / 2
    for i, line in enumerate(cells):
        for j, figure in enumerate(line):
            dark = figure == figure and (figure > middle) == better
            words = states[i, j] if figure != figure else value(figure)
            axes.text(j, i, words, ha="center", va="center", fontsize=9,
                      color="white" if dark else INK)  # fmt: skip
    axes.set_xticks(range(len(across)), [_words(shown(each)) for each in across])
    axes.set_yticks(range(len(down)), [_words(shown(each)) for each in down])
    axes.set_xlabel(_words(keys[1]), color=QUIET, fontsize=9)
    axes.set_ylabel(_words(keys[0]), color=QUIET, fontsize=9)
    bar = picture.colorbar(drawn, ax=axes)
    bar.set_label(_words(found.metric), color=QUIET, fontsize=9)
    bar.outline.set_visible(False)
    bar.ax.tick_params(colors=QUIET, labelsize=8, length=0)
    axes.set_title(_words(found.name), loc="left", color=INK, fontsize=11, fontweight="bold")
    axes.spines[:].set_visible(False)
    axes.tick_params(colors=QUIET, labelsize=8, length=0)


def _bars(axes: Any, found: Swept, scored: Sequence[Scored]) -> None:
    best = found.best
    for i, (spot, score) in enumerate(scored):
        axes.barh(i, score.tuned, color=EVAL if spot is best else TRAIN, height=0.65, alpha=0.85)
        if score.tuned_interval:
            axes.hlines(i, *score.tuned_interval, color=INK, lw=1.2)
    axes.set_yticks(range(len(scored)), [_words(_others(spot, ())) for spot, _ in scored])
    axes.invert_yaxis()
    axes.set_xlabel(_words(found.metric), color=QUIET, fontsize=9)
    _dress(axes, found, "x")


def _dress(axes: Any, found: Swept, grid: str) -> None:
    axes.figure.suptitle(
        _words(found.name), x=0.01, ha="left", color=INK, fontsize=11, fontweight="bold"
    )
    axes.grid(axis=grid, color=GRID, lw=0.8)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(colors=QUIET, labelsize=8, length=0)
