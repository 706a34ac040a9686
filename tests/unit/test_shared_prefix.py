"""A beginning that prompts share is gone through once, and answers are what they were."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, GPT2Config, GPT2LMHeadModel

from ftune.evaluate import predicting
from ftune.evaluate.cost import Cost
from ftune.evaluate.predicting import generate
from ftune.evaluate.shared_prefix import LEAST, Groups, groups
from ftune.recipe.schema import Generation
from ftune.types import Prompt

SHOWN = (
    "Tom saw a cat. The cat was big and red.\n\nLily had a ball. She ran to the park with it.\n\n"
)
ENDS = ("The dog", "Once upon a time there was a girl who", "He", "A bird sang", "So they went to")


@pytest.fixture(scope="module")
def tokenizer(shared: Path) -> Any:
    return AutoTokenizer.from_pretrained(shared / "models/stories260K")


@pytest.fixture(scope="module", params=["llama", "gpt2"])
def model(request: pytest.FixtureRequest, shared: Path) -> Any:
    if request.param == "llama":
        return AutoModelForCausalLM.from_pretrained(shared / "models/stories260K").eval()
    torch.manual_seed(0)
    config = GPT2Config(vocab_size=512, n_embd=32, n_layer=2, n_head=4, n_positions=256)
    return GPT2LMHeadModel(config).eval()


def prompts(tokenizer: Any) -> list[Prompt]:
    texts = [SHOWN * 2 + end for end in ENDS]
    return [Prompt(tokenizer(t).input_ids, t, (), "a", i) for i, t in enumerate(texts, 1)]


@pytest.mark.parametrize(
    "options", [{}, {"num_beams": 2}, {"do_sample": True}, {"repetition_penalty": 1.3}]
)
def test_answers_are_the_same(
    model: Any, tokenizer: Any, options: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked, settings = prompts(tokenizer), Generation(max_new_tokens=16, **options)
    for size in (1, 2, 5):
        cost = Cost()
        found = [
            p.text for p in generate(model, tokenizer, asked, settings, (), (), size, cost=cost)
        ]
        with monkeypatch.context() as patch:
            none = Groups([-1] * len(asked), {})
            patch.setattr(predicting, "groups", lambda rows, size, none=none: none)
            plain = Cost()
            before = generate(model, tokenizer, asked, settings, (), (), size, cost=plain)
            assert found == [p.text for p in before]
        assert plain.shared_tokens == 0
        assert cost.prompt_tokens == plain.prompt_tokens == sum(len(p.ids) for p in asked)
        assert cost.generated_tokens == plain.generated_tokens > 0
        assert cost.shared_tokens > cost.prompt_tokens * (0.8 if size == 1 else 0.5)


def test_groups_fill_a_batch_and_leave_a_token() -> None:
    first, second = tuple(range(LEAST)), tuple(range(5, LEAST + 5))
    rows = [(*first, 7, 8), (*first, 7, 9), (*second, 1), first, (1, 2), (*first, 7)]
    found = groups(rows, size=2)
    assert list(found.of) == [0, 0, -1, -1, -1, 0]
    assert found.beginnings == {0: first}
    assert groups(rows, size=4).beginnings == {}
    assert groups([rows[0]] * 3, size=16).beginnings == {0: (*first, 7)}  # all that there are
    assert groups([rows[0]], size=16).beginnings == {}


def test_more_prompts_at_once_within_a_budget_of_tokens(model: Any, tokenizer: Any) -> None:
    asked = [Prompt((5, 6, 7 + i), "x", (), "a", i) for i in range(6)]
    sizes: list[int] = []
    plain = predicting.Engine.answer

    def answer(self: Any, batch: Any, *rest: Any, **more: Any) -> Any:
        sizes.append(len(batch))
        return plain(self, batch, *rest, **more)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(predicting.Engine, "answer", answer)
        for tokens in (None, 28, 1000):
            settings = Generation(max_new_tokens=4)
            list(generate(model, tokenizer, asked, settings, (), (), 2, batch_tokens=tokens))
    assert sizes == [2, 2, 2, 4, 2, 6]


def test_what_asking_costs_is_told(model: Any, tokenizer: Any) -> None:
    cost, asked = Cost(), prompts(tokenizer)
    assert cost.figures()["generated_tokens_per_second"] is None
    with cost.of(torch.device("cpu")):
        list(generate(model, tokenizer, asked, Generation(max_new_tokens=4), cost=cost))
    told = cost.figures()
    assert told["prompts"] == len(asked)
    assert told["seconds"] >= cost.generating_seconds > cost.first_seconds > 0
    assert told["generated_tokens_per_second"] == pytest.approx(
        told["generated_tokens"] / cost.generating_seconds, rel=0.01
    )
    assert told["peak_memory_bytes"] > 10**7
