"""Metrics of numbers, tags and spans beside scipy, scikit-learn and seqeval."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ftune.registry import METRICS
from ftune.types import Prediction


def figures(name: str, said: list[str], right: list[tuple[str, ...]]) -> dict[str, float]:
    module = METRICS.load(name)
    rows = [
        Prediction(i, "", a, b, "x") for i, (a, b) in enumerate(zip(said, right, strict=True), 1)
    ]
    return {metric.name: metric.value for metric in module.score(rows, module.Config())}


numbers = st.lists(
    st.tuples(st.integers(-50, 50).map(lambda n: n / 4), st.integers(-50, 50).map(float)),
    min_size=3,
    max_size=30,
)


@given(pairs=numbers)
def test_correlations_are_those_of_scipy(pairs: list[tuple[float, float]]) -> None:
    from scipy.stats import pearsonr, spearmanr
    from sklearn.metrics import mean_squared_error

    a, b = [p[0] for p in pairs], [p[1] for p in pairs]
    found = figures("correlation", [str(x) for x in a], [(str(x),) for x in b])
    assert found["squared_error"] == pytest.approx(mean_squared_error(b, a))
    if len(set(a)) > 1 and len(set(b)) > 1:
        assert found["pearson"] == pytest.approx(pearsonr(a, b).statistic, abs=1e-9)
        assert found["spearman"] == pytest.approx(spearmanr(a, b).statistic, abs=1e-9)
    else:
        assert found["pearson"] == 0.0


tags = st.sampled_from(["O", "B-PER", "I-PER", "B-LOC", "I-LOC"])
rows_of_tags = st.lists(
    st.lists(st.tuples(tags, tags), min_size=1, max_size=8), min_size=1, max_size=6
)


@given(rows=rows_of_tags)
def test_entities_are_those_of_seqeval(rows: list[list[tuple[str, str]]]) -> None:
    seqeval = pytest.importorskip("seqeval.metrics", reason="seqeval is not installed")
    said = [[a for a, _ in row] for row in rows]
    right = [[b for _, b in row] for row in rows]
    found = figures("seqeval", [" ".join(r) for r in said], [(" ".join(r),) for r in right])
    options = {"zero_division": 0}
    assert found["entity_f1"] == pytest.approx(100 * seqeval.f1_score(right, said, **options))
    assert found["entity_precision"] == pytest.approx(
        100 * seqeval.precision_score(right, said, **options)
    )
    assert found["entity_recall"] == pytest.approx(
        100 * seqeval.recall_score(right, said, **options)
    )
    assert found["tag_accuracy"] == pytest.approx(100 * seqeval.accuracy_score(right, said))


@pytest.mark.parametrize(
    ("said", "right", "exact", "f1"),
    [
        ("The Eiffel Tower!", ("eiffel tower",), 100, 100),
        ("in Paris, France", ("Paris",), 0, 50),
        ("", ("",), 100, 100),
        ("something", ("",), 0, 0),
        ("a cat and a dog", ("cat", "the dog and a cat"), 0, 100),
        ("1990", ("1990s", "the year 1990"), 0, 200 / 3),
    ],
)
def test_squad_counts_as_its_script_does(
    said: str, right: tuple[str, ...], exact: float, f1: float
) -> None:
    found = figures("squad", [said], [right])
    assert found == pytest.approx({"squad_exact_match": exact, "squad_f1": f1})


def test_intervals_of_ranks_are_those_of_scipy() -> None:
    import numpy as np
    from scipy.stats import bootstrap, spearmanr

    from ftune.evaluate.resampling import interval, p_value

    draw = np.random.default_rng(3)
    right = draw.integers(0, 20, 80) / 4
    said = np.round(right + draw.normal(0, 1.2, 80), 2)
    other = np.round(right + draw.normal(0, 4, 80), 2)
    module = METRICS.load("correlation")

    def figure(numbers: np.ndarray) -> Any:
        rows = [
            Prediction(i, "", str(a), (str(b),), "x")
            for i, (a, b) in enumerate(zip(numbers, right, strict=True), 1)
        ]
        return next(m for m in module.score(rows, module.Config()) if m.name == "spearman")

    found = interval(figure(said).rows, 2000)
    told = bootstrap(
        (said, right), lambda a, b: spearmanr(a, b).statistic, paired=True, vectorized=False,
        n_resamples=2000, method="percentile", rng=np.random.default_rng(5),
    ).confidence_interval  # fmt: skip
    assert found == pytest.approx((told.low, told.high), abs=0.02)
    assert p_value(figure(other).rows, figure(said).rows, 500) < 0.05
    assert p_value(figure(said).rows, figure(said).rows, 500) == 1
