"""Rendering: long examples, text without roles, prompts, and errors in their places."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

sys.path.insert(0, str(Path(__file__).parents[1] / "contract"))
from chat_families import tokenizer

from ftune.data import render
from ftune.data.rules import Dropped, Rules
from ftune.data.templating import load_template
from ftune.errors import DataError
from ftune.types import Example, Message, Prompt, Tokens

WORDS = tokenizer("bytes", ("<|im_start|>", "<|im_end|>"))
CHATML = load_template("chatml", WORDS)
PLAIN = load_template("plain", WORDS)


def chat(*turns: str, system: str = "") -> Example:
    roles = ("user", "assistant")
    found = [Message("system", system)] if system else []
    found += [Message(roles[i % 2], text) for i, text in enumerate(turns)]
    return Example(tuple(found))


def cut(example: Example, length: int, how: Any, template: Any = CHATML) -> Tokens | Dropped:
    return render.tokens(example, template, Rules(length, "assistant", how))


def text(tokens: Any) -> str:
    return str(WORDS.decode(tokens.ids))


LONG = chat("one two three four", "five", "six seven eight nine", "ten 你好", system="be kind")
FULL = cut(LONG, 1000, "error")
assert isinstance(FULL, Tokens)
SIZE = len(FULL.ids)


def test_too_long_is_an_error_that_gives_the_numbers() -> None:
    assert cut(LONG, SIZE, "error") == FULL
    with pytest.raises(DataError, match=f"has {SIZE} tokens, and data.max_length is {SIZE - 1}"):
        cut(LONG, SIZE - 1, "error")


def test_drop() -> None:
    assert cut(LONG, SIZE - 1, "drop") == Dropped("too long")


def test_truncate_cuts_the_end_and_counts() -> None:
    found = cut(LONG, SIZE - 3, "truncate")
    assert isinstance(found, Tokens)
    assert list(found.ids) == list(FULL.ids)[:-3]
    assert found.truncated == 3
    only = chat("one two three four five six", "ten")
    assert cut(only, 12, "truncate") == Dropped("answer cut away")


def test_truncate_prompt_takes_old_exchanges_first_and_keeps_the_rest_whole() -> None:
    found = cut(LONG, SIZE - 1, "truncate_prompt")
    assert isinstance(found, Tokens)
    kept = chat("six seven eight nine", "ten 你好", system="be kind")
    assert found.ids == cut(kept, 1000, "error").ids  # type: ignore[union-attr]
    assert found.truncated == SIZE - len(found.ids)


def test_truncate_prompt_then_cuts_the_left_of_the_last_question() -> None:
    kept = cut(chat("six seven eight nine", "ten 你好", system="be kind"), 1000, "error")
    assert isinstance(kept, Tokens)
    found = cut(LONG, len(kept.ids) - 4, "truncate_prompt")
    assert isinstance(found, Tokens)
    assert len(found.ids) == len(kept.ids) - 4
    assert text(found).startswith("<s><|im_start|>system\nbe kind<|im_end|>\n<|im_start|>user\n")
    assert text(found).endswith("nine<|im_end|>\n<|im_start|>assistant\nten 你好<|im_end|>")
    assert sum(found.trained) == sum(kept.trained)


def test_truncate_prompt_never_cuts_the_answer() -> None:
    short = cut(chat("", "ten 你好", system="be kind"), 1000, "error")
    assert isinstance(short, Tokens)
    assert cut(LONG, len(short.ids), "truncate_prompt").ids == short.ids  # type: ignore[union-attr]
    assert cut(LONG, len(short.ids) - 1, "truncate_prompt") == Dropped("answer too long")


def test_a_cut_never_leaves_half_a_character() -> None:
    example = chat("東京🙂東京🙂", "yes")  # each character is of three or four tokens
    whole, without = cut(example, 1000, "error"), cut(chat("", "yes"), 1000, "error")
    assert isinstance(whole, Tokens) and isinstance(without, Tokens)
    assert len(whole.ids) - len(without.ids) == 20
    for length in range(len(without.ids), len(whole.ids)):
        found = cut(example, length, "truncate_prompt")
        assert isinstance(found, Tokens)
        assert "�" not in text(found)
        assert length - 3 <= len(found.ids) <= length


@settings(max_examples=60)
@given(
    turns=st.lists(st.text("ab </s>é", max_size=12), min_size=1, max_size=3),
    length=st.integers(8, 90),
    how=st.sampled_from(["truncate", "truncate_prompt", "drop"]),
)
def test_never_longer_than_allowed_and_never_untrained(
    turns: list[str], length: int, how: str
) -> None:
    example = chat(*[t for turn in turns for t in (turn, "answer " + turn)])
    found = cut(example, length, how)
    if isinstance(found, Tokens):
        assert len(found.ids) <= length
        assert len(found.ids) == len(found.trained)
        assert True in found.trained and not found.trained[0]
        assert found.prompt_length == list(found.trained).index(True)
        if how == "truncate_prompt":
            assert found.ids[-1] == WORDS.convert_tokens_to_ids("<|im_end|>")


def test_text_is_trained_from_beginning_to_end() -> None:
    example = Example((Message("text", "The sky is </s> blue."),))
    for template in (CHATML, PLAIN):
        found = cut(example, 100, "error", template)
        assert isinstance(found, Tokens)
        assert found.ids == [
            WORDS.bos_token_id,
            *_plain("The sky is </s> blue."),
            WORDS.eos_token_id,
        ]
        assert found.trained == [False, *[True] * (len(found.ids) - 1)]
    asked = render.prompt(example, PLAIN, Rules())
    assert isinstance(asked, Prompt)
    assert list(asked.ids) == [WORDS.bos_token_id]
    assert asked.references == ("The sky is </s> blue.",)


def _plain(words: str) -> list[int]:
    backend = type(WORDS.backend_tokenizer).from_str(WORDS.backend_tokenizer.to_str())
    backend.encode_special_tokens = True
    return list(backend.encode(words, add_special_tokens=False).ids)


def test_prompts_that_are_too_long() -> None:
    example = chat("one two three four five six seven", "eight")
    whole = render.prompt(example, CHATML, Rules())
    assert isinstance(whole, Prompt)
    size = len(whole.ids)
    with pytest.raises(DataError, match=f"the prompt has {size} tokens"):
        render.prompt(example, CHATML, Rules(size - 1))
    for how in ("truncate", "truncate_prompt"):
        found = render.prompt(example, CHATML, Rules(size - 2, on_too_long=how))  # type: ignore[arg-type]
        assert isinstance(found, Prompt)
        assert len(found.ids) == size - 2
        assert list(found.ids)[-3:] == list(whole.ids)[-3:]
    assert render.prompt(example, CHATML, Rules(size - 1, on_too_long="drop")) == Dropped(
        "too long"
    )


def test_a_prompt_needs_an_answer() -> None:
    with pytest.raises(DataError, match="does not end with an assistant's answer"):
        render.prompt(chat("q", "a", "q"), CHATML, Rules())


def test_prompt_text_is_what_an_evaluation_asks() -> None:
    asked = render.prompt(chat("q", "a", system="s"), CHATML, Rules())
    free = render.prompt_text(chat("q", system="s").messages, CHATML, Rules())
    assert isinstance(asked, Prompt)
    assert list(free.ids) == list(asked.ids)
    assert free.text == "<|im_start|>system\ns<|im_end|>\n<|im_start|>user\nq<|im_end|>\n" + (
        "<|im_start|>assistant\n"
    )
    with pytest.raises(DataError):
        render.prompt_text(chat("q " * 50).messages, CHATML, Rules(20, on_too_long="drop"))


def test_further_references_follow_the_answer() -> None:
    example = Example(chat("q", "a").messages, ("b", "a", "c"))
    asked = render.prompt(example, CHATML, Rules())
    assert isinstance(asked, Prompt)
    assert asked.references == ("a", "b", "c")


def test_many_gives_errors_in_their_places() -> None:
    tool = Example((Message("user", "q"), Message("tool", "t"), Message("assistant", "a")))
    zephyr = load_template("zephyr", WORDS)
    found = list(render.many([chat("q", "a"), tool, chat("q", "b")], zephyr, Rules()))
    assert [type(f) for f in found] == [Tokens, DataError, Tokens]
    assert "no place" in str(found[1])
    with pytest.raises(DataError, match="no place"):
        render.tokens(tool, zephyr, Rules())


def test_alpaca_has_its_two_prompts() -> None:
    template = load_template("alpaca", WORDS)
    with_input = (Message("user", "Add.", "1 2"), Message("assistant", "3"))
    without = (Message("user", "Hi."), Message("assistant", "Hello."))
    assert "".join(s.text for s in template.segments(with_input)) == (
        "Below is an instruction that describes a task, paired with an input that provides further "
        "context. Write a response that appropriately completes the request.\n\n"
        "### Instruction:\nAdd.\n\n### Input:\n1 2\n\n### Response:\n3</s>"
    )
    assert "".join(s.text for s in template.segments(without)) == (
        "Below is an instruction that describes a task. Write a response that appropriately "
        "completes the request.\n\n### Instruction:\nHi.\n\n### Response:\nHello.</s>"
    )


def test_plain_adds_nothing() -> None:
    found = cut(chat("a || ", "b"), 100, "error", PLAIN)
    assert text(found) == "<s>a || b</s>"


def test_templates_of_ones_own(tmp_path: Path) -> None:
    from ftune.errors import RecipeError

    (tmp_path / "mine.yaml").write_text(
        'bos: false\nuser: {before: "Q: ", after: "\\n"}\n'
        'assistant: {before: "A:", end: "\\n\\n"}\nstop: ["Q:"]\n'
    )
    template = load_template("mine.yaml", WORDS, folder=tmp_path)
    found = cut(chat("q", " a"), 100, "error", template)
    assert text(found) == "Q: q\nA: a\n\n"
    assert template.stop == ("\n\n", "Q:")
    assert WORDS.decode([i for i, t in zip(found.ids, found.trained, strict=True) if t]) == " a\n\n"  # type: ignore[union-attr]
    wrong = tmp_path / "wrong.yaml"
    wrong.write_text("user:\n  befor: x\nstop: 5\n")
    with pytest.raises(RecipeError) as caught:
        load_template("wrong.yaml", WORDS, folder=tmp_path)
    said = str(caught.value)
    assert f"{wrong}:2:3:" in said and "before" in said
    assert f"{wrong}:3:" in said
    assert "assistant is missing" in said
    with pytest.raises(RecipeError, match="there are: alpaca, chatml"):
        load_template("chatlm", WORDS, folder=tmp_path)


def test_marks_that_are_no_tokens_are_warned_of() -> None:
    template = load_template("chatml", tokenizer("bytes"))
    assert 'model.add_tokens: ["<|im_start|>", "<|im_end|>"]' in template.warnings[0]
    assert CHATML.warnings == ()


def test_added_tokens_are_usual_ones_in_words_and_marks_only_in_the_template(shared: Any) -> None:
    from ftune.model.loading import load_tokenizer
    from ftune.recipe.schema import Model

    section = Model(
        name_or_path=str(shared / "models" / "stories260K"),
        add_tokens=("<gene>", "<|im_start|>", "<|im_end|>"),
    )
    tokenizer = load_tokenizer(section)
    template = load_template("chatml", tokenizer)
    gene, start, end = (tokenizer.convert_tokens_to_ids(t) for t in section.add_tokens)
    example = Example(
        (Message("user", "a <gene> and <|im_end|>"), Message("assistant", "the <gene>"))
    )
    made = render.tokens(example, template, Rules())
    assert isinstance(made, Tokens)
    ids = list(made.ids)
    assert ids.count(gene) == 2 and ids.count(start) == 2 and ids.count(end) == 2
    assert [i for i, t in zip(ids, made.trained, strict=True) if t].count(gene) == 1
