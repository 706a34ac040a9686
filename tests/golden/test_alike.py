"""The same rows, split into batches otherwise or packed, train the same weights.

With plain SGD: AdamW divides by the gradient's size, so where that is next to nothing it makes a
whole step of a difference in the last digit.
"""

from __future__ import annotations

import itertools

import pytest
import safetensors.numpy
from commands import curve

pytestmark = pytest.mark.golden

STEPS = 10
SHORT = (
    "train.per_device_train_batch_size=8",
    f"train.max_steps={STEPS}",
    "train.logging_steps=1",
    "train.optim=sgd",
    "train.learning_rate=1.0",
    "evaluate.metrics=[]",
    "data.test=[]",
    "evaluate.group_references=false",
    "data.eval=[]",
    "train.eval_steps=null",
)
SPLITS = ((8, 1), (4, 2), (1, 8))
# As 8 rows are a whole epoch, every step has the same rows, packed into fewer lines or not.
EIGHT = (
    "data.train[0].max_rows=8",
    "data.train[0].weight=1",
    "train.per_device_train_batch_size=8",
)


def compare(warm, recipe, tmp_path, variants):
    """Trains all variants; the largest differences of their loss lines and weights."""
    runs = []
    for number, overrides in enumerate(variants):
        name = f"name=v{number}"
        warm.run(tmp_path, "train", *recipe("lora", *SHORT, *overrides, name))
        run = tmp_path / f"runs/v{number}/001"
        adapter = run / "train/adapter/adapter_model.safetensors"
        runs.append((curve(run), safetensors.numpy.load_file(adapter)))
    losses = [[line["loss"] for line in lines] for lines, _ in runs]
    assert all(len(each) == STEPS for each in losses)
    assert losses[0][-1] < losses[0][0] - 0.3
    for (one, weights), (other, others) in itertools.combinations(runs, 2):
        for key in ("step", "rows", "tokens", "trained_tokens", "learning_rate"):
            assert [x[key] for x in one] == [x[key] for x in other], key
        residual = [x["loss"] - y["loss"] for x, y in zip(one, other, strict=True)]
        assert max(map(abs, residual)) < 5e-6
        assert abs(sum(residual) / STEPS) < 2e-6
        assert weights.keys() == others.keys()
        largest = max(float(abs(weights[k] - others[k]).max()) for k in weights)
        print(f"largest differences: loss {max(map(abs, residual)):.1e}, weights {largest:.1e}")
        assert largest < 1e-6
    return losses


def test_batches_and_accumulation(warm, recipe, tmp_path):
    compare(
        warm,
        recipe,
        tmp_path,
        [
            (
                f"train.per_device_train_batch_size={size}",
                f"train.gradient_accumulation_steps={steps}",
            )
            for size, steps in SPLITS
        ],
    )


def test_packing(warm, recipe, tmp_path):
    compare(warm, recipe, tmp_path, [EIGHT, (*EIGHT, "data.packing=true")])
