"""What may be said of a difference: no more than its test allows."""

from __future__ import annotations

LEVEL = 0.05  # a difference that chance alone makes less often than this is seen
UNSEEN = "no difference seen"
UNTESTED = "not tested"


def seen(change: float | None, p: float | None) -> bool:
    """Whether a test found the difference."""
    return bool(change) and p is not None and p < LEVEL


def better(change: float | None, higher_is_better: bool | None, p: float | None) -> bool | None:
    """Whether it is one for the better; None if that can't be said."""
    if change is None or higher_is_better is None or not seen(change, p):
        return None
    return (change > 0) == higher_is_better


def verdict(change: float | None, higher_is_better: bool | None, p: float | None) -> str:
    """ "better", "worse", "no difference seen", or "not tested"; empty where nothing is compared.

    A figure that is neither good nor bad, such as a length, is "higher" or "lower".
    """
    if change is None:
        return ""
    if p is None and change:
        return UNTESTED
    if not seen(change, p):
        return UNSEEN
    if higher_is_better is None:
        return "higher" if change > 0 else "lower"
    return "better" if (change > 0) == higher_is_better else "worse"
