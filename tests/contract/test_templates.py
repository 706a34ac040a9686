"""What holds for every template: the shipped files and the chat templates of twelve families."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from chat_families import FAMILIES, ChatFamily, tokenizer

from ftune.data import render
from ftune.data.rules import Rules
from ftune.data.template_file import find_template, read_template
from ftune.data.templating import Template, load_template
from ftune.errors import ModelError
from ftune.registry import template_names
from ftune.types import Example, Message, Tokens

KINDS = ("bytes", "pieces")
SHIPPED = [name for name in template_names() if name != "tokenizer"]
FILES = {
    name: read_template(path)
    for name in SHIPPED
    if (path := find_template(name, Path())) is not None
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
            file = FILES[name]
            end = file.assistant.end.replace("{eos}", "</s>")
            family = ChatFamily(name, "", file.marks, end, system=file.system is not None)
            found.append(pytest.param(kind, family, id=f"{kind}-{name}"))
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
    assert ours == true


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


@pytest.mark.parametrize("name", [name for name in SHIPPED if FILES[name].system])
def test_system_prompt_is_put_first_unless_there_is_one(name: str) -> None:
    words = tokenizer("bytes", FILES[name].marks)
    template = load_template(name, words, "Answer in French.")
    bare = (Message("user", "Two?"), Message("assistant", "Deux."))
    own = (Message("system", "Answer in German."), *bare)
    text = "".join(s.text for s in template.segments(bare))
    assert "Answer in French." in text
    text = "".join(s.text for s in template.segments(own))
    assert "French" not in text
    assert "Answer in German." in text


def foreign() -> list[Path]:
    """Real chat templates of many models, as TRL ships them."""
    from importlib.util import find_spec

    spec = find_spec("trl")
    if spec is None or spec.origin is None:
        return []
    return sorted((Path(spec.origin).parent / "chat_templates").glob("*.jinja"))


# The files that ship, the models' own templates of the same shape, and how those write the end.
SAME = [
    ("chatml", "lfm2", ""), ("llama3", "llama3", ""), ("gemma", "gemma", ""),
    ("gemma", "gemma3", ""), ("gemma4", "gemma4_v5", ""), ("phi3", "phi3_5", "</s>"),
    ("cohere", "cohere", ""), ("deepseek", "deepseekv3", ""),
]  # fmt: skip


@pytest.mark.parametrize(("name", "stem", "tail"), SAME, ids=lambda value: value or "-")
def test_shipped_files_write_what_the_models_templates_write(
    name: str, stem: str, tail: str
) -> None:
    """The text of two exchanges, and of a system message where both have a place for one."""
    path = next((p for p in foreign() if p.stem == stem), None)
    if path is None:
        pytest.skip("TRL, with whose chat templates the files are compared, is not installed")
    words = tokenizer("bytes", FILES[name].marks, path.read_text("utf-8"))
    template = load_template(name, words)
    system = FILES[name].system is not None
    turns = [Message("system", "Be brief.")] if system else []
    turns += [Message("user", "Name it."), Message("assistant", "Blue.")]
    turns += [Message("user", "What is two?"), Message("assistant", "Four.")]
    sent = [{"role": m.role, "content": m.content} for m in turns]
    theirs = words.apply_chat_template(sent, tokenize=False)
    theirs = theirs.removeprefix("<s>").removesuffix(tail).removesuffix("\n")  # ours ends there
    theirs = theirs.replace("<｜end▁of▁sentence｜>", "</s>")  # DeepSeek's own end mark
    assert "".join(s.text for s in template.segments(tuple(turns))).removeprefix("<s>") == theirs


# What is refused, and why: it can't be trained on text with what the template is told.
REFUSED = {
    "gptoss": "asks for the date", "idefics3": "once and in order",
    "llava_next": "has no attribute", "smolvlm": "once and in order",
}  # fmt: skip
OWN_DATE = {"llama3_2", "muse_glimmer"}  # write today's date for transformers, and their own here


@pytest.mark.parametrize("path", foreign() or [None], ids=lambda p: p.stem if p else "none")
def test_real_chat_templates(path: Path | None) -> None:
    """Ids as ``apply_chat_template`` gives them; the answers trained and nothing of the prompt."""
    if path is None:
        pytest.skip("TRL, whose chat templates are tried here, is not installed")
    name = path.stem.removesuffix("_training")
    source = path.read_text("utf-8")
    marks = set(
        re.findall(r"<[|｜][^<>|｜\s']{2,40}[|｜]>|</?think>|<(?:start|end)_of_turn>", source)
    )
    words = tokenizer("bytes", tuple(sorted(marks)), source)
    if name in REFUSED:
        with pytest.raises(ModelError, match=REFUSED[name]):
            load_template("tokenizer", words)
        return
    template = load_template("tokenizer", words)
    turns = (
        Message("user", "Name the colour."), Message("assistant", "The sky is blue."),
        Message("user", "What is two?"), Message("assistant", "It is four."),
    )  # fmt: skip
    tokens = made(Example(turns), template)
    ids, trained = list(tokens.ids), list(tokens.trained)
    spans = trained_spans(trained)
    for (start, stop), answer in zip(spans, ("The sky is blue.", "It is four."), strict=True):
        assert answer in words.decode(ids[start:stop])
    if name in OWN_DATE:
        assert any("date" in warning for warning in template.warnings)
        return
    sent = [{"role": m.role, "content": m.content} for m in turns]
    blocks = re.search(r"{%-?\s*generation", source) is not None
    true = words.apply_chat_template(
        sent, tokenize=True, return_dict=True, return_assistant_tokens_mask=blocks
    )
    if template.encoder.opening and true["input_ids"][0] != words.bos_token_id:
        ids, trained = ids[1:], trained[1:]
    if any("no end mark" in warning for warning in template.warnings):
        ids, trained = ids[:-1], trained[:-1]
    assert ids == true["input_ids"]
    asked = render.prompt(Example(turns), template, RULES)
    assert not isinstance(asked, render.Dropped)
    told = any("opens an answer otherwise" in warning for warning in template.warnings)
    opened = words.apply_chat_template(sent[:-1], tokenize=False, add_generation_prompt=True)
    assert (asked.text == opened) is not told
    if blocks:  # theirs may hold the opening of an answer besides, which ours never does
        masks = true["assistant_masks"]
        assert all(theirs >= flag for theirs, flag in zip(masks, trained, strict=True))
        extra = [i for i, flag in enumerate(trained) if masks[i] and not flag]
        ends = {stop for _, stop in trained_spans(trained)}
        assert ends.isdisjoint(extra)
