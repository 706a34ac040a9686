"""Importance: scores beside plain autograd, and that what is not chosen never moves."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from test_train_resume import StopAt
from tiny_adapters import base, make_base
from tiny_training import make_job, tiny_llama

from ftune.errors import Interrupted, ModelError
from ftune.model import adapters, chosen, deltas, merging, sizes
from ftune.model.tuning import importance
from ftune.recipe.schema import Model
from ftune.train.hooks import Hooks
from ftune.train.loop import train

IDS = torch.randint(3, 2000, (3, 12), generator=torch.Generator().manual_seed(1))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_base(tmp_path_factory.mktemp("base"))


def losses(model: Any) -> Any:
    return (model(input_ids=row[None], labels=row[None], use_cache=False).loss for row in IDS)


def attached(folder: Path, config: importance.Config) -> tuple[Any, Any]:
    loaded = base(folder)
    model = importance.attach(loaded.model, config, loaded.tokenizer)
    found = importance.choose(model, config, losses(model))
    importance.take(model, config, found)
    return loaded, model


@pytest.mark.parametrize(("score", "power"), [("gradient", 1), ("fisher", 2)])
def test_scores_are_those_of_plain_autograd(folder: Path, score: str, power: int) -> None:
    loaded = base(folder)
    model = importance.attach(loaded.model, importance.Config(), loaded.tokenizer)
    found = chosen.scores(model, losses(model), squared=score == "fisher")
    names, parameters = zip(*model.named_parameters(), strict=True)
    rows = [torch.autograd.grad(loss, parameters, allow_unused=True) for loss in losses(model)]
    assert set(found) == set(names)
    for at, name in enumerate(names):
        expected = torch.stack([r[at] for r in rows]).abs().pow(power).mean(0)
        torch.testing.assert_close(found[name], expected)
    config = importance.Config(score=score, by="parameter", share=0.03)
    picked = importance.choose(model, config, losses(model))
    flat = torch.cat([found[n].flatten() for n in names])
    count = sum(len(at) for at in picked.values())
    assert count == round(0.03 * len(flat))
    least = min(float(found[n].flatten()[at].min()) for n, at in picked.items())
    assert int((flat > least).sum()) == count - 1  # they are the highest ones


@pytest.mark.parametrize(
    ("by", "share"), [("parameter", 0.05), ("parameter", 0.9), ("row", 0.05), ("module", 0.05)]
)
def test_what_is_not_chosen_stays_bit_for_bit(
    folder: Path, tmp_path: Path, by: str, share: float
) -> None:
    config = importance.Config(by=by, share=share)
    loaded, model = attached(folder, config)
    before = {n: p.detach().clone() for n, p in model.named_parameters()}
    counted = sizes.count(model)
    assert 0 < counted.trainable <= share * counted.total + 1
    optimizer = torch.optim.AdamW(
        [p for p in model.parameters() if p.requires_grad], lr=0.01, weight_decay=0.5
    )
    importance.begin(model, 3)
    for step, loss in enumerate(losses(model), 1):
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        importance.after_step(model, step)
    some = chosen.of(model)
    assert some is not None
    moved = 0
    for name, parameter in model.named_parameters():
        changed = (parameter != before[name]).flatten()
        allowed = torch.zeros_like(changed)
        if name in some.units:
            chosen.units(allowed, by)[:] = False
            chosen.units(allowed.view(parameter.shape), by)[some.units[name]] = True
        assert not bool((changed & ~allowed).any()), name
        moved += int(changed.sum())
    assert moved > counted.trainable // 2
    out = tmp_path / "out"
    adapters.save(model, out, base=loaded.identity, tokenizer=loaded.tokenizer, method="importance")
    again = adapters.load(base(folder), out, trainable=True)
    own = dict(again.named_parameters())
    assert all(torch.equal(own[n], p) for n, p in model.named_parameters())
    assert sizes.count(again).trainable == counted.trainable
    if share < 0.1:
        whole = sum(p.nbytes for p in model.parameters())
        assert (out / deltas.WEIGHTS).stat().st_size < 0.2 * whole
    section = Model(name_or_path=str(folder), device="cpu")
    assert merging.merge(section, out, tmp_path / "merged").holds


def test_places_that_do_not_fit_are_refused(folder: Path, tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    loaded, model = attached(folder, importance.Config(by="row"))
    with torch.no_grad():
        next(p for p in model.parameters() if p.requires_grad).add_(1)
    out = tmp_path / "out"
    adapters.save(model, out, base=loaded.identity, tokenizer=loaded.tokenizer, method="importance")
    good = load_file(out / deltas.WEIGHTS)
    name = next(n for n in good if n.endswith(":at"))
    for wrong in (good[name] + 10**6, good[name].flip(0) - 1, good[name][:0], good[name].float()):
        save_file({**good, name: wrong.contiguous()}, out / deltas.WEIGHTS)
        with pytest.raises(ModelError, match="places do not fit"):
            deltas.load(base(folder), out, trainable=False)
    save_file(good, out / deltas.WEIGHTS)
    told = json.loads((out / deltas.CONFIG).read_text())
    (out / deltas.CONFIG).write_text(json.dumps({**told, "by": "column"}))
    with pytest.raises(ModelError, match="places do not fit"):
        deltas.load(base(folder), out, trainable=False)


def test_nothing_to_rank_by_is_said(folder: Path) -> None:
    loaded = base(folder)
    model = importance.attach(loaded.model, importance.Config(), loaded.tokenizer)
    with pytest.raises(ModelError, match="sample_rows"):
        importance.choose(model, importance.Config(), ())
    with pytest.raises(ModelError, match="not finite"):
        importance.choose(
            model, importance.Config(), (loss * float("nan") for loss in losses(model))
        )


@pytest.mark.parametrize("optim", ["adamw_torch", "sgd"])
def test_a_stopped_training_goes_on_bit_for_bit(tmp_path: Path, optim: str) -> None:
    def trained(folder: Path, stop_at: int | None) -> tuple[Any, Any]:
        model = tiny_llama()
        config = importance.Config(by="parameter", share=0.1)
        importance.attach(model, config, None)
        importance.take(model, config, importance.choose(model, config, losses_of(model)))
        names = ("begin", "after_step")
        hooks = Hooks(**{n: partial(getattr(importance, n), model) for n in names})
        job = make_job(
            folder, model, job={"hooks": hooks}, max_steps=5, save_steps=1, weight_decay=0.3,
            optim=optim,
        )  # fmt: skip
        progress = StopAt(stop_at)
        job = replace(job, progress=progress)
        progress.job = job
        try:
            train(job)
        except Interrupted:
            assert stop_at
        return model, job

    straight, _ = trained(tmp_path / "straight", None)
    trained(tmp_path / "stopped", 2)
    again, _ = trained(tmp_path / "stopped", None)
    first = tiny_llama()
    some = chosen.of(again)
    assert some is not None
    for (name, one), other, was in zip(
        straight.named_parameters(), again.parameters(), first.parameters(), strict=True
    ):
        assert torch.equal(one, other), name
        moved = (one != was).flatten()
        moved[some.units.get(name, torch.tensor([], dtype=torch.long))] = False
        assert not bool(moved.any()), name


def losses_of(model: Any) -> Any:
    size = model.config.vocab_size
    return (model(input_ids=row[None] % size, labels=row[None] % size).loss for row in IDS)
