"""Intervals against scipy's bootstrap, and tests against sacrebleu's on published outputs."""

from __future__ import annotations

import csv
import math
import random
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from sacrebleu.metrics.bleu import BLEU
from sacrebleu.metrics.chrf import CHRF
from sacrebleu.significance import PairedTest
from scipy import stats

from ftune.evaluate.metrics import bleu, chrf, classification, exact_match, perplexity
from ftune.evaluate.references import group_references, ragged
from ftune.evaluate.resampling import SEED, interval, p_value
from ftune.evaluate.rowwise import mean, ratio
from ftune.types import Metric, Prediction, Prompt, Rows

WORDS = ["the", "cat", "sat", "on", "a", "mat", "and", "saw", "some", "dogs", "run", "far", "away"]


def answers(seed: int, rows: int = 60, wrong: float = 0.3) -> list[Prediction]:
    """Sentences of which some words are other ones; the references depend on the row alone."""
    draw = random.Random(seed)
    found = []
    for row in range(rows):
        right = random.Random(row).choices(WORDS, k=8)
        said = [draw.choice(WORDS) if draw.random() < wrong else word for word in right]
        loss = draw.uniform(1, 20)
        found.append(
            Prediction(row, "?", " ".join(said), (" ".join(right),), "t", loss_sum=loss,
                       loss_count=row % 7 + 1)
        )  # fmt: skip
    return found


def scipy_interval(size: int, figure: Callable[[np.ndarray], float], count: int) -> list[float]:
    """scipy's percentile bootstrap of ``figure(places of the drawn rows)``, from the same draws."""
    found = stats.bootstrap(
        (np.arange(size),), figure, n_resamples=count, vectorized=False, method="percentile",
        confidence_level=0.95, rng=np.random.default_rng(SEED),
    )  # fmt: skip
    return [found.confidence_interval.low, found.confidence_interval.high]


METRICS: dict[str, Callable[[list[Prediction]], list[Metric]]] = {
    "bleu": lambda rows: bleu.score(rows, bleu.Config()),
    "chrf": lambda rows: chrf.score(rows, chrf.Config()),
    "exact_match": lambda rows: exact_match.score(rows, exact_match.Config()),
    "perplexity": lambda rows: perplexity.score(rows, perplexity.Config()),
    "classification": lambda rows: classification.score(
        rows, classification.Config(pattern=r"^\w+", labels=tuple(WORDS))
    ),
}


@pytest.mark.parametrize("name", METRICS)
def test_intervals_equal_those_of_scipy(name: str) -> None:
    rows = answers(1)

    def again(places: np.ndarray, which: int) -> float:
        """The metric itself on the drawn rows: it never hears of sums."""
        return METRICS[name]([rows[i] for i in places])[which].value

    for which, figure in enumerate(METRICS[name](rows)):
        expected = scipy_interval(len(rows), lambda places, w=which: again(places, w), 200)
        assert interval(figure.rows, 200) == pytest.approx(expected, rel=1e-9)
        assert expected[0] < figure.value < expected[1]


def test_another_seed_gives_about_the_same() -> None:
    rows = mean([random.Random(i).gauss(5, 2) for i in range(400)])
    one, other = interval(rows, 2000), interval(rows, 2000, seed=7)
    assert one is not None and other is not None and one != other
    assert interval(rows, 2000) == one
    # By the normal distribution a mean lies within 1.96 standard errors.
    error = 1.96 * np.std([v for v, _ in rows.values]) / math.sqrt(400)
    for ends in (one, other):
        assert (ends[1] - ends[0]) / 2 == pytest.approx(error, rel=0.1)


def test_a_large_set_is_drawn_in_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    rows, other = mean(range(50)), mean(range(0, 100, 2))
    whole = interval(rows, 300), p_value(rows, other, 300)
    monkeypatch.setattr("ftune.evaluate.resampling.CELLS", 350)
    assert interval(rows, 300) == pytest.approx(whole[0], rel=0.05)
    assert p_value(rows, other, 300) == pytest.approx(whole[1], abs=0.02)


def test_no_interval_where_the_data_allow_none() -> None:
    assert interval(None, 1000) is None
    assert interval(mean([1.0] * 50), 1000) is None, "rows that are all alike"
    assert interval(mean(range(9)), 1000) is None, "too few rows"
    assert interval(mean(range(10)), 1000) is not None
    assert interval(mean(range(10)), 0) is None
    assert interval(ratio([1] * 12, [0] * 11 + [1]), 1000) is None, "draws of nothing but zeros"
    kinds = Rows(np.eye(30).tolist(), lambda sums: float(sum(map(bool, sums))))
    assert interval(kinds, 1000) is None, "no draw has all 30"
    huge = Rows([(710.0 * i, 1.0) for i in range(20)], lambda s: math.exp(s[0] / s[1]))
    assert interval(huge, 1000) is None


def test_chance_is_exact_where_all_swaps_can_be_counted() -> None:
    # Five rows, all better: of 32 ways to swap 2 are as extreme.
    assert p_value(mean([0] * 5), mean([1] * 5), 100) == 2 / 32
    assert p_value(mean([0] * 6), mean([1] * 6), 64) == 2 / 64
    assert p_value(mean([0] * 6), mean([1] * 6), 63) == pytest.approx(2 / 64, abs=0.05)
    before, after = [0.0, 1.5, 2.5, 0.3, 4.0, 2.0], [1.0, 1.0, 4.0, 2.5, 3.0, 6.0]
    differences = np.array(after) - before

    def gap(x: np.ndarray, y: np.ndarray, axis: int) -> np.ndarray:
        return (y - x).mean(axis)

    expected = stats.permutation_test(
        (before, after), gap, permutation_type="samples", alternative="two-sided"
    )
    assert expected.statistic == pytest.approx(differences.mean())
    assert p_value(mean(before), mean(after), 1000) == pytest.approx(expected.pvalue)


def test_equal_answers_differ_by_nothing_but_chance() -> None:
    rows = bleu.score(answers(1), bleu.Config())[0].rows
    assert p_value(rows, rows, 500) == 1
    assert p_value(mean([1.0]), mean([2.0]), 500) == 1, "one row says nothing"


def test_no_test_where_the_data_allow_none() -> None:
    rows = mean(range(20))
    assert p_value(rows, mean(range(19)), 1000) is None, "other rows"
    assert p_value(rows, None, 1000) is None and p_value(None, rows, 1000) is None
    assert p_value(rows, rows, 0) is None
    assert p_value(ratio([1, 2], [0, 1]), ratio([1, 2], [1, 0]), 1000) is None
    assert p_value(mean([]), mean([]), 1000) is None


def test_under_no_difference_few_tests_see_one() -> None:
    draw = np.random.default_rng(3)
    seen = 0
    for _ in range(200):
        left, right = draw.normal(size=(2, 40))
        p = p_value(mean(left), mean(right), 400)
        assert p is not None
        seen += p < 0.05
    assert 1 <= seen <= 22  # 10 of 200 are expected; beyond these bounds is less than 1 in 1000


def system(shared: Path, name: str, questions: tuple[Prompt, ...]) -> list[Prediction]:
    path = shared / f"data/e2e/system_outputs/{name}.tsv"
    with path.open(encoding="utf-8-sig", newline="") as file:
        lines = csv.reader(file, delimiter="\t", quotechar='"')
        next(lines)
        given = {line[0].strip('"'): line[1].strip('"') for line in lines if line}
    return [Prediction(i, p.text, given[p.text], p.references) for i, p in enumerate(questions)]


@pytest.fixture(scope="module")
def questions(shared: Path) -> tuple[Prompt, ...]:
    numbers: dict[str, int] = {}
    with (shared / "data/e2e/testset_w_refs.csv").open(encoding="utf-8", newline="") as file:
        rows = [
            Prompt((numbers.setdefault(row["mr"], len(numbers)),), row["mr"], (row["ref"],))
            for row in csv.DictReader(file)
        ]
    return group_references(rows).prompts


@pytest.mark.parametrize(
    ("kind", "other"),
    [*(("BLEU", name) for name in ("slug", "harv", "gong")), ("chrF2", "harv")],
)
def test_differences_of_e2e_systems_equal_those_of_sacrebleu(
    shared: Path, questions: tuple[Prompt, ...], kind: str, other: str
) -> None:
    sides = [system(shared, name, questions) for name in ("tgen", other)]
    named = [(name, [p.text for p in side]) for name, side in zip("ab", sides, strict=True)]
    scorer = {"BLEU": BLEU(), "chrF2": CHRF()}[kind]
    told = {
        test: PairedTest(named, {kind: scorer}, ragged(sides[0]), test, n_samples=1000)()[1][kind]
        for test in ("ar", "bs")
    }
    module = {"BLEU": bleu, "chrF2": chrf}[kind]
    before, after = (module.score(side, module.Config())[0] for side in sides)
    p, chance = p_value(before.rows, after.rows, 1000), told["ar"][1].p_value
    # Both are shares of 1,000 draws, each with a standard error of at most 0.016.
    assert p == pytest.approx(chance, abs=0.06)
    # The paired bootstrap asks in one direction, and so comes to another p; not to another verdict,
    # save near the level.
    one_sided = told["bs"][1].p_value
    if not 0.01 < one_sided < 0.1:
        assert p is not None and (p < 0.05) == (one_sided < 0.05)
    for figure, theirs in zip((before, after), told["bs"], strict=True):
        ends = interval(figure.rows, 1000)
        assert ends is not None
        half = float(theirs.ci)
        assert (ends[1] - ends[0]) / 2 == pytest.approx(half, rel=0.1)
        assert sum(ends) / 2 == pytest.approx(float(theirs.mean), abs=0.15 * half)
        assert figure.value == pytest.approx(theirs.score)
