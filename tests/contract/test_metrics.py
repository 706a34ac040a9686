"""What holds for every metric that is found in ``ftune/evaluate/metrics``."""

from __future__ import annotations

import math
import subprocess
import sys
from typing import Any

import pytest

from ftune.errors import DataError
from ftune.recipe.base import Section
from ftune.registry import METRICS, ROOT
from ftune.types import Metric, Prediction, Ranked

HEAVY = {"torch", "transformers", "peft", "datasets", "accelerate", "bitsandbytes", "numpy"}
ROWS = (
    Prediction(1, "2 + 2?", "four", ("4", "four"), "a.csv", "stop", 1, 1.5, 2, 4),
    Prediction(2, "a dog?", "The dog ran", ("The dog ran away",), "a.csv", "stop", 3, 4.0, 4, 16),
)
# What metrics of other answers than text are tried on, a perfect answer, and a wrong one.
OWN = {
    "correlation": (
        (
            Prediction(1, "a", "1.5", ("1",), "a.csv"),
            Prediction(2, "b", "3", ("4",), "a.csv"),
            Prediction(3, "c", "2", ("3",), "a.csv"),
        ),
        ("1", "5"),
        ("2", "2"),
    ),
    "calibration": (
        (
            Prediction(1, "a", "x", ("x",), "a.csv", scores=(0.7, 0.3)),
            Prediction(2, "b", "y", ("x",), "a.csv", scores=(0.4, 0.6)),
        ),
        ("x", "y"),
        ("y", "x"),
    ),
    "seqeval": (
        (
            Prediction(1, "a b", "O B-X", ("B-X I-X",), "a.csv"),
            Prediction(2, "c", "B-X", ("B-X",), "a.csv"),
        ),
        ("B-X O", "O B-Y"),
        ("O B-X", "B-Y O"),
    ),
}


def ranked(best: str, right: str, row: int = 1) -> Prediction:
    """A row of which ``best`` is found likeliest."""
    two = tuple(Ranked(text, 0.5 if text == best else 1.5, 1) for text in ("yes", "no"))
    return Prediction(row, "?", best, (right,), "a.csv", choices=("yes", "no"), ranked=two)


NEEDED = {"bertscore": {"model": str(ROOT / "assets/tiny")}}  # options that have no default
SCORES = (0.9, 0.1)
# Metrics whose figure on some rows is that of these rows' sums, whatever the others are.
SUMS = {"rouge", "bleu", "chrf", "exact_match", "accuracy", "perplexity", "token_loss"}
SUMS |= {"ter", "meteor", "length", "repetition", "seqeval", "squad", "rank_accuracy"}
DESCRIBING = {"distinct_n", "length", "repetition"}  # more of it is neither better nor worse

RANKS = {"rank_accuracy", "rank_calibration"}

each = pytest.mark.parametrize("name", METRICS.names())


def config_of(name: str) -> Any:
    """The metric's options as they are by default."""
    return METRICS.load(name).Config(**NEEDED.get(name, {}))


def rows_of(name: str) -> tuple[Prediction, ...]:
    """Rows that the metric can score."""
    if name in RANKS:
        return (ranked("yes", "no"), ranked("no", "no", 2))
    return OWN[name][0] if name in OWN else ROWS


def test_there_are_metrics() -> None:
    assert set(METRICS.names()) >= SUMS | {"distinct_n", "classification"}


@each
def test_it_is_light_and_described(name: str) -> None:
    code = (
        f"import sys, ftune.evaluate.metrics.{name}; "
        f"print(*{HEAVY | {'sacrebleu', 'rouge_score', 'nltk'}} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""
    assert METRICS.help(name).endswith((".", ")"))
    module = METRICS.load(name)
    assert module.NEEDS in {"text", "answers", "likelihood", "choices"}
    assert issubclass(module.Config, Section)
    for key, field in module.Config.model_fields.items():
        assert field.description, f"{name}.{key} has no docstring"
    config = config_of(name)
    assert module.Config(**config.model_dump()) == config


@each
def test_figures(name: str) -> None:
    module = METRICS.load(name)
    rows = rows_of(name)
    figures = module.score(rows, config_of(name))
    assert figures
    names = [figure.name for figure in figures]
    assert len(set(names)) == len(names)
    for figure in figures:
        assert isinstance(figure, Metric)
        assert type(figure.value) is float
        assert math.isfinite(figure.value)
        assert "version:" in figure.signature
    again = module.score(rows, config_of(name))
    assert again == figures


@each
def test_figures_are_made_of_their_rows(name: str) -> None:
    module, rows = METRICS.load(name), rows_of(name)
    for figure in module.score(rows, config_of(name)):
        assert figure.rows is not None or name not in SUMS
        if figure.rows is None:
            continue
        values = figure.rows.values
        assert len(values) == len(rows)
        whole = figure.rows.combine([sum(column) for column in zip(*values, strict=True)])
        assert whole == pytest.approx(figure.value)
        if name in SUMS:
            alone = {m.name: m.value for m in module.score(rows[1:], config_of(name))}
            assert figure.rows.combine(list(values[1])) == pytest.approx(alone[figure.name])


@each
def test_nothing_and_unfit_rows_are_refused(name: str) -> None:
    module = METRICS.load(name)
    with pytest.raises(DataError, match=r"data\.test: .*" + name):
        module.score([], config_of(name))
    bare = [Prediction(7, "asked", "said", (), "b.jsonl")]
    if module.NEEDS == "answers":
        assert module.score(bare, config_of(name))
        return
    with pytest.raises(DataError, match=name):
        module.score(bare, config_of(name))


@each
def test_perfect_answers_are_best(name: str) -> None:
    module = METRICS.load(name)
    texts: tuple[str, ...] = (
        "the cat sat on the mat today",
        "the cat sat on the cat sat on the cat",
    )
    best = [Prediction(1, "?", text, (text,), "c", "stop", 7, 0.0, 7, 28) for text in texts]
    worst = [Prediction(1, "?", "zzz", (text,), "c", "stop", 1, 70.0, 7, 28) for text in texts]
    if name in OWN:
        _, texts, wrong = OWN[name]
        pairs = list(zip(texts, wrong, strict=True))
        best = [Prediction(1, "?", a, (a,), scores=SCORES) for a, _ in pairs]
        worst = [Prediction(1, "?", b, (a,), scores=SCORES) for a, b in pairs]
    if name in RANKS:
        best, worst = [ranked("no", "no")], [ranked("yes", "no")]
    for good, bad in zip(
        module.score(best, config_of(name)), module.score(worst, config_of(name)), strict=True
    ):
        assert good.value != bad.value
        assert (good.higher_is_better is None) <= (name not in SUMS or name in DESCRIBING)
        if good.higher_is_better is not None:
            assert (good.value > bad.value) == good.higher_is_better
