"""Where training and evaluation loss part, in words; never more than the evaluations allow."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import median

from ftune.report.numbers import value
from ftune.report.series import Points, Series

AFTER = 3  # evaluations after the lowest, all of them above it, before anything is said
LEAST = 0.01  # share of the lowest loss by which the evaluation loss has to have risen
NOISE = 3.0  # times the usual wiggle between evaluations that the rise has to be


@dataclass(frozen=True, slots=True)
class Parting:
    """The evaluation loss was lowest at ``step`` and rose since, while the training loss fell."""

    step: int
    lowest: float
    last: float
    training: tuple[float, float]  # the mean training loss before that step, and since

    def sentence(self) -> str:
        """What happened, and what to try."""
        before, since = self.training
        return (
            f"Training and evaluation loss part after step {self.step:,}: the evaluation loss was "
            f"lowest there ({value(self.lowest)}) and rose to {value(self.last)}, while the "
            f"training loss went on falling ({value(before)} to {value(since)}). That is what "
            f"overfitting looks like; stop near step {self.step:,} (train.max_steps), take a lower "
            "learning rate, or train on more data."
        )


def parting(series: Series) -> Parting | None:
    """None unless the rise stands out: at least ``AFTER`` evaluations above the lowest, a rise of
    1% and of three times the usual wiggle, and a training loss that fell in the same time.

    The wiggle is the median distance of an evaluation from the line between its neighbours.
    """
    held_out = series["eval_loss"]
    if len(held_out) < AFTER + 1:
        return None
    step, lowest = min(held_out, key=lambda point: (point[1], point[0]))
    since = [figure for when, figure in held_out if when > step]
    if len(since) < AFTER or min(since) <= lowest:
        return None
    figures = [figure for _, figure in held_out]
    at = figures.index(lowest)
    # Not the lowest itself, which is partly luck, but the level around it.
    level = median(figures[max(0, at - 1) : at + 2])
    if median(since[-AFTER:]) - level < max(LEAST * lowest, NOISE * _wiggle(held_out)):
        return None
    trained = _training(series["loss"], step)
    if trained is None or trained[1] >= trained[0]:
        return None
    return Parting(step, lowest, since[-1], trained)


def _wiggle(points: Points) -> float:
    figures = [figure for _, figure in points]
    bends = [
        abs(b - (a + c) / 2) for a, b, c in zip(figures, figures[1:], figures[2:], strict=False)
    ]
    return median(bends)


def _training(loss: Points, step: int) -> tuple[float, float] | None:
    """Mean training loss of the logged steps just before ``step``, and as many at the end."""
    before = [figure for at, figure in loss if at <= step]
    since = [figure for at, figure in loss if at > step]
    count = min(len(before), max(1, len(since) // 2), 20)
    if not count or not since:
        return None
    return sum(before[-count:]) / count, sum(since[-count:]) / count
