from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import PromptTuningConfig, get_peft_model
from transformers import AutoModelForCausalLM, AutoTokenizer

from ftune.errors import RunError
from ftune.evaluate import scoring
from ftune.evaluate.metrics import perplexity, token_loss
from ftune.evaluate.scoring import RowLoss, likelihood, with_losses
from ftune.train.objectives.sft import target_logits
from ftune.types import Batch, Prediction

TEXTS = (
    ("Once upon a time", ", there was a little girl named Lily."),
    ("Tom", " had a ball."),
    ("The dog was very big and it", " ran to the park, where it saw a cat. The end."),
    ("He", " he he he"),
    ("She saw a cat", ""),
)


@pytest.fixture
def pair(shared: Path) -> tuple[Any, Any]:
    folder = shared / "models/stories260K"
    return AutoModelForCausalLM.from_pretrained(folder), AutoTokenizer.from_pretrained(folder)


def encoded(tokenizer: Any) -> list[tuple[list[int], int]]:
    """Ids of each text with its prompt's length."""
    return [
        (tokenizer(prompt).input_ids + tokenizer(answer, add_special_tokens=False).input_ids, n)
        for prompt, answer in TEXTS
        for n in [len(tokenizer(prompt).input_ids)]
    ]


def batch_of(rows: list[tuple[list[int], int]], numbers: tuple[int, ...]) -> Batch:
    width = max(len(ids) for ids, _ in rows)
    ids = torch.zeros(len(rows), width, dtype=torch.long)
    labels = torch.full_like(ids, -100)
    mask = torch.zeros_like(ids)
    for at, (row, start) in enumerate(rows):
        ids[at, : len(row)] = torch.tensor(row)
        labels[at, start : len(row)] = torch.tensor(row[start:])
        mask[at, : len(row)] = 1
    positions = torch.arange(width).expand_as(ids)
    count = int((labels != -100).sum())
    return Batch(ids, labels, positions, mask, numbers, count, len(rows))


def by_hand(model: Any, ids: list[int], start: int) -> float:
    """The summed loss of one row from transformers' own loss, a mean over labels."""
    labels = torch.tensor([[-100] * start + ids[start:]])
    with torch.no_grad():
        return float(model(torch.tensor([ids]), labels=labels).loss) * (len(ids) - start)


@pytest.mark.parametrize("limit", [1, 512 * 12, 2**26])
def test_losses_equal_transformers(pair: tuple[Any, Any], monkeypatch: Any, limit: int) -> None:
    model, tokenizer = pair
    rows = encoded(tokenizer)
    monkeypatch.setattr(scoring, "LOGITS", limit)
    monkeypatch.setattr(scoring, "CHUNK", 5)
    sizes: list[int] = []

    def watched(*given: Any) -> Any:
        logits, ids = target_logits(*given)
        sizes.append(logits.numel())
        return logits, ids

    model.train()
    batches = [batch_of(rows[:3], (4, 0, 1)), batch_of(rows[3:], (2, 3))]
    found = list(likelihood(model, batches, watched, rows=5))
    assert [loss.row for loss in found] == [4, 0, 1, 2, 3]
    assert model.training
    for loss, (ids, start) in zip(found, rows, strict=True):
        assert loss.count == len(ids) - start
        expected = by_hand(model, ids, start) if loss.count else 0.0
        assert loss.total == pytest.approx(expected, rel=1e-5)
    assert len(sizes) == {1: 5, 512 * 12: 4, 2**26: 2}[limit]
    longest = max(len(ids) - start for ids, start in rows) * 512
    assert max(sizes) <= max(limit, longest)


def test_short_memory_halves_the_batch(pair: tuple[Any, Any]) -> None:
    model, tokenizer = pair
    rows = encoded(tokenizer)
    batch = batch_of(rows, (0, 1, 2, 3, 4))
    expected = list(likelihood(model, [batch], target_logits))
    room = 2

    def short(model: Any, batch: Batch) -> Any:
        if len(batch.rows) > room:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return target_logits(model, batch)

    found = list(likelihood(model, [batch], short))
    assert [x.row for x in found] == [0, 1, 2, 3, 4]
    for one, other in zip(found, expected, strict=True):
        assert one.total == pytest.approx(other.total, rel=1e-5)
    room = 0
    with pytest.raises(RunError, match="score test example 1 of"):
        list(likelihood(model, [batch], short))

    def broken(model: Any, batch: Batch) -> Any:
        raise RuntimeError("something else")

    with pytest.raises(RuntimeError, match="something else"):
        list(likelihood(model, [batch], broken))


def test_losses_under_prompt_tuning(pair: tuple[Any, Any]) -> None:
    model, tokenizer = pair
    rows = encoded(tokenizer)[:4]
    plain = list(likelihood(model, [batch_of(rows, (0, 1, 2, 3))], target_logits))
    wrapped = get_peft_model(model, PromptTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=6))
    found = list(likelihood(wrapped, [batch_of(rows, (0, 1, 2, 3))], target_logits))
    for loss, before, (ids, start) in zip(found, plain, rows, strict=True):
        labels = torch.tensor([[-100] * start + ids[start:]])
        with torch.no_grad():
            mean = wrapped.eval()(torch.tensor([ids]), labels=labels).loss
        assert loss.total == pytest.approx(float(mean) * loss.count, rel=1e-5)
        assert loss.total != pytest.approx(before.total, rel=1e-3)


def test_figures_equal_a_plain_loop(pair: tuple[Any, Any]) -> None:
    model, tokenizer = pair
    rows = encoded(tokenizer)[:4]
    losses = {x.row: x for x in likelihood(model, [batch_of(rows, (0, 1, 2, 3))], target_logits)}
    bare = [Prediction(n, prompt, "", (answer,)) for n, (prompt, answer) in enumerate(TEXTS[:4])]
    sizes = {n: len(answer.encode()) for n, (_, answer) in enumerate(TEXTS)}
    predictions = with_losses(bare, [(0,), (1,), (2,), (3,)], losses, sizes)
    total = sum(by_hand(model, ids, start) for ids, start in rows)
    count = sum(len(ids) - start for ids, start in rows)
    size = sum(len(answer) for _, answer in TEXTS[:4])
    [figure] = perplexity.score(predictions, perplexity.Config())
    assert figure.value == pytest.approx(math.exp(total / count), rel=1e-5)
    assert "tokenizer:dependent" in figure.signature
    assert f"tokens:{count}|rows:4/4" in figure.signature
    loss, bits = token_loss.score(predictions, token_loss.Config())
    assert loss.value == pytest.approx(total / count, rel=1e-5)
    assert bits.value == pytest.approx(total / math.log(2) / size, rel=1e-5)
    assert "tokenizer:independent" in bits.signature
    assert not figure.higher_is_better


def test_losses_of_groups_and_missing_rows() -> None:
    bare = [Prediction(n, "", "") for n in range(3)]
    losses = {0: RowLoss(0, 2.0, 4), 2: RowLoss(2, 3.0, 1), 3: RowLoss(3, 5.0, 2)}
    members = [(0, 2), (1,), (3, 4)]
    found = with_losses(bare, members, losses, {0: 10, 2: 20, 3: 30})
    assert [(p.loss_sum, p.loss_count, p.loss_bytes) for p in found] == [
        (5.0, 5, 30),
        (None, 0, 0),
        (5.0, 2, 30),
    ]
    [figure] = perplexity.score(found, perplexity.Config())
    assert figure.value == pytest.approx(math.exp(10 / 7))
    assert "rows:2/3" in figure.signature
    without_bytes = [Prediction(1, "", "", loss_sum=1.0, loss_count=1)]
    assert [m.name for m in token_loss.score(without_bytes, token_loss.Config())] == ["token_loss"]


def test_broken_weights_are_told(pair: tuple[Any, Any]) -> None:
    model, tokenizer = pair
    with torch.no_grad():
        model.model.norm.weight[0] = float("nan")
    batch = batch_of(encoded(tokenizer)[:2], (6, 7))
    with pytest.raises(RunError, match="loss of test example 7 is nan"):
        list(likelihood(model, [batch], target_logits))
    with pytest.raises(RunError, match="mean loss of 900 nats"):
        perplexity.score([Prediction(1, "", "", loss_sum=900.0, loss_count=1)], perplexity.Config())
