"""Soft prompts in training, scoring and generation: equal in any batch, and to PEFT on its own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from ftune.data.collating import collate
from ftune.data.steps import Micro
from ftune.errors import ModelError
from ftune.evaluate.predicting import generate
from ftune.evaluate.scoring import likelihood
from ftune.fast.quick import quick
from ftune.model.tuning import p_tuning, p_tuning_v2, prefix_tuning, prompt_tuning
from ftune.recipe.schema import Generation
from ftune.train.objectives import sft
from ftune.types import Prompt

METHODS = {
    "prompt_tuning": (prompt_tuning, {}),
    "p_tuning": (p_tuning, {}),
    "p_tuning, LSTM": (p_tuning, {"encoder_reparameterization_type": "LSTM"}),
    "prefix_tuning": (prefix_tuning, {}),
    "p_tuning_v2": (p_tuning_v2, {}),
}
STARTS = (
    "Once upon a time",
    "Lily",
    "The dog was very big and it",
    "One day, a little girl named Sue went to the park with her mom and her dad. She saw",
    "Tom had a red ball. He",
)


@pytest.fixture(scope="module", params=METHODS)
def tuned(request: pytest.FixtureRequest, shared: Path) -> tuple[Any, Any]:
    folder = shared / "models/TinyStories-656K"
    model = AutoModelForCausalLM.from_pretrained(folder).eval().requires_grad_(False)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    extension, keys = METHODS[request.param]
    torch.manual_seed(3)
    config = extension.Config(num_virtual_tokens=6, **keys)
    return extension.attach(model, config, tokenizer).eval(), tokenizer


def texts(model: Any, tokenizer: Any, batch_size: int, **options: Any) -> list[str]:
    section = Generation(**{"max_new_tokens": 20, **options})
    prompts = [Prompt(tokenizer(t).input_ids, t, (), "d.jsonl", 1) for t in STARTS]
    return [p.text for p in generate(model, tokenizer, prompts, section, batch_size=batch_size)]


def token_by_token(model: Any, tokenizer: Any, text: str) -> str:
    """The likeliest token of a whole forward pass, again and again."""
    ids = tokenizer(text, return_tensors="pt").input_ids
    start = ids.shape[1]
    for _ in range(20):
        with torch.no_grad():
            logits = model(input_ids=ids, use_cache=False).logits[0, -1]
        ids = torch.cat([ids, logits.argmax()[None, None]], dim=1)
        if ids[0, -1] == tokenizer.eos_token_id:
            break
    whole = tokenizer.decode(ids[0], skip_special_tokens=True)
    return whole[len(tokenizer.decode(ids[0, :start], skip_special_tokens=True)) :]


def test_generation_in_any_batch(tuned: tuple[Any, Any]) -> None:
    model, tokenizer = tuned
    with model.disable_adapter():
        plain = texts(model, tokenizer, 4)
    alone = [token_by_token(model, tokenizer, text) for text in STARTS]
    assert len(set(alone)) > 1
    assert alone != plain
    for batch_size in (1, 2, 16):
        assert texts(model, tokenizer, batch_size) == alone
    for options in ({"num_beams": 3}, {"do_sample": True, "repetition_penalty": 1.2}):
        one = texts(model, tokenizer, 1, **options)
        assert one == texts(model, tokenizer, 16, **options) != alone


def rows() -> list[tuple[list[int], list[bool]]]:
    draw = torch.Generator().manual_seed(1)
    found = []
    for n in (9, 4, 13, 2, 7):
        ids = torch.randint(3, 2000, (n,), generator=draw).tolist()
        found.append((ids, [False] + [True] * (n - 1)))
    return found


def batch_of(numbers: tuple[int, ...]) -> Any:
    return collate(Micro(tuple((n,) for n in numbers)), rows().__getitem__, pad_id=0, packed=False)


@pytest.mark.parametrize("fast", [False, True], ids=["plain", "fast"])
def test_the_loss_of_a_batch_is_that_of_its_rows(tuned: tuple[Any, Any], fast: bool) -> None:
    model = tuned[0]
    wanted, total = {}, 0.0
    for ids, _ in rows():
        line = torch.tensor([ids])
        # PEFT's own loss would also count the first token, behind the virtual ones.
        logits = model(input_ids=line, use_cache=False).logits[0, -len(ids) :]
        loss = torch.nn.functional.cross_entropy(logits[:-1], line[0, 1:], reduction="sum")
        loss.backward()
        total += float(loss.detach())
    for name, p in model.named_parameters():
        if p.grad is not None:
            wanted[name] = p.grad.clone()
    model.zero_grad()
    if fast:
        with quick(model):
            ours = sft.loss(model, batch_of((0, 1, 2, 3, 4)), sft.Config())
            ours.total.backward()
    else:
        ours = sft.loss(model, batch_of((0, 1, 2, 3, 4)), sft.Config())
        ours.total.backward()
    assert float(ours.total.detach()) == pytest.approx(total, rel=1e-5)
    assert wanted
    for name, p in model.named_parameters():
        if name in wanted:
            scale = float(wanted[name].abs().max())
            torch.testing.assert_close(p.grad, wanted[name], rtol=1e-3, atol=1e-4 * scale)
    model.zero_grad()


def test_the_likelihood_of_references(tuned: tuple[Any, Any]) -> None:
    model = tuned[0]
    found = list(likelihood(model, [batch_of((0, 1, 2)), batch_of((3, 4))], sft.target_logits))
    for loss, (ids, _) in zip(found, rows(), strict=True):
        line = torch.tensor([ids])
        with torch.no_grad():
            logits = model(input_ids=line, use_cache=False).logits[0, -len(ids) :]
        wanted = torch.nn.functional.cross_entropy(logits[:-1], line[0, 1:], reduction="sum")
        assert loss.total == pytest.approx(float(wanted), rel=1e-4)
        assert loss.count == len(ids) - 1


def test_a_prefix_starts_as_the_text_itself(shared: Path) -> None:
    """Keys and values of a text in a cache are the text before the input."""
    folder = shared / "models/TinyStories-656K"
    model = AutoModelForCausalLM.from_pretrained(folder).eval().requires_grad_(False)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    words = tokenizer("Once upon a time", add_special_tokens=False).input_ids
    ids = torch.tensor([[5, 77, 300]])
    with torch.no_grad():
        wanted = model(input_ids=torch.cat([torch.tensor([words]), ids], 1)).logits[:, -3:]
    config = p_tuning_v2.Config(num_virtual_tokens=len(words), init_text="Once upon a time")
    tuned = p_tuning_v2.attach(model, config, tokenizer)
    with torch.no_grad():
        found = tuned(input_ids=ids, use_cache=False).logits
    torch.testing.assert_close(found, wanted, rtol=0, atol=1e-4)


def test_a_model_without_such_a_cache_is_refused() -> None:
    from transformers import MambaConfig, MambaForCausalLM

    config = MambaConfig(vocab_size=64, hidden_size=16, num_hidden_layers=1, state_size=4)
    for extension in (prefix_tuning, p_tuning_v2):
        model = MambaForCausalLM(config)
        with pytest.raises(ModelError, match=r"prompt_tuning|said by PEFT"):
            extension.attach(model, extension.Config(), list(range(64)))
