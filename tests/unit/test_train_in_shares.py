"""A model that no process ever has the whole of: read, saved and written in shares."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import peft
import pytest
import torch
from forked import in_processes, one_thread  # noqa: F401
from safetensors.torch import load_file, save_file
from split_training import full, job_for, lora, same, trained_as
from tiny_training import tiny_llama, tiny_lora
from torch.distributed.tensor import DTensor
from unread_models import NoTokens, unread, whole

from ftune.errors import Interrupted, ModelError, RunError
from ftune.model import keeping
from ftune.recipe.distributed import Fsdp
from ftune.run.atomic import read_json
from ftune.train import checkpoint
from ftune.train.background import Copies
from ftune.train.loop import train


class Words(NoTokens):
    """A tokenizer that writes itself."""

    def save_pretrained(self, folder: str) -> None:
        (Path(folder) / "tokenizer.json").write_text("{}")


@pytest.fixture(scope="module")
def base(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("base")
    full().save_pretrained(folder, max_shard_size="10KB")
    return folder


@pytest.fixture(scope="module")
def plain_base(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("plain")
    tiny_llama().double().save_pretrained(folder)
    return folder


def split_job(base: Path, folder: Path, processes: int = 2, **options):
    model, waiting = unread(base, "float64")
    model.requires_grad_(True)
    waiting.check(model)
    waiting.draw()
    return job_for(folder, processes, model, Fsdp(), begun=2, unread=waiting, **options)


def keep(model: torch.nn.Module, folder: Path, rank: int):
    return partial(
        keeping.save,
        model,
        folder / "adapter",
        first=rank == 0,
        base={"name": "base"},
        tokenizer=Words(),
        method="full",
    )


def test_full_tuning_never_has_the_whole_model(tmp_path, base, monkeypatch):
    """Stopped by two, gone on with by two from checkpoints written a tensor at a time."""
    (one := tmp_path / "one").mkdir()
    trained_as(one, job_for(one, 1, full(), begun=2))
    monkeypatch.setattr(Copies, "fits", lambda self, parts: False)
    monkeypatch.setattr(keeping, "PIECE", 6000)
    (two := tmp_path / "two").mkdir()

    def stopped(rank: int) -> None:
        with pytest.raises(Interrupted):
            train(split_job(base, two, stop=3))

    def gone_on(rank: int) -> None:
        job = split_job(base, two)
        object.__setattr__(job, "keep", keep(job.model, two, rank))
        trained_as(two, job)

    for work in (stopped, gone_on):
        in_processes(2, work)
    newest = checkpoint.path_of(two / "checkpoints", checkpoint.steps(two / "checkpoints")[0])
    assert not checkpoint.problems(newest)
    listed = set(read_json(newest / checkpoint.MANIFEST)["files"])
    assert listed == {f.name for f in newest.iterdir()} - {checkpoint.MANIFEST}
    made = two / "adapter"
    index = read_json(made / "model.safetensors.index.json")["weight_map"]
    assert len(set(index.values())) > 2 and "lm_head.weight" not in index
    assert set(read_json(made / "ftune.json")["files"]) >= set(index.values())
    written = whole(made, "float64")
    save_file({n: p.detach().clone() for n, p in written.named_parameters()}, two / "end")
    same(two, one)
    last = load_file(newest / "weights.safetensors")
    assert all(torch.equal(last[n], p) for n, p in written.named_parameters())
    other = tmp_path / "other"
    written.save_pretrained(other)
    for name in ("config.json", "generation_config.json"):
        assert read_json(other / name) == read_json(made / name)


def test_an_adapter_is_gathered_without_its_base(tmp_path, plain_base):
    (one := tmp_path / "one").mkdir()
    trained_as(one, job_for(one, 1, lora(), begun=2))
    adapters = {n: p.detach().clone() for n, p in tiny_lora().named_parameters() if "lora_" in n}

    def work(rank: int) -> None:
        model, waiting = unread(plain_base, "float64")
        config = peft.LoraConfig(r=2, target_modules="all-linear", task_type="CAUSAL_LM")
        tuned = peft.get_peft_model(model, config).double()
        for name, parameter in tuned.named_parameters():
            if "lora_" in name:
                parameter.data.copy_(adapters[name])
        waiting.check(tuned)
        waiting.draw()
        job = job_for(tmp_path, 2, tuned, Fsdp(), begun=2, unread=waiting)
        outcome = train(job)
        assert job.progress.split > 0 and job.progress.whole == 0
        assert outcome.sharding["read_in_shares"] and not outcome.sharding["written_in_shares"]
        for name, parameter in tuned.named_parameters():
            assert parameter.is_meta == (rank > 0 or "lora_" not in name)
        if rank == 0:
            own = {n: p.detach() for n, p in tuned.named_parameters() if "lora_" in n}
            ours = load_file(one / "end")
            save_file({**{n: ours[n] for n in ours}, **own}, tmp_path / "end")

    in_processes(2, work)
    same(tmp_path, one)


@pytest.mark.parametrize("damage", ["nan", "cut", "gone"])
def test_all_end_when_one_cannot_read(tmp_path, base, damage):
    copy = tmp_path / "copy"
    copy.mkdir()
    for file in base.iterdir():
        (copy / file.name).write_bytes(file.read_bytes())
    path = max(copy.glob("*.safetensors"))
    if damage == "nan":
        tensors = {n: t.clone() for n, t in load_file(path).items()}
        next(iter(tensors.values())).view(-1)[-1] = torch.nan
        save_file(tensors, path, {"format": "pt"})
    said = {"nan": "holds NaN or infinity"}.get(damage, "can't be read any more")

    def work(rank: int) -> None:
        job = split_job(copy, tmp_path)
        if damage != "nan":
            files = job.unread.files.files
            for key in files:
                if rank == 1 and files[key] == path:
                    files[key] = tmp_path / "elsewhere"
                    if damage == "cut":
                        files[key].write_bytes(path.read_bytes()[:300])
        with pytest.raises(ModelError, match=said):
            train(job)

    in_processes(2, work)
    assert not list(tmp_path.glob("checkpoints/step-*"))


def test_a_tensor_that_is_gathered_wrong_is_not_written(tmp_path, base, monkeypatch):
    monkeypatch.setattr(Copies, "fits", lambda self, parts: False)

    def work(rank: int) -> None:
        right = DTensor.full_tensor
        monkeypatch.setattr(DTensor, "full_tensor", lambda self: torch.zeros_like(right(self)))
        with pytest.raises(RunError, match="not what they hold"):
            train(split_job(base, tmp_path))

    in_processes(2, work)
    assert not list(tmp_path.glob("checkpoints/step-*"))
