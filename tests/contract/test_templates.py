"""What holds for every template: the shipped files and the chat templates of twelve families."""

from __future__ import annotations

import re
from typing import Any

import pytest
from chat_families import FAMILIES, ChatFamily, tokenizer

from ftune.data import render
from ftune.data.rules import Rules
from ftune.data.templating import Template, load_template
from ftune.registry import template_names
from ftune.types import Example, Message, Tokens

KINDS = ("bytes", "pieces")
SHIPPED = [name for name in template_names() if name != "tokenizer"]
FILE_MARKS = {
    "chatml": ("<|im_start|>", "<|im_end|>"),
    "llama3": ("<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"),
}
RULES = Rules(max_length=4096)


def conversation(marks: tuple[str, ...] = (), system: bool = True) -> Example:
    """Four turns that spell every special token there is."""
    spelled = " ".join(("</s>", "<s>", "<pad>", *marks))
    turns = [Message("system", f"Be kind. {spelled}")] if system else []
    turns += [
        Message("user", f"What is {spelled}?"),
        Message("assistant", f"It is four. {spelled}"),
        Message("user", "And 你好 naïve?"),
        Message("assistant", "The sky is blue."),
    ]
    return Example(tuple(turns))


def made(example: Example, template: Template, rules: Rules = RULES) -> Tokens:
    found = render.tokens(example, template, rules)
    assert isinstance(found, Tokens)
    return found


def cases() -> list[Any]:
    found = []
    for kind in KINDS:
        for name in SHIPPED:
            marks = FILE_MARKS.get(name, ())
            end = {"chatml": "<|im_end|>", "llama3": "<|eot_id|>"}.get(name, "</s>")
            found.append(pytest.param(kind, ChatFamily(name, "", marks, end), id=f"{kind}-{name}"))
        found += [pytest.param(kind, f, id=f"{kind}-tokenizer-{f.name}") for f in FAMILIES]
    return found


def loaded(kind: str, family: ChatFamily) -> tuple[Any, Template]:
    words = tokenizer(kind, family.marks, family.template or None)
    return words, load_template("tokenizer" if family.template else family.name, words)


@pytest.mark.parametrize(("kind", "family"), cases())
def test_marks_and_mask(kind: str, family: ChatFamily) -> None:
    words, template = loaded(kind, family)
    example = conversation(family.marks, family.system)
    tokens = made(example, template)
    ids, trained = list(tokens.ids), list(tokens.trained)

    # One beginning mark (Llama 2 writes one before each exchange), and never a trained one.
    begins = [i for i, token in enumerate(ids) if token == words.bos_token_id]
    assert begins[0] == 0
    assert len(begins) == (2 if family.name == "llama2" else 1)
    assert not any(trained[i] for i in begins)

    # Each answer is trained as a whole with its end mark behind it, and nothing else is.
    end = words.convert_tokens_to_ids(family.end)
    spans = trained_spans(trained)
    answers = [m.content for m in example.messages if m.role == "assistant"]
    assert len(spans) == len(answers)
    for (start, stop), answer in zip(spans, answers, strict=True):
        assert ids[stop - 1] == end
        said = words.decode(ids[start : stop - 1], clean_up_tokenization_spaces=False)
        said = re.sub(r"^\s*<think>\s*</think>", "", said)
        assert said.strip() == answer
        # Within the words nothing is special, whatever they spell.
        assert set(ids[start : stop - 1]).isdisjoint(words.all_special_ids)
    assert words.pad_token_id not in ids
    assert words.pad_token_id != words.eos_token_id
    assert end in template.stop_ids


@pytest.mark.parametrize(("kind", "family"), cases())
def test_a_prompt_is_the_beginning_of_the_training_ids(kind: str, family: ChatFamily) -> None:
    _, template = loaded(kind, family)
    example = conversation(family.marks, family.system)
    for messages in (example.messages, example.messages[:-2]):
        whole = Example(messages)
        asked = render.prompt(whole, template, RULES, "rows.jsonl", 7)
        assert not isinstance(asked, render.Dropped)
        tokens = made(whole, template, Rules(4096, "completion"))
        assert list(asked.ids) == list(tokens.ids)[: len(asked.ids)]
        assert tokens.prompt_length == len(asked.ids)
        assert asked.references == (messages[-1].content,)
        assert (asked.source, asked.row) == ("rows.jsonl", 7)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("family", FAMILIES, ids=lambda f: f.name)
def test_tokenizer_template_gives_transformers_ids(kind: str, family: ChatFamily) -> None:
    """Compared with ``apply_chat_template`` on rows that spell no special token."""
    words, template = loaded(kind, family)
    turns = [Message("system", "Be kind.")] if family.system else []
    turns += [Message("user", "Name the colour, please."), Message("assistant", "The sky is blue.")]
    turns += [Message("user", "What is two?"), Message("assistant", "It is four.")]
    plain = [{"role": m.role, "content": m.content} for m in turns]
    true = words.apply_chat_template(plain, tokenize=True, return_dict=True)["input_ids"]
    ours = list(made(Example(tuple(turns)), template).ids)
    if not family.bos:
        assert ours[0] == words.bos_token_id
        # A tokenizer of pieces puts its space at the beginning of the text, mark or not.
        ours = ours[1:]
    assert words.decode(ours) == words.decode(true)
    assert ours == true or boundary_splits(words, ours, true)


def boundary_splits(words: Any, ours: list[int], true: list[int]) -> bool:
    """Whether the two differ only in tokens that hold the end of a prompt and an answer's start.

    There ours have more tokens: a mask boundary must be a token boundary.
    """
    same_text = words.decode(ours) == words.decode(true)
    return same_text and 0 < len(ours) - len(true) <= 4


def trained_spans(trained: list[bool]) -> list[tuple[int, int]]:
    spans, start = [], None
    for i, flag in enumerate([*trained, False]):
        if flag and start is None:
            start = i
        elif not flag and start is not None:
            spans.append((start, i))
            start = None
    return spans


@pytest.mark.parametrize("kind", KINDS)
def test_generation_blocks_agree_with_transformers(kind: str) -> None:
    template = (
        "{{ bos_token }}{% for m in messages %}<|{{ m['role'] }}|>"
        "{% if m['role'] == 'assistant' %}{% generation %}{{ m['content'] }}{{ eos_token }}"
        "{% endgeneration %}{% else %}{{ m['content'] }}{% endif %}\n{% endfor %}"
        "{% if add_generation_prompt %}<|assistant|>{% endif %}"
    )
    words = tokenizer(kind, ("<|user|>", "<|assistant|>"), template)
    turns = (
        Message("user", "What is two?"), Message("assistant", "It is four."),
        Message("user", "And blue?"), Message("assistant", "The sky."),
    )  # fmt: skip
    true = words.apply_chat_template(
        [{"role": m.role, "content": m.content} for m in turns],
        tokenize=True, return_dict=True, return_assistant_tokens_mask=True,
    )  # fmt: skip
    tokens = made(Example(turns), load_template("tokenizer", words))
    assert list(tokens.ids) == true["input_ids"]
    assert [int(flag) for flag in tokens.trained] == true["assistant_masks"]


def test_an_answer_outside_of_generation_blocks_is_an_error() -> None:
    from ftune.errors import ModelError

    template = (
        "{% for m in messages %}{% generation %}x{% endgeneration %}{{ m['content'] }}{% endfor %}"
    )
    with pytest.raises(ModelError, match="generation"):
        load_template("tokenizer", tokenizer("bytes", template=template))


@pytest.mark.parametrize("train_on", ["assistant", "completion", "all"])
def test_train_on(train_on: Any) -> None:
    _, template = loaded("bytes", ChatFamily("zephyr", ""))
    tokens = made(conversation(), template, Rules(4096, train_on))
    spans = trained_spans(list(tokens.trained))
    if train_on == "all":
        assert spans == [(1, len(tokens.ids))]
    else:
        assert len(spans) == {"assistant": 2, "completion": 1}[train_on]
        assert spans[-1][1] == len(tokens.ids)
    with_all = made(conversation(), template, Rules(4096, "all"))
    assert with_all.ids == tokens.ids  # the mask changes, the ids never do


@pytest.mark.parametrize("name", SHIPPED)
def test_system_prompt_is_put_first_unless_there_is_one(name: str) -> None:
    words = tokenizer("bytes", FILE_MARKS.get(name, ()))
    template = load_template(name, words, "Answer in French.")
    bare = (Message("user", "Two?"), Message("assistant", "Deux."))
    own = (Message("system", "Answer in German."), *bare)
    text = "".join(s.text for s in template.segments(bare))
    assert "Answer in French." in text
    text = "".join(s.text for s in template.segments(own))
    assert "French" not in text
    assert "Answer in German." in text
