"""Soft prompts before an encoder's text, in a decoder's cache, and before a decoder's head."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from small_runs import make_model
from small_tasks import make_seq2seq
from transformers import AutoModelForSeq2SeqLM

from ftune.data.collating_labels import collate_labelled
from ftune.data.encodings import seq2seq as rows_of
from ftune.data.steps import Micro
from ftune.errors import ModelError
from ftune.evaluate.predicting import generate
from ftune.fast.pooling import at_last_tokens
from ftune.model import adapters, heads
from ftune.model.loading import Loaded, load_model, load_tokenizer
from ftune.model.tuning import p_tuning, p_tuning_v2, prefix_tuning, prompt_tuning
from ftune.recipe.schema import Generation, Model
from ftune.train.objectives import classification, regression, seq2seq
from ftune.types import Encoded, Prompt, Task

TOKENS = 5
METHODS: dict[str, tuple[Any, dict[str, Any]]] = {
    "prompt_tuning": (prompt_tuning, {}),
    "p_tuning": (p_tuning, {}),
    "p_tuning, LSTM": (p_tuning, {"encoder_reparameterization_type": "LSTM"}),
    "prefix_tuning": (prefix_tuning, {}),
    "p_tuning_v2": (p_tuning_v2, {}),
}
EMBEDDED = ("prompt_tuning", "p_tuning")


def theirs(method: str, model: Any, **more: Any) -> Any:
    """The same through PEFT alone."""
    import peft

    common = {"task_type": "SEQ_2_SEQ_LM", "num_virtual_tokens": TOKENS, **more}
    if method == "prompt_tuning":
        config: Any = peft.PromptTuningConfig(num_transformer_submodules=1, **common)
    elif method.startswith("p_tuning") and method != "p_tuning_v2":
        kind = "LSTM" if "LSTM" in method else "MLP"
        config = peft.PromptEncoderConfig(
            num_transformer_submodules=1, encoder_reparameterization_type=kind, **common
        )
    else:
        config = peft.PrefixTuningConfig(prefix_projection=method == "prefix_tuning", **common)
    return peft.get_peft_model(model, config)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("soft")
    make_seq2seq(folder / "t5", d_kv=24, num_layers=2, num_decoder_layers=1, initializer_factor=3.0)
    make_seq2seq(folder / "even", initializer_factor=3.0)
    make_model(folder / "llama")
    return folder


def base(home: Path, name: str, task: Task) -> Loaded:
    section = Model(name_or_path=str(home / name), device="cpu")
    return load_model(section, load_tokenizer(section), task=task)


WRITES = Task("seq2seq_lm")


def tuned(home: Path, method: str, name: str = "t5") -> tuple[Any, Any]:
    """The model with a prompt that is not as it was drawn, and its tokenizer."""
    there = base(home, name, WRITES)
    extension, keys = METHODS[method]
    torch.manual_seed(3)
    config = extension.Config(num_virtual_tokens=TOKENS, **keys)
    return extension.attach(there.model, config, there.tokenizer).eval(), there.tokenizer


def encoded(number: int) -> Encoded:
    draw = torch.Generator().manual_seed(number)
    read, said = 3 + 4 * number, 2 + number % 3
    ids = torch.randint(6, 80, (read + said,), generator=draw).tolist()
    return Encoded(ids, [False] * read + [True] * said, count=said, lines=[read])


def batch_of(*numbers: int) -> Any:
    return rows_of.collate(Micro(tuple((n,) for n in numbers)), encoded, pad_id=0)


@pytest.mark.parametrize("method", METHODS)
def test_as_peft_has_it(home: Path, method: str) -> None:
    """The same seed gives the same trained parameters and the same loss, of a padded batch too."""
    ours, tokenizer = tuned(home, method, "even")
    assert len(tokenizer)
    model = AutoModelForSeq2SeqLM.from_pretrained(home / "even").eval()
    torch.manual_seed(3)
    plain = theirs(method, model).eval()
    drawn = {n: p for n, p in ours.named_parameters() if p.requires_grad}
    other = {n: p for n, p in plain.named_parameters() if p.requires_grad}
    assert {n: p.shape for n, p in drawn.items()} == {n: p.shape for n, p in other.items()}
    if method in ("prompt_tuning", "p_tuning_v2"):  # which start from real tokens
        for name, p in other.items():
            p.data = drawn[name].data.clone()
    else:
        assert all(torch.equal(p, other[n]) for n, p in drawn.items())
    batch = batch_of(0, 3, 1)
    loss = seq2seq.loss(ours, batch, seq2seq.Config())
    loss.total.backward()
    said = plain(
        input_ids=batch.input_ids,
        attention_mask=batch.attention_mask,
        labels=batch.targets.long(),
        use_cache=False,
    ).loss
    (said * batch.count).backward()
    assert float(loss.total.detach()) == pytest.approx(float(said.detach()) * batch.count, rel=1e-6)
    for name, p in drawn.items():
        assert float(p.grad.abs().max()) > 0
        torch.testing.assert_close(p.grad, other[name].grad, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("method", METHODS)
def test_an_encoder_decoder_in_any_batch(home: Path, method: str) -> None:
    """With keys of another width and fewer layers in the decoder: loss, and answers."""
    model, tokenizer = tuned(home, method)
    with torch.no_grad():
        alone = [seq2seq.loss(model, batch_of(n), seq2seq.Config()).total for n in range(4)]
        together = seq2seq.loss(model, batch_of(2, 0, 3, 1), seq2seq.Config()).total
    assert float(together) == pytest.approx(float(sum(alone)), rel=1e-5)
    prompts = [Prompt(encoded(n).ids[: 3 + 4 * n], "", (), "d", n) for n in range(4)]

    def texts(size: int, **more: Any) -> list[str]:
        section = Generation(max_new_tokens=8, **more)
        return [p.text for p in generate(model, tokenizer, prompts, section, batch_size=size)]

    step_by_step = [answer(model, tokenizer, p.ids) for p in prompts]
    assert len(set(step_by_step)) > 1
    assert texts(1) == texts(4) == step_by_step
    assert texts(1, num_beams=2) == texts(3, num_beams=2)
    with model.disable_adapter():
        assert texts(4) == [answer(model, tokenizer, p.ids) for p in prompts] != step_by_step


def answer(model: Any, tokenizer: Any, ids: Any) -> str:
    """The likeliest token of a whole forward pass, again and again."""
    said = [model.config.decoder_start_token_id]
    for _ in range(8):
        with torch.no_grad():
            logits = model(
                input_ids=torch.tensor([list(ids)]),
                decoder_input_ids=torch.tensor([said]),
                use_cache=False,
            ).logits
        said.append(int(logits[0, -1].argmax()))
        if said[-1] == tokenizer.eos_token_id:
            break
    return str(tokenizer.decode(said[1:], skip_special_tokens=True))


@pytest.mark.parametrize("method", METHODS)
def test_it_is_read_back_and_not_merged(home: Path, method: str, tmp_path: Path) -> None:
    from ftune.model.merging import merge

    model, tokenizer = tuned(home, method)
    with torch.no_grad():
        wanted = seq2seq.logits(model, batch_of(0, 2))
    there = base(home, "t5", WRITES)
    adapters.save(model, tmp_path / "a", base=there.identity, tokenizer=tokenizer, method=method)
    again = adapters.load(there, tmp_path / "a").eval()
    with torch.no_grad():
        found = seq2seq.logits(again, batch_of(0, 2))
    torch.testing.assert_close(found, wanted, rtol=1e-3, atol=1e-4)
    plain = AutoModelForSeq2SeqLM.from_pretrained(home / "t5").eval()
    from peft import PeftModel

    other = PeftModel.from_pretrained(plain, str(tmp_path / "a")).eval()
    with torch.no_grad():
        torch.testing.assert_close(
            seq2seq.logits(other, batch_of(0, 2)), wanted, rtol=1e-3, atol=1e-4
        )
    section = Model(name_or_path=str(home / "t5"), device="cpu")
    with pytest.raises(ModelError, match="can't be merged"):
        merge(section, tmp_path / "a", tmp_path / "m", rows=[[3, 4]], task=WRITES)


@pytest.mark.parametrize("objective", [classification, regression])
@pytest.mark.parametrize(
    "method", [m for m in METHODS if m.startswith(EMBEDDED) and m != "p_tuning_v2"]
)
def test_a_head_on_a_decoder_sees_the_last_token(home: Path, method: str, objective: Any) -> None:
    """Each line of a padded batch says what it says alone, and so does its gradient."""
    labels = ("a", "b", "c") if objective is classification else ()
    there = base(home, "llama", Task(objective.KIND, labels, (1,) * len(labels)))
    extension, keys = METHODS[method]
    config = extension.Config(num_virtual_tokens=TOKENS, **keys)
    model = extension.attach(there.model, config, there.tokenizer).eval()
    pad = there.tokenizer.pad_token_id
    lines = [[40, 41, 50], [60, 61, 62, 63, 64, 65, pad], [70]]

    def read(number: int) -> Encoded:
        return Encoded(lines[number], [True] * len(lines[number]), targets=[1.0], count=1)

    batch = collate_labelled(Micro(((0,), (1,), (2,))), read, pad)
    said = objective.logits(model, batch)
    with torch.no_grad():
        for number, ids in enumerate(lines):
            alone = model(input_ids=torch.tensor([ids])).logits[0]
            torch.testing.assert_close(said[number].reshape(-1), alone, rtol=1e-5, atol=1e-6)
        untold = model(input_ids=batch.input_ids, attention_mask=batch.attention_mask).logits
    assert not torch.allclose(untold.reshape(said.shape)[0], said[0], atol=1e-3)
    said.square().sum().backward()
    ours = {n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None}
    model.zero_grad()
    for ids in lines:
        model(input_ids=torch.tensor([ids])).logits.square().sum().backward()
    for name, p in model.named_parameters():
        if name in ours:
            torch.testing.assert_close(p.grad, ours[name], rtol=1e-3, atol=1e-4)


def test_other_models_are_left_alone(home: Path) -> None:
    there = base(home, "llama", Task("sequence_classification", ("a", "b"), (1, 1)))
    hooks = len(there.model.score._forward_pre_hooks)
    with at_last_tokens(there.model, torch.ones(1, 3)):
        assert len(there.model.score._forward_pre_hooks) == hooks
    assert heads.task_of(there.model).kind == "sequence_classification"
