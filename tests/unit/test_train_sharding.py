"""A model that is split over two processes trains, stops and goes on as one in a single process."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest
import torch
from forked import in_processes, one_thread  # noqa: F401
from split_training import full, job_for, lora, same, trained_as
from tiny_training import metrics, tiny_lora
from torch.distributed.tensor import DTensor

from ftune.errors import Interrupted, ModelError, RecipeError, RunError
from ftune.recipe.distributed import Fsdp
from ftune.train import gathering
from ftune.train.loop import train
from ftune.train.sharding import layer_classes


@pytest.fixture(scope="module")
def alone(tmp_path_factory) -> dict[str, Path]:
    """Plain trainings in one process, whose steps are planned for two."""
    found = {}
    for make in (lora, full):
        found[make.__name__] = tmp_path_factory.mktemp(make.__name__)
        trained_as(found[make.__name__], job_for(found[make.__name__], 1, make(), begun=2))
    return found


@pytest.mark.parametrize(
    ("make", "fsdp"),
    [
        (lora, Fsdp()),
        (full, Fsdp(reshard_after_forward=False)),
        (full, Fsdp(transformer_layer_cls_to_wrap=("LlamaMLP", "LlamaAttention"))),
    ],
)
def test_two_shares_train_as_one(tmp_path, alone, make, fsdp):
    in_processes(2, lambda rank: trained_as(tmp_path, job_for(tmp_path, 2, make(), fsdp, begun=2)))
    same(tmp_path, alone[make.__name__])


def test_killed_and_gone_on_with_by_one_then_two_then_plain(tmp_path, alone):
    """Two with shares, of which one is killed; one with the whole share; two; one without."""

    def killed(rank: int) -> None:
        job = job_for(tmp_path, 2, full(), Fsdp(), begun=2, stop=3, kill=rank == 1)
        with pytest.raises(RuntimeError):
            train(job)

    def go_on(processes: int, stop: int) -> None:
        def work(rank: int) -> None:
            job = job_for(tmp_path, processes, full(), Fsdp(), begun=2, stop=stop)
            with pytest.raises(Interrupted):
                train(job)
            assert job.progress.split > 0

        in_processes(processes, work)

    in_processes(2, killed, ends=(0, signal.SIGKILL))
    go_on(1, stop=4)
    go_on(2, stop=5)
    trained_as(tmp_path, job_for(tmp_path, 1, full(), begun=2))
    same(tmp_path, alone["full"])


def test_two_stopped_and_gone_on_with_by_two_end_equal(tmp_path):
    (straight := tmp_path / "straight").mkdir()
    (stopped := tmp_path / "stopped").mkdir()

    def model() -> torch.nn.Module:
        return tiny_lora(dropout=0.3)

    def first(rank: int) -> None:
        trained_as(straight, job_for(straight, 2, model(), Fsdp(), begun=2))

    def stop(rank: int) -> None:
        with pytest.raises(Interrupted):
            train(job_for(stopped, 2, model(), Fsdp(), begun=2, stop=3 if rank else None))

    def second(rank: int) -> None:
        trained_as(stopped, job_for(stopped, 2, model(), Fsdp(), begun=2))

    for work in (first, stop, second):
        in_processes(2, work)
    assert (straight / "end").read_bytes() == (stopped / "end").read_bytes()
    assert metrics(straight) == metrics(stopped)


def test_what_is_gathered_wrong_is_not_written(tmp_path, monkeypatch):
    def work(rank: int) -> None:
        plain = DTensor.full_tensor
        monkeypatch.setattr(DTensor, "full_tensor", lambda self: torch.zeros_like(plain(self)))
        with pytest.raises(RunError, match="not what they hold"):
            train(job_for(tmp_path, 2, lora(), Fsdp(), begun=2))

    in_processes(2, work)
    assert not list(tmp_path.glob("checkpoints/step-*"))


def test_layers_are_found_by_name():
    model = tiny_lora()
    assert layer_classes(model, ()) == ("LlamaDecoderLayer",)
    with pytest.raises(RecipeError, match=r"has no LlamaMPL; it has .*LlamaMLP"):
        layer_classes(model, ("LlamaMPL",))
    with pytest.raises(RecipeError, match="transformers names no layers"):
        layer_classes(torch.nn.Linear(2, 2), ())


@pytest.mark.parametrize(
    ("fsdp", "kind", "said"),
    [
        (Fsdp(cpu_offload=True), RecipeError, "nothing to offload"),
        (Fsdp(transformer_layer_cls_to_wrap=("Embedding",)), RecipeError, "tied weights"),
    ],
)
def test_refused(tmp_path, fsdp, kind, said):
    def work(rank: int) -> None:
        with pytest.raises(kind, match=said):
            train(job_for(tmp_path, 1, full(), fsdp))

    in_processes(1, work)


@pytest.mark.parametrize("reshard", [True, False])
def test_gathered_layers_are_given_back_after_their_forward_pass_or_not(tmp_path, reshard):
    model = full()

    def look(module, args, out) -> None:
        if torch.is_grad_enabled():
            seen.append({isinstance(p, DTensor) for p in model.model.layers.parameters()})

    def work(rank: int) -> None:
        model.register_forward_hook(look)
        train(job_for(tmp_path, 1, model, Fsdp(reshard_after_forward=reshard)))
        assert seen[-4:] == [{reshard}] * 4

    seen: list[set[bool]] = []
    in_processes(1, work)


def test_a_scalar_parameter_is_told(tmp_path):
    model = full()
    model.scale = torch.nn.Parameter(torch.tensor(1.0))

    def work(rank: int) -> None:
        with pytest.raises(ModelError, match="can't be split"):
            train(job_for(tmp_path, 1, model, Fsdp()))

    in_processes(1, work)


def test_a_model_is_as_it_was_before(tmp_path):
    """Classes, hooks, ties and attributes: it can be split, saved and used again."""
    model = full()

    def seen() -> list:
        ours = {"_is_accelerate_prepared"}  # accelerate's mark, which every training leaves
        hooks = ("_forward_pre_hooks", "_forward_hooks", "_state_dict_pre_hooks")
        return [
            (type(m), set(vars(m)) - ours, [len(vars(m)[name]) for name in hooks])
            for m in model.modules()
        ]

    before = seen()

    def work(rank: int) -> None:
        train(job_for(tmp_path, 1, model, Fsdp()))
        after = seen()
        assert after == before
        assert model.lm_head.weight is model.model.embed_tokens.weight
        assert not any(map(gathering.is_split, model.parameters()))
        model.save_pretrained(tmp_path / "saved")
        again = type(model).from_pretrained(tmp_path / "saved", dtype=torch.float64)
        for name, value in model.state_dict().items():
            assert torch.equal(value, again.state_dict()[name])

    in_processes(1, work)
