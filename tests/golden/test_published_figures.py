"""Figures that others published or computed, from their own texts through our metrics."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest

from ftune.evaluate.metrics import bleu, chrf, rouge
from ftune.evaluate.references import group_references
from ftune.types import Prediction, Prompt

# fmt: off
SYSTEMS = (
    "adapt", "chen", "dangnt", "forge1", "forge3", "gong", "harv", "nle", "sheff1", "sheff2",
    "slug", "slug-alt", "tgen", "tnt1", "tnt2", "tr1", "tr2", "tuda", "zhang", "zhaw1", "zhaw2",
)
# fmt: on


@pytest.fixture(scope="module")
def questions(shared: Path) -> tuple[Prompt, ...]:
    """The E2E test set, its 4,693 rows grouped into 630 prompts by our own grouping."""
    numbers: dict[str, int] = {}
    with (shared / "data/e2e/testset_w_refs.csv").open(encoding="utf-8", newline="") as file:
        rows = [
            Prompt((numbers.setdefault(row["mr"], len(numbers)),), row["mr"], (row["ref"],))
            for row in csv.DictReader(file)
        ]
    grouped = group_references(rows)
    assert len(rows) == 4693
    assert len(grouped.prompts) == 630
    assert sorted(i for members in grouped.members for i in members) == list(range(4693))
    return grouped.prompts


def answers(shared: Path, system: str) -> dict[str, str]:
    path = shared / f"data/e2e/system_outputs/{system}.tsv"
    quote = "'" if system.startswith("tnt") else '"'
    with path.open(encoding="utf-8-sig", newline="") as file:
        rows = csv.reader(file, delimiter="\t", quotechar='"')
        next(rows)
        return {row[0].strip(quote): row[1].strip(quote) for row in rows if row}


@pytest.mark.parametrize("system", SYSTEMS)
def test_e2e_systems(shared: Path, questions: tuple[Prompt, ...], system: str) -> None:
    expected = json.loads((shared / "data/e2e/sacrebleu_scores.json").read_text())["scores"]
    given = answers(shared, system)
    predictions = [
        Prediction(row, p.text, given[p.text], p.references) for row, p in enumerate(questions)
    ]
    found = {
        "bleu_lc": bleu.score(predictions, bleu.Config(lowercase=True)),
        "bleu": bleu.score(predictions, bleu.Config()),
        "chrf": chrf.score(predictions, chrf.Config()),
    }
    for name, figures in found.items():
        assert len(figures) == 1
        assert figures[0].value == pytest.approx(expected[system][name], abs=0.01), name
    assert "nrefs:var|case:lc" in found["bleu_lc"][0].signature


def rouge_f1(target: str, prediction: str, kind: str, stemmer: bool) -> float:
    config = rouge.Config(types=(kind,), use_stemmer=stemmer)  # type: ignore[arg-type]
    [figure] = rouge.score([Prediction(1, "", prediction, (target,))], config)
    assert figure.name == kind
    return figure.value / 100


def test_rouge_vectors(shared: Path) -> None:
    folder = shared / "data/rouge-testdata"
    expected = json.loads((folder / "expected.json").read_text())
    targets = (folder / "target.txt").read_text().splitlines()
    predictions = (folder / "prediction.txt").read_text().splitlines()
    checked = 0
    for case in expected["lines"]:
        target, prediction = targets[case["line"]], predictions[case["line"]]
        found = rouge_f1(target, prediction, case["rouge"], case["stemmer"])
        assert found == pytest.approx(case["fmeasure"], abs=1e-5), case
        checked += 1
    case = expected["multi"]
    found = rouge_f1(
        (folder / case["target"]).read_text(),
        (folder / case["prediction"]).read_text(),
        case["rouge"],
        case["stemmer"],
    )
    assert found == pytest.approx(case["fmeasure"], abs=1e-5)
    for case in expected["inline"]:
        found = rouge_f1(case["target"], case["prediction"], case["rouge"], stemmer=False)
        assert found == pytest.approx(case["fmeasure"], abs=1e-6), case
        checked += 1
    assert checked + 1 == 14
