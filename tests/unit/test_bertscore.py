"""BERTScore beside sums written out; beside the package ``bert-score`` where it is installed."""

from __future__ import annotations

import math
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import AutoModel, AutoTokenizer, BertConfig, BertModel, BertTokenizer

from ftune.errors import DataError, ModelError
from ftune.evaluate.metrics import bertscore, calibration
from ftune.types import Prediction

WORDS = [
    "the",
    "a",
    "cat",
    "dog",
    "sat",
    "ran",
    "on",
    "mat",
    "red",
    "big",
    "and",
    "they",
    "were",
    "so",
    "very",
]
PAIRS = [
    ("the cat sat on the mat", ("a dog sat on the mat", "the cat ran")),
    ("they were very big", ("so they ran and ran",)),
    ("a red dog", ("the big red dog and the cat",)),
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("bert")
    marks = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    (home / "vocab.txt").write_text("\n".join([*marks, *WORDS]) + "\n")
    BertTokenizer(str(home / "vocab.txt"), model_max_length=64).save_pretrained(home)
    torch.manual_seed(0)
    config = BertConfig(vocab_size=20, hidden_size=16, num_hidden_layers=3, num_attention_heads=2,
                        intermediate_size=32, initializer_range=1.0)  # fmt: skip
    BertModel(config).save_pretrained(home)
    return home


def rows(*pairs: tuple[str, tuple[str, ...]]) -> list[Prediction]:
    return [Prediction(i, "?", said, right, "a") for i, (said, right) in enumerate(pairs, 1)]


def by_hand(folder: Path, layer: int, idf: bool) -> np.ndarray:
    """Precision, recall and F1 of PAIRS: one text at a time, in numpy."""
    model, tokenizer = AutoModel.from_pretrained(folder), AutoTokenizer.from_pretrained(folder)
    rights = [set(tokenizer(r).input_ids) for _, rs in PAIRS for r in rs]
    count = Counter(token for right in rights for token in right)

    def read(text: str) -> tuple[np.ndarray, np.ndarray]:
        given = tokenizer(text, return_tensors="pt")
        with torch.no_grad():
            states = model(**given, output_hidden_states=True).hidden_states[layer][0].numpy()
        ids = given.input_ids[0].tolist()
        weights = [math.log((len(rights) + 1) / (count[i] + 1)) if idf else 1.0 for i in ids]
        weights[0] = weights[-1] = 0.0  # [CLS] and [SEP]
        return states / np.linalg.norm(states, axis=1, keepdims=True), np.array(weights)

    found = []
    for said, references in PAIRS:
        (a, left), each = read(said), []
        for reference in references:
            b, right = read(reference)
            p = (a @ b.T).max(1) @ left / left.sum()
            r = (a @ b.T).max(0) @ right / right.sum()
            each.append((p, r, 2 * p * r / (p + r)))
        found.append(np.max(each, axis=0))
    return np.mean(found, axis=0)


@pytest.mark.parametrize("idf", [False, True])
@pytest.mark.parametrize("layer", [1, 3])
def test_figures_are_those_of_the_paper(folder: Path, layer: int, idf: bool) -> None:
    config = bertscore.Config(model=str(folder), layer=layer, idf=idf)
    found = bertscore.score(rows(*PAIRS), config)
    assert [m.name for m in found] == [f"bertscore_{n}" for n in ("precision", "recall", "f1")]
    assert [m.value for m in found] == pytest.approx(by_hand(folder, layer, idf).tolist(), abs=1e-6)
    assert f"layer:{layer}|idf:{'yes' if idf else 'no'}" in found[0].signature


def test_as_the_package_says(folder: Path) -> None:
    package: Any = pytest.importorskip("bert_score")
    for idf in (False, True):
        told = package.score([a for a, _ in PAIRS], [list(b) for _, b in PAIRS], str(folder),
                             num_layers=2, idf=idf)  # fmt: skip
        config = bertscore.Config(model=str(folder), layer=2, idf=idf)
        found = bertscore.score(rows(*PAIRS), config)
        assert [m.value for m in found] == pytest.approx([float(x.mean()) for x in told], abs=1e-5)


def test_equal_texts_and_nothing(folder: Path) -> None:
    config = bertscore.Config(model=str(folder))
    same = bertscore.score(rows(("the cat", ("the cat",))), config)
    assert [m.value for m in same] == pytest.approx([1, 1, 1])
    assert [m.value for m in bertscore.score(rows(("", ("the cat",))), config)][2] == 0


def test_a_model_that_is_not_there(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"bertscore\.model: .*none"):
        bertscore.score(rows(*PAIRS), bertscore.Config(model=str(tmp_path / "none")))
    with pytest.raises(ModelError, match=r"bertscore\.layer: .* has 3 layers"):
        bertscore.score(rows(*PAIRS), bertscore.Config(model=str(folder), layer=4))


def sure(*rows: tuple[str, str, float]) -> list[Prediction]:
    return [Prediction(i, "?", said, (right,), "a", scores=(p, 1 - p))
            for i, (said, right, p) in enumerate(rows, 1)]  # fmt: skip


def test_calibration_by_hand() -> None:
    found = sure(("a", "a", 0.95), ("a", "b", 0.92), ("b", "b", 0.6), ("b", "b", 0.55))
    [error] = calibration.score(found, calibration.Config())
    # (0.9, 1]: sure 1.87, right 1; (0.5, 0.6]: sure 1.15, right 2
    assert error.value == pytest.approx((0.87 + 0.85) / 4)
    assert error.higher_is_better is False
    with pytest.raises(DataError, match="a:1: calibration needs a probability"):
        calibration.score(rows(("a", ("a",))), calibration.Config())
