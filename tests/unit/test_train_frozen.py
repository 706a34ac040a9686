"""A body of which nothing is trained is computed once, with the same training as without."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import transformers
from test_train_resume import StopAt
from tiny_training import make_job, metrics, same_weights, weights

from ftune.data.batching import Plan, in_order
from ftune.data.collating_labels import collate_labelled
from ftune.errors import Interrupted
from ftune.model import selecting
from ftune.recipe.base import Chosen
from ftune.registry import OBJECTIVES
from ftune.train import frozen
from ftune.train.loop import train
from ftune.types import Encoded

CLASSES = 3
FAMILIES = {"Bert": "bert", "Roberta": "roberta", "DistilBert": "distilbert"}


def encoder(family="Bert", seed=0):
    torch.manual_seed(seed)
    sizes = {"vocab_size": 61, "num_labels": CLASSES, "pad_token_id": 0}
    if family == "DistilBert":
        sizes |= {"dim": 32, "hidden_dim": 48, "n_layers": 2, "n_heads": 4}
    else:
        sizes |= {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2}
        sizes |= {"num_attention_heads": 4, "max_position_embeddings": 40}
    config = getattr(transformers, f"{family}Config")(**sizes)
    model = getattr(transformers, f"{family}ForSequenceClassification")(config)
    body = model.base_model_prefix
    names = [n for n, _ in model.named_parameters() if not n.startswith(body)]
    return selecting.train_only(model, names, "head")


def rows_of(count=26, seed=0):
    draw = np.random.default_rng(seed)
    rows = []
    for _ in range(count):
        ids = draw.integers(1, 61, int(draw.integers(3, 15))).tolist()
        rows.append(
            Encoded(ids, [True] * len(ids), targets=[float(ids[0] % CLASSES)], count=1, kinds=[])
        )
    return rows


def job_of(folder, model=None, epochs=3, held_out=6, more=None, **options):
    rows, objective = rows_of(), OBJECTIVES.load("classification")
    lengths = np.array([len(row.ids) for row in rows])
    return make_job(
        folder,
        encoder() if model is None else model,
        job={
            "objective": objective,
            "objective_config": objective.Settled(False, ()),
            "plan": Plan(
                lengths[held_out:], np.ones(len(rows) - held_out, dtype=int), batch_size=4, seed=1
            ),
            "collate": lambda m: collate_labelled(m, rows[held_out:].__getitem__, 0),
            "eval_batches": in_order(lengths[:held_out], 4),
            "eval_collate": lambda m: collate_labelled(m, rows.__getitem__, 0),
            **(more or {}),
        },
        objective=Chosen("classification", objective.Config()),
        per_device_train_batch_size=4,
        gradient_accumulation_steps=1,
        num_train_epochs=epochs,
        optim="sgd",
        **options,
    )


def trained(folder, epochs=3, model=None, **options):
    """The model, the outcome, and how many rows the body's first block computed."""
    model, seen = encoder() if model is None else model, []
    block = next(m for n, m in model.named_modules() if n.endswith("layer.0"))
    job = job_of(folder, model, epochs, **options)

    def counted(_, args, __):
        seen.append(len(args[0]))

    handle = block.register_forward_hook(counted)
    try:
        outcome = train(job)
    finally:
        handle.remove()
    return model, outcome, seen


def test_the_body_is_computed_once_for_each_row(tmp_path):
    counts = {}
    for epochs in (2, 3, 5):
        _, outcome, seen = trained(tmp_path / str(epochs), epochs)
        counts[epochs] = len(seen)
        assert outcome.fast_paths["frozen body"] == "computed once for 26 rows"
    assert counts[2] == counts[3] == counts[5]
    _, outcome, seen = trained(tmp_path / "one", epochs=1)
    assert outcome.fast_paths["frozen body"].startswith("not taken")


@pytest.mark.parametrize("family", FAMILIES)
def test_it_trains_alike_with_and_without(tmp_path, monkeypatch, family):
    """Without, the body rests as well: its dropout is off."""
    found = []
    for plain in ("0", "1"):
        monkeypatch.setenv("FTUNE_PLAIN", plain)
        model, _, seen = trained(tmp_path / plain, model=encoder(family))
        found.append((metrics(tmp_path / plain), weights(model), len(seen)))
    (lines, fast, few), (others, slow, many) = found
    assert few < many
    assert fast.keys() == slow.keys()
    for name, tensor in fast.items():
        torch.testing.assert_close(tensor, slow[name], rtol=1e-5, atol=1e-6)
    losses, expected = ([x["loss"] for x in each if "loss" in x] for each in (lines, others))
    assert losses == pytest.approx(expected, abs=1e-5)
    seen, wanted = ([x["eval_loss"] for x in each if "eval_loss" in x] for each in (lines, others))
    assert seen == pytest.approx(wanted, abs=1e-5)
    assert len(seen) > 1


def test_stopped_in_the_midst_it_goes_on_bit_for_bit(tmp_path):
    model = encoder()
    train(job_of(tmp_path / "whole", model))
    progress = StopAt(8)
    job = job_of(tmp_path / "parts", more={"progress": progress})
    progress.job = job
    with pytest.raises(Interrupted):
        train(job)
    other = encoder(seed=0)
    train(job_of(tmp_path / "parts", other))
    assert same_weights(weights(model), weights(other))
    assert metrics(tmp_path / "whole") == metrics(tmp_path / "parts")


def test_the_model_comes_back_and_other_trainings_are_not_touched(tmp_path):
    model = encoder()
    before = {n: set(m.__dict__) for n, m in model.named_modules() if n}
    model.train()
    train(job_of(tmp_path / "head", model))
    assert {n: set(m.__dict__) for n, m in model.named_modules() if n} == before
    assert "forward" not in model.__dict__
    assert all(m.training for m in model.modules())
    model.requires_grad_(True)
    _, outcome, _ = trained(tmp_path / "full", model=model)
    assert outcome.fast_paths["frozen body"].startswith("not taken")


def test_too_much_to_keep_is_not_kept(tmp_path, monkeypatch):
    monkeypatch.setattr(frozen, "BYTES", 100)
    _, outcome, _ = trained(tmp_path)
    assert outcome.fast_paths["frozen body"].startswith("not taken")


def test_rows_of_other_kinds_or_without_padding_are_told_apart():
    ids = torch.tensor([[5, 6, 0], [5, 6, 0], [5, 6, 0]])
    mask = torch.tensor([[1, 1, 0], [1, 1, 1], [1, 1, 0]])
    plain = frozen._keys({"input_ids": ids, "attention_mask": mask})
    assert plain[0] == plain[2] != plain[1]
    kinds = torch.tensor([[0, 0, 0], [0, 0, 0], [0, 1, 0]])
    given = {"input_ids": ids, "attention_mask": mask, "token_type_ids": kinds}
    told = frozen._keys(given)
    assert len(set(told)) == 3
    shorter = {"input_ids": ids[:1, :2], "attention_mask": mask[:1, :2]}
    assert frozen._keys(shorter) == plain[:1]
