"""The serving contract: the same prompts as in training, or a refusal that says what differs."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import pytest

from ftune.data.template_file import FOLDER
from ftune.data.templating import load_template
from ftune.data.tokenizer_identity import identity
from ftune.errors import ModelError
from ftune.model.loading import load_tokenizer
from ftune.recipe.base import Chosen
from ftune.recipe.schema import Model
from ftune.run.progress import Silent
from ftune.run.stage import Place
from ftune.stages import prompting
from ftune.types import Example, Message


class Warned(Silent):
    def __init__(self) -> None:
        self.lines: list[str] = []

    def warn(self, line: str) -> None:
        self.lines.append(line)


@pytest.fixture(scope="module")
def tokenizer():
    return load_tokenizer(Model(name_or_path="ftune:tiny"))


def said(*turns: tuple[str, str]) -> Example:
    return Example(tuple(Message(role, content) for role, content in turns))


EXAMPLES = [
    said(("user", "one"), ("assistant", "1")),
    said(("user", "two"), ("assistant", "2")),
    said(("user", "one"), ("assistant", "1")),
    said(("system", "be brief"), ("user", "three"), ("assistant", "3")),
    said(("user", "four"), ("assistant", "4")),
]


def asked():
    questions = prompting.Questions()
    for example in EXAMPLES:
        questions.add(example)
    return questions.chosen()


def test_questions_differ_and_every_shape_is_among_them():
    assert [[m.content for m in q] for q in asked()] == [["one"], ["be brief", "three"], ["two"]]
    questions = prompting.Questions()
    questions.add(said(("text", "x" * 9000)))
    [[message]] = questions.chosen()
    assert (message.role, len(message.content)) == ("user", prompting.LONGEST)


def recipe(template: str = "tokenizer", system_prompt: str | None = None):
    return SimpleNamespace(
        data=SimpleNamespace(template=template, system_prompt=system_prompt),
        train=SimpleNamespace(objective=Chosen("sft", None)),
    )


def write(folder: Path, tokenizer, template: str = "tokenizer", system_prompt=None) -> None:
    loaded = load_template(template, tokenizer, system_prompt, folder)
    told = prompting.contract(loaded, system_prompt, tokenizer, asked())
    (folder / prompting.NAME).write_text(json.dumps(told), encoding="utf-8")


def check(folder: Path, tokenizer, *changes) -> list[str]:
    progress = Warned()
    prompting.check(folder, recipe(*changes), tokenizer, Place(folder), progress)
    return progress.lines


def test_what_is_stored(tmp_path, tokenizer):
    write(tmp_path, tokenizer)
    told = json.loads((tmp_path / prompting.NAME).read_text())
    assert told["stop"] and told["stop_ids"] and told["system_prompt"] is None
    first = told["prompts"][0]
    assert first["messages"] == [{"role": "user", "content": "one"}]
    # Written by the tokenizer itself, which knows nothing of ftune.
    ours = tokenizer.apply_chat_template(first["messages"], add_generation_prompt=True)
    assert first["ids"] == list(ours["input_ids"] if hasattr(ours, "keys") else ours)


def test_the_same_passes_without_a_word(tmp_path, tokenizer):
    for template, system in (("tokenizer", None), ("alpaca", "be kind"), ("chatml", None)):
        write(tmp_path, tokenizer, template, system)
        assert check(tmp_path, tokenizer, template, system) == []


def test_another_template_or_system_prompt_is_refused(tmp_path, tokenizer):
    write(tmp_path, tokenizer)
    with pytest.raises(ModelError, match=r"data\.template was tokenizer and is alpaca: set it"):
        check(tmp_path, tokenizer, "alpaca")
    with pytest.raises(ModelError, match=r"system_prompt was None and is 'x'.*prompt 1 .* other"):
        check(tmp_path, tokenizer, "tokenizer", "x")


def test_an_edited_template_file_is_refused_and_a_comment_is_not(tmp_path, tokenizer):
    file = tmp_path / "own.yaml"
    text = (FOLDER / "alpaca.yaml").read_text(encoding="utf-8")
    file.write_text(text, encoding="utf-8")
    write(tmp_path, tokenizer, "own.yaml")
    file.write_text(f"# a word\n{text}", encoding="utf-8")
    assert check(tmp_path, tokenizer, "own.yaml") == []
    file.write_text(text.replace("Response", "Answer"), encoding="utf-8")
    with pytest.raises(ModelError, match=r"template own\.yaml was changed since.*prompt 1"):
        check(tmp_path, tokenizer, "own.yaml")


def test_another_tokenizer_is_named(tmp_path, tokenizer):
    write(tmp_path, tokenizer)
    more = load_tokenizer(Model(name_or_path="ftune:tiny", add_tokens=("<|new|>",)))
    [line] = check(tmp_path, more)  # the same ids all the same
    assert "vocabulary changed" in line


def test_a_changed_id_is_refused(tmp_path, tokenizer):
    write(tmp_path, tokenizer)
    file = tmp_path / prompting.NAME
    told = json.loads(file.read_text())
    told["prompts"][1]["ids"][3] += 1
    file.write_text(json.dumps(told))
    with pytest.raises(ModelError, match=r"prompt 2 of prompting\.json has other ids from token 3"):
        check(tmp_path, tokenizer)


def test_an_adapter_of_others_is_told(tmp_path, tokenizer):
    [line] = check(tmp_path, tokenizer)
    assert "was not saved by ftune" in line


def test_a_saved_copy_is_the_same_tokenizer(tmp_path, tokenizer):
    from transformers import AutoTokenizer

    tokenizer.save_pretrained(str(tmp_path))
    assert identity(AutoTokenizer.from_pretrained(str(tmp_path))) == identity(tokenizer)
