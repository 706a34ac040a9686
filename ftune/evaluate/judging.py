"""Verdicts of a judge on pairs of answers, each asked in both orders: who wins, and how biased.

A judge tends to prefer the answer that it reads first (Zheng et al. 2023, "Judging LLM-as-a-Judge",
section 3.3; Dettmers et al. 2023, QLoRA, section 6.2). So each pair is asked twice, with the
answers changing places, and only a verdict that stays the same is a win; the others are ties.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ftune.evaluate import resampling, rowwise

FIRST, SECOND, TIE = 1, 2, 0
DRAWS = 1000


@dataclass(frozen=True, slots=True)
class Pair:
    """What a judge said of one question: of (A, B), and of (B, A), in places and not in names."""

    question: str
    forward: int
    swapped: int

    @property
    def outcome(self) -> float:
        """1 if A wins both times, 0 if B does, and half a win otherwise."""
        sides = (self.forward, {FIRST: SECOND, SECOND: FIRST}.get(self.swapped, TIE))
        return {(FIRST, FIRST): 1.0, (SECOND, SECOND): 0.0}.get(sides, 0.5)

    @property
    def consistent(self) -> bool:
        """Whether the verdict is the same in both orders."""
        return self.forward == {FIRST: SECOND, SECOND: FIRST}.get(self.swapped, TIE)


def figures(pairs: Sequence[Pair], draws: int = DRAWS) -> Mapping[str, Any]:
    """Wins, ties and losses of A, its win rate with interval, and how biased by order the judge is.

    ``win_rate`` counts ties as half, in percent; ``p`` is of the test that the two differ, with
    the answers of each question changing sides or staying by a coin. ``first_preferred`` is the
    share of all verdicts but ties that went to the answer that stood first, in percent: 50 is no
    bias; ``bias_p`` is of the test against that.
    """
    outcomes = [pair.outcome for pair in pairs]
    ours = rowwise.mean(outcomes, 100.0)
    theirs = rowwise.mean((1 - each for each in outcomes), 100.0)
    verdicts = [v for pair in pairs for v in (pair.forward, pair.swapped)]
    first, second = verdicts.count(FIRST), verdicts.count(SECOND)
    return {
        "pairs": len(pairs),
        "a_wins": outcomes.count(1.0),
        "ties": outcomes.count(0.5),
        "b_wins": outcomes.count(0.0),
        "win_rate": 100 * sum(outcomes) / len(outcomes),
        "interval": resampling.interval(ours, draws),
        "p": resampling.p_value(ours, theirs, draws),
        "consistent": 100 * sum(pair.consistent for pair in pairs) / len(pairs),
        "first_preferred": 100 * first / (first + second) if first + second else None,
        "bias_p": _sign_test(first, second),
        "forward": _counts([pair.forward for pair in pairs]),
        "swapped": _counts([pair.swapped for pair in pairs]),
    }


def _counts(verdicts: Sequence[int]) -> Mapping[str, int]:
    names = {"first": FIRST, "second": SECOND, "tie": TIE}
    return {name: verdicts.count(verdict) for name, verdict in names.items()}


def _sign_test(first: int, second: int) -> float | None:
    """The exact two-sided binomial test that both are equally likely; None without any."""
    if not first + second:
        return None
    from scipy.stats import binomtest

    return float(binomtest(first, first + second).pvalue)


def verdict_of(text: str) -> int | None:
    """The verdict in a judge's words: the number that stands alone in the last line with one.

    3 and 0 both are ties. None if there is no such line.
    """
    for line in reversed(text.strip().splitlines()):
        word = line.strip().strip("[]().*: ")
        if word in ("0", "1", "2", "3"):
            return int(word) % 3
    return None


def sentence(found: Mapping[str, Any], a: str, b: str) -> str:
    """The outcome in words that say no more than the data allow."""
    rate, p = found["win_rate"], found["p"]
    interval = found["interval"]
    if found["ties"] == found["pairs"]:
        return f"no difference seen between {a} and {b}: neither wins a question, all are ties"
    within = f", {interval[0]:.1f} to {interval[1]:.1f}" if interval else ""
    told = f"{rate:.1f}% (ties as half{within})"
    if p is None:
        return f"{a} wins {told} of the questions against {b}; too few to test"
    if p >= 0.05:
        return f"no difference seen between {a} and {b}: {a} wins {told} (p {p:.3f})"
    better, worse = (a, b) if rate > 50 else (b, a)
    return f"{better} is judged better than {worse}: {a} wins {told} (p {p:.3f})"
