from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoTokenizer

from ftune.evaluate.decoding import AnswerText, StopAtText


@pytest.fixture(scope="module", params=["stories260K", "TinyStories-656K"])
def tokenizer(request: pytest.FixtureRequest, shared: Path) -> Any:
    return AutoTokenizer.from_pretrained(shared / "models" / request.param)


def ids_of(tokenizer: Any, text: str) -> list[int]:
    found = tokenizer(text, add_special_tokens=False, split_special_tokens=True).input_ids
    return list(found)


def test_the_blank_behind_the_prompt_stays(tokenizer: Any) -> None:
    whole = tokenizer("Tom said hello to the dog").input_ids
    for cut in range(1, len(whole)):
        reader = AnswerText(tokenizer, (), ())
        text, end, count = reader.read(whole[:cut], whole[cut:])
        before = tokenizer.decode(whole[:cut], skip_special_tokens=True)
        assert before + text == "Tom said hello to the dog"
        assert (end, count) == ("length", len(whole) - cut)


def test_special_tokens_go_and_their_spelling_stays(shared: Path) -> None:
    # This one spells any text from bytes.
    tokenizer = AutoTokenizer.from_pretrained(shared / "models/stories260K")
    reader = AnswerText(tokenizer, (), ())
    prompt = ids_of(tokenizer, "Say it")
    spelled = ids_of(tokenizer, " </s> a </s>")
    assert tokenizer.eos_token_id not in spelled
    mixed = [*spelled, tokenizer.bos_token_id, tokenizer.eos_token_id]
    assert reader.read(prompt, mixed)[0].split() == ["</s>", "a", "</s>"]
    ended = AnswerText(tokenizer, (), (tokenizer.eos_token_id,))
    assert ended.read(prompt, [*mixed, 7, 7])[1:] == ("stop", len(mixed) - 1)


def test_the_first_stop_string_cuts(tokenizer: Any) -> None:
    prompt, answer = ids_of(tokenizer, "Say"), ids_of(tokenizer, "one two three two")
    text, end, count = AnswerText(tokenizer, ("three", " two"), ()).read(prompt, answer)
    assert (text, end) == (" one", "stop")
    assert count < len(answer)
    shortest = AnswerText(tokenizer, ("three", " two"), ()).read(prompt, answer[:count])
    assert shortest == (" one", "stop", count)
    assert AnswerText(tokenizer, (" two",), ()).read(prompt, answer[: count - 1])[1] == "length"


def test_settled_text(tokenizer: Any) -> None:
    reader = AnswerText(tokenizer, ("\n\nUser:", "###"), ())
    assert reader.settled("and then\n") == "and then"
    assert reader.settled("and then\n\nUs") == "and then"
    assert reader.settled("#a ##") == "#a "
    assert reader.settled("and\n so") == "and\n so"
    assert reader.settled("caf\ufffd\ufffd") == "caf"


def test_the_criterion_looks_behind_the_prompt_only(tokenizer: Any) -> None:
    prompt = ids_of(tokenizer, "stop here now")
    seen: list[list[bool]] = []
    rule = StopAtText(tokenizer, ("stop",), len(prompt))
    rows = [ids_of(tokenizer, " do not stop it"), ids_of(tokenizer, " do not halt it now at all")]
    width = min(map(len, rows))
    for n in range(1, width + 1):
        given = torch.tensor([[*prompt, *row[:n]] for row in rows])
        seen.append(rule(given, None).tolist())
    assert seen[0] == [False, False]
    assert any(first for first, _ in seen)
    assert not any(second for _, second in seen)
