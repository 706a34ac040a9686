"""Steps whose loss or gradient is finite and stands far above those of the steps before."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from statistics import median

NORMAL = 1.4826  # makes the median distance of normal noise its standard deviation
FLOOR = 0.05  # of the median: the least that a deviation is, where all steps are alike
Figures = tuple[float, float]  # mean loss and norm of the gradient of a step


def limits(recent: Sequence[Figures], deviations: float, window: int) -> Figures | None:
    """The highest loss and norm that are no spike; None while there are too few steps.

    Raises nothing and draws nothing, so that it is the same after a resume and in all processes.
    """
    if len(recent) < window:
        return None
    loss, norm = (_limit([each[i] for each in recent], deviations) for i in (0, 1))
    return loss, norm


def _limit(values: Sequence[float], deviations: float) -> float:
    middle = median(values)
    spread = NORMAL * median(abs(v - middle) for v in values)
    return middle + deviations * max(spread, FLOOR * abs(middle))


def spike(figures: Figures, most: Figures) -> str:
    """What of a step is above its limit, in words; empty if nothing is."""
    for said, value, limit in zip(("loss", "gradient's norm"), figures, most, strict=True):
        if value > limit:
            return f"the {said} is {value:.4g}, and above {limit:.4g} counts as a spike"
    return ""


def agreed(said: str, total: Callable[[float], float]) -> str:
    """The same in all processes: what is one in one, by the last bit of a sum, is one in all."""
    anywhere = total(float(bool(said)))
    return said or ("another process has a spike" if anywhere else "")


def kept(recent: Sequence[Figures], figures: Figures, window: int) -> tuple[Figures, ...]:
    """The last steps, with this one."""
    return (*recent, figures)[-window:]
