"""LoRA that begins with the data: PEFT's own start, the same after a stop, and what it refuses."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from ftune.data.collating import collate
from ftune.data.steps import Micro
from ftune.errors import Interrupted, ModelError, RecipeError
from ftune.model import adapters, merging
from ftune.model.comparing import logits
from ftune.model.loading import load_model, load_tokenizer
from ftune.model.tuning import lora
from ftune.recipe.schema import Model, Quantization
from ftune.registry import METHODS
from ftune.run.pipeline import fingerprints, run_stages
from ftune.run.progress import Silent
from ftune.run.signals import StopFlag
from ftune.run.stage import Place, Surroundings
from ftune.stages.whole import STAGES
from ftune.train.objectives import sft

sys.path.insert(0, str(Path(__file__).parents[1] / "contract"))

from small_runs import StopAt, load, make_home, make_model, one_thread, run_here
from small_tasks import make_encoder, make_seq2seq, write

EVA = ("tune.init_lora_weights=eva", "tune.eva_batches=2")
WIDTHS = (14, 9, 11)


@pytest.fixture(autouse=True)
def _alone() -> Any:
    with one_thread():
        yield


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_model(tmp_path_factory.mktemp("m"), num_hidden_layers=2, hidden_size=48)


def base(folder: Path, bits: int | None = None) -> Any:
    options = {8: Quantization(load_in_8bit=True), 4: Quantization(load_in_4bit=True)}
    section = Model(name_or_path=str(folder), device="cpu", quantization=options.get(bits or 0))
    return load_model(section, load_tokenizer(section))


def batches(count: int = 4, rows: int = 8) -> list[Any]:
    drawn = torch.Generator().manual_seed(1)
    found = []
    for at in range(count):
        width = WIDTHS[at % len(WIDTHS)]
        ids = torch.randint(3, 2000, (rows, width), generator=drawn)
        lines = {n: (one.numpy(), [i > 4 for i in range(width)]) for n, one in enumerate(ids)}
        micro = Micro(tuple((n,) for n in lines))
        found.append(collate(micro, lines.__getitem__, 0, packed=False))
    return found


def given(model: Any, found: list[Any]) -> list[Any]:
    return [(one, lambda batch: sft.loss(model, batch, sft.Config())) for one in found]


def begun(loaded: Any, found: list[Any], method: str = "lora", **keys: Any) -> Any:
    extension = METHODS.load(method)
    config = extension.Config(**{"r": 4, "init_lora_weights": "eva", **keys})
    torch.manual_seed(3)
    model = extension.attach(loaded.model, config, loaded.tokenizer).eval()
    chosen = extension.choose(model, config, given(model, found))
    extension.take(model, config, chosen)
    return model


def firsts(model: Any) -> dict[str, Any]:
    return {n: p.detach() for n, p in model.named_parameters() if "lora_A" in n}


def test_it_is_pefts_own_start(folder: Path) -> None:
    from peft import EvaConfig, LoraConfig, get_peft_model, initialize_lora_eva_weights

    ours = begun(base(folder), batches(), eva_rho=3.0)
    settings = LoraConfig(
        r=4, lora_alpha=32, target_modules="all-linear", task_type="CAUSAL_LM",
        init_lora_weights="eva", eva_config=EvaConfig(rho=3.0),
    )  # fmt: skip
    theirs = get_peft_model(base(folder).model, settings)
    rows = [
        {"input_ids": b.input_ids, "attention_mask": b.attention_mask, "labels": b.labels}
        for b in batches()
    ]
    initialize_lora_eva_weights(theirs, rows, show_progress_bar=False)
    mine, wanted = firsts(ours), firsts(theirs)
    assert {n: t.shape for n, t in mine.items()} == {n: t.shape for n, t in wanted.items()}
    assert len({t.shape[0] for t in mine.values()}) > 1
    for name, tensor in wanted.items():
        torch.testing.assert_close(mine[name], tensor, rtol=0, atol=1e-4)
    for key in ("rank_pattern", "alpha_pattern", "target_modules"):
        assert getattr(ours.peft_config["default"], key) == getattr(
            theirs.peft_config["default"], key
        )
    assert all(not p.any() for n, p in ours.named_parameters() if "lora_B" in n)


@pytest.mark.parametrize(
    ("bits", "method", "keys"),
    [
        (None, "lora", {"eva_rho": 8.0, "r": 1, "use_dora": True}),
        (None, "lora", {"rank_pattern": {"q_proj": 2}, "use_rslora": True}),
        (8, "lora", {}),
        (4, "qlora", {}),
    ],
    ids=str,
)
def test_it_comes_back_and_is_merged(
    folder: Path, tmp_path: Path, bits: int | None, method: str, keys: dict[str, Any]
) -> None:
    loaded = base(folder, bits)
    plain = logits(loaded.model, [5, 6, 7])
    model = begun(loaded, batches(), method, **keys)
    assert torch.equal(logits(model, [5, 6, 7]), plain)  # no change at first
    for name, parameter in model.named_parameters():
        assert parameter.requires_grad == ("lora_" in name), name
        if parameter.requires_grad:
            parameter.data += 0.05 * torch.randn_like(parameter)
    wanted = logits(model, [5, 6, 7])
    out = tmp_path / "a"
    adapters.save(model, out, base=loaded.identity, tokenizer=loaded.tokenizer, method=method)
    for trainable in (False, True):
        again = adapters.load(base(folder, bits), out, trainable=trainable).eval()
        assert torch.equal(logits(again, [5, 6, 7]), wanted)
    section = Model(name_or_path=str(folder), device="cpu")
    assert merging.merge(section, out, tmp_path / "merged").holds
    if keys.get("r") == 1:  # ranks went elsewhere, and left some layers plain
        assert len(firsts(model)) < 14


def test_too_few_rows_are_refused_at_once(folder: Path) -> None:
    with pytest.raises(ModelError, match=r"r \* eva_rho = 40 directions .* more than 9 inputs"):
        begun(base(folder), batches(2, rows=1), r=20)
    with pytest.raises(ModelError, match="none of the drawn rows"):
        begun(base(folder), [])
    with pytest.raises(ModelError, match=r"n_components=64 .* \(said by PEFT\)"):
        begun(base(folder), batches(2, rows=16), r=32)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_home(tmp_path_factory.mktemp("eva"))


def test_a_stopped_run_goes_on_with_its_choice(home: Path) -> None:
    loaded = load(home, *EVA, "tune.lora_dropout=0.1")
    straight = run_here(loaded, home.parent / "straight", stages=STAGES[:3])
    run = run_here(loaded, home.parent / "stopped", stages=STAGES[:1])
    prints = fingerprints(STAGES, loaded.recipe, Place(home.parent), set())
    for ends in (True, False):
        stop = StopFlag()
        around = Surroundings(run, Place(home.parent), StopAt(stop) if ends else Silent(), stop)
        if ends:
            with pytest.raises(Interrupted):
                run_stages(STAGES[:3], loaded.recipe, around, prints, set())
        else:
            run_stages(STAGES[:3], loaded.recipe, around, prints, set())
    for file in ("load/choice.safetensors", "train/adapter/adapter_model.safetensors"):
        one, two = ((r.folder / file).read_bytes() for r in (straight, run))
        assert one == two


@pytest.mark.parametrize("name", ["classification", "seq2seq", "token_classification"])
def test_labelled_rows_and_answers(name: str, tmp_path: Path) -> None:
    make = make_seq2seq if name == "seq2seq" else make_encoder
    make(tmp_path / ("seq2seq-model" if name == "seq2seq" else "model"))
    options = ("tune.r=4", "tune.target_modules=all-linear", "train.max_steps=2")
    recipe = write(tmp_path, name)
    found = run_here(load(recipe, *EVA, *options), tmp_path / "runs", stages=STAGES[:3])
    ranks = [len(t) for t in load_file(found.stage("load") / "choice.safetensors").values()]
    assert len(set(ranks)) > 1 and max(ranks) <= 8


def test_its_keys_need_it(home: Path) -> None:
    with pytest.raises(RecipeError, match=r"tune\.eva_rho: has no effect without eva"):
        load(home, "tune.eva_rho=3.0")
    assert lora.sample(lora.Config(r=4, rank_pattern={"q_proj": 20})) == (16, 40)
