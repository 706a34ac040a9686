"""Losses of labelled rows beside those that transformers' own models compute."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from ftune.data.collating_labels import collate_labelled
from ftune.data.steps import Micro
from ftune.recipe.schema import Model
from ftune.registry import KINDS, OBJECTIVES
from ftune.types import Encoded, Task

sys.path.insert(0, str(Path(__file__).parents[1] / "contract"))

from small_tasks import make_encoder

LABELS = ("a", "b", "c")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_encoder(tmp_path_factory.mktemp("encoder"))


def model_of(folder: Path, kind: str) -> Any:
    from ftune.model.loading import load_model, load_tokenizer

    section = Model(name_or_path=str(folder), device="cpu")
    torch.manual_seed(1)
    tokenizer = load_tokenizer(section)
    return load_model(section, tokenizer, task=Task(kind, LABELS, (2, 1, 1))).model


def encoded(ids: list[int], targets: list[float], **more: Any) -> Encoded:
    count = more.pop("count", 1)
    kinds = [0] * (len(ids) // 2) + [1] * (len(ids) - len(ids) // 2)
    return Encoded(ids, [True] * len(ids), targets=targets, count=count, kinds=kinds, **more)


def batch_of(rows: list[Encoded], idle: bool = False) -> Any:
    micro = Micro(tuple((i,) for i in range(len(rows))), idle)
    return collate_labelled(micro, rows.__getitem__, 0)


def given(batch: Any) -> dict[str, Any]:
    return {
        "input_ids": batch.input_ids,
        "attention_mask": batch.attention_mask,
        "token_type_ids": batch.token_type_ids,
    }


IDS = ([2, 40, 41, 3], [2, 50, 3], [2, 60, 61, 62, 63, 3])


def test_classification(folder: Path) -> None:
    model, objective = (
        model_of(folder, "sequence_classification"),
        OBJECTIVES.load("classification"),
    )
    batch = batch_of([encoded(ids, [float(at)]) for at, ids in enumerate(IDS)])
    config = objective.settle(objective.Config(), Task("", LABELS, (2, 1, 1)))
    found = objective.loss(model, batch, config)
    expected = model(**given(batch), labels=torch.tensor([0, 1, 2])).loss
    assert found.count == 3
    assert float(found.total / found.count) == pytest.approx(float(expected), rel=1e-6)
    assert found.total.requires_grad is False  # the base is frozen until a method trains some of it


def test_several_labels(folder: Path) -> None:
    model, objective = (
        model_of(folder, "sequence_classification"),
        OBJECTIVES.load("classification"),
    )
    rows = [[1.0, 0.0, 1.0], [0.0, 0.0, 0.0], [0.0, 1.0, 0.0]]
    batch = batch_of([encoded(ids, row) for ids, row in zip(IDS, rows, strict=True)])
    config = objective.settle(objective.Config(multi_label=True), Task("", LABELS, (1, 1, 1)))
    found = objective.loss(model, batch, config)
    model.config.problem_type = "multi_label_classification"
    expected = model(**given(batch), labels=torch.tensor(rows)).loss
    assert float(found.total / found.count) == pytest.approx(float(expected), rel=1e-6)


def test_balanced_weights_are_those_of_scikit_learn() -> None:
    from sklearn.utils.class_weight import compute_class_weight

    objective = OBJECTIVES.load("classification")
    config = objective.Config(class_weights="balanced")
    settled = objective.settle(config, Task("", LABELS, (6, 3, 1)))
    rows = np.array([0] * 6 + [1] * 3 + [2])
    expected = compute_class_weight("balanced", classes=np.arange(3), y=rows)
    assert settled.weights == pytest.approx(expected)


def test_weights(folder: Path) -> None:
    model, objective = (
        model_of(folder, "sequence_classification"),
        OBJECTIVES.load("classification"),
    )
    batch = batch_of([encoded(ids, [float(at)]) for at, ids in enumerate(IDS)])
    config = objective.Config(class_weights={"b": 2.5})
    found = objective.loss(model, batch, objective.settle(config, Task("", LABELS, (1, 1, 1))))
    logits, weights = model(**given(batch)).logits, torch.tensor([1.0, 2.5, 1.0])
    each = torch.nn.functional.cross_entropy(logits, torch.tensor([0, 1, 2]), reduction="none")
    assert float(found.total) == pytest.approx(float((each * weights).sum()), rel=1e-6)
    with pytest.raises(Exception, match="class_weights names z, which is no label"):
        objective.settle(objective.Config(class_weights={"z": 1.0}), Task("", LABELS, (1, 1, 1)))


def test_regression(folder: Path) -> None:
    model, objective = model_of(folder, "sequence_regression"), OBJECTIVES.load("regression")
    batch = batch_of([encoded(ids, [at - 0.5]) for at, ids in enumerate(IDS)])
    found = objective.loss(model, batch, objective.Config())
    expected = model(**given(batch), labels=torch.tensor([-0.5, 0.5, 1.5])).loss
    assert float(found.total / found.count) == pytest.approx(float(expected), rel=1e-6)


def test_token_classification(folder: Path) -> None:
    model = model_of(folder, "token_classification")
    objective = OBJECTIVES.load("token_classification")
    rows = [
        encoded(ids, [-100.0, *(float(at % 3) for at in ids[1:-1]), -100.0], count=len(ids) - 2)
        for ids in IDS
    ]
    batch = batch_of(rows)
    found = objective.loss(model, batch, objective.Config())
    expected = model(**given(batch), labels=batch.targets.long()).loss
    assert found.count == 7
    assert float(found.total / found.count) == pytest.approx(float(expected), rel=1e-6)


def test_multiple_choice(folder: Path) -> None:
    model, objective = model_of(folder, "multiple_choice"), OBJECTIVES.load("multiple_choice")
    rows = [
        encoded([2, 40, 3, 2, 41, 42, 3], [1.0], lines=[3, 4]),
        encoded([2, 43, 44, 3, 2, 45, 3], [0.0], lines=[4, 3]),
    ]
    batch = batch_of(rows)
    assert batch.lines == (2, 2)
    found = objective.loss(model, batch, objective.Config())
    shaped = {key: one.view(2, 2, -1) for key, one in given(batch).items()}
    expected = model(**shaped, labels=torch.tensor([1, 0])).loss
    assert float(found.total / found.count) == pytest.approx(float(expected), rel=1e-6)


def test_question_answering(folder: Path) -> None:
    model = model_of(folder, "question_answering")
    objective = OBJECTIVES.load("question_answering")
    rows = [
        encoded([2, 40, 3, 41, 42, 3], [3.0, 4.0], lines=[6]),
        encoded([2, 40, 3, 41, 3, 2, 40, 3, 42, 3], [0.0, 0.0, 3.0, 3.0], lines=[5, 5], count=2),
    ]
    batch = batch_of(rows)
    found = objective.loss(model, batch, objective.Config())
    ends = {
        "start_positions": torch.tensor([3, 0, 3]),
        "end_positions": torch.tensor([4, 0, 3]),
    }
    expected = model(**given(batch), **ends).loss
    assert found.count == 3
    assert float(found.total / found.count) == pytest.approx(float(expected), rel=1e-6)


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("classification", "sequence_classification"),
        ("regression", "sequence_regression"),
        ("token_classification", "token_classification"),
        ("multiple_choice", "multiple_choice"),
        ("question_answering", "question_answering"),
    ],
)
def test_an_idle_batch_counts_nothing(folder: Path, name: str, kind: str) -> None:
    model, objective = model_of(folder, kind), OBJECTIVES.load(name)
    lines = {"multiple_choice": [3, 3], "question_answering": [6]}.get(name, [])
    targets = {"question_answering": [3.0, 4.0], "token_classification": [1.0] * 6}
    row = encoded([2, 40, 3, 41, 42, 3], targets.get(name, [1.0]), lines=lines)
    config = objective.Config()
    if hasattr(objective, "settle"):
        config = objective.settle(config, Task(kind, LABELS, (1, 1, 1)))
    found = objective.loss(model, batch_of([row], idle=True), config)
    assert (float(found.total), found.count) == (0.0, 0)


def test_every_kind_is_used() -> None:
    used = {getattr(OBJECTIVES.load(name), "KIND", "causal_lm") for name in OBJECTIVES.names()}
    assert used == set(KINDS.names())


def test_seq2seq(tmp_path: Path) -> None:
    from small_tasks import make_seq2seq

    from ftune.data.encodings.seq2seq import collate
    from ftune.model.loading import load_model, load_tokenizer

    section = Model(name_or_path=str(make_seq2seq(tmp_path / "m")), device="cpu")
    model = load_model(section, load_tokenizer(section), task=Task("seq2seq_lm")).model
    rows = [
        Encoded([40, 41, 1, 50, 1], [False] * 3 + [True] * 2, count=2, lines=[3]),
        Encoded([42, 1, 51, 52, 53, 1], [False] * 2 + [True] * 4, count=4, lines=[2]),
    ]
    batch = collate(Micro(((0,), (1,))), rows.__getitem__, 0)
    objective = OBJECTIVES.load("seq2seq")
    found = objective.loss(model, batch, objective.Config())
    expected = model(
        input_ids=batch.input_ids,
        attention_mask=batch.attention_mask,
        labels=batch.targets.long(),
    ).loss
    assert found.count == 6
    assert float(found.total / found.count) == pytest.approx(float(expected), rel=1e-6)
