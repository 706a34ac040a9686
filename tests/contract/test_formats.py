"""Every row format: what it makes of a right row, and what it says of a wrong one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ftune.errors import DataError
from ftune.registry import FORMATS
from ftune.types import ROLES, Example, Message

RIGHT: dict[str, list[dict[str, Any]]] = {
    "alpaca": [
        {"instruction": "Add.", "input": "1 2", "output": "3"},
        {"instruction": "Hi", "output": "Hello"},
        {"instruction": "Hi", "input": None, "output": "Hello", "history": [["a", "b"]]},
    ],
    "messages": [
        {"messages": [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}]},
        {"messages": [
            {"role": "developer", "content": "be kind"}, {"role": "user", "content": "q"},
            {"role": "assistant", "content": "call"}, {"role": "tool", "content": ""},
            {"role": "assistant", "content": "a"},
        ]},
    ],
    "sharegpt": [
        {"conversations": [{"from": "human", "value": "q"}, {"from": "gpt", "value": "a"}]},
        {"system": "s", "conversations": [
            {"from": "human", "value": "q"}, {"from": "function_call", "value": "f"},
            {"from": "observation", "value": "o"}, {"from": "gpt", "value": "a"},
        ]},
    ],
    "prompt_completion": [
        {"prompt": "q", "completion": "a"},
        {"prompt": [{"role": "user", "content": "q"}],
         "completion": [{"role": "assistant", "content": "a"}]},
    ],
    "text": [{"text": "Once upon a time"}],
    "prompts": [{"q": "a", "a": "b"}],
    "labelled": [{"text": "a", "label": "x"}, {"text": "a", "label": 1},
                 {"text": "a", "label": 0.5}, {"text": "a", "label": ["x", "y"]}],
    "tagged": [{"tokens": ["a", "b"], "tags": ["O", "B-X"]}, {"tokens": ["a"], "tags": [0]}],
    "choices": [{"context": "a", "choices": ["b", "c"], "label": 0},
                {"context": "a", "choices": ["b", "c"], "label": "c"}],
    "squad": [{"question": "q", "context": "a b", "answers": {"text": ["b"], "answer_start": [2]}},
              {"question": "q", "context": "a b", "answers": [{"text": "a", "answer_start": 0}]},
              {"question": "q", "context": "a b", "answers": {"text": [], "answer_start": []}}],
}  # fmt: skip

# What a format can't do without, where that is something.
NEEDED = {"prompts": {"input": "{{q}}", "target": "{{a}}"}}
U, A = {"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}
WRONG: list[tuple[str, dict[str, Any], str]] = [
    ("alpaca", {"instruction": "x", "answer": "y"}, r"no column 'output'; the columns are: "
     r"'instruction', 'answer'; name the right one in the recipe, columns: \{output: NAME\}"),
    ("prompts", {"q": "x"}, "'a' is undefined; the columns are: 'q'"),
    ("alpaca", {"instruction": 5, "output": "y"}, "'instruction' is a number and must be text"),
    ("alpaca", {"instruction": "x", "input": ["y"], "output": "y"}, "'input' is a list"),
    ("alpaca", {"instruction": "x", "output": "  \n"}, "'output' is empty"),
    ("alpaca", {"instruction": "x", "output": None}, "'output' is null"),
    ("alpaca", {"instruction": "x", "output": "y", "history": "z"}, "'history' is text"),
    ("alpaca", {"instruction": "x", "output": "y", "history": [["z"]]}, "entry 1"),
    ("labelled", {"text": "x"}, r"no column 'label'.*columns: \{label: NAME\}"),
    ("labelled", {"text": "x", "label": None}, "'label' is null and must be a label"),
    ("labelled", {"text": "x", "label": " "}, "'label' is empty"),
    ("labelled", {"text": "", "label": "x"}, "'text' is empty"),
    ("tagged", {"tokens": ["a", "b"], "tags": ["O"]}, "2 words and 'tags' has 1 tags"),
    ("tagged", {"tokens": ["a", ""], "tags": ["O", "O"]}, "word 2 is ''"),
    ("tagged", {"tokens": ["a"], "tags": [0.5]}, "tag 1 is 0.5"),
    ("tagged", {"tokens": "a b", "tags": ["O"]}, "'tokens' is text and must be a list"),
    ("choices", {"context": "a", "choices": ["b"], "label": 0}, "at least two texts"),
    ("choices", {"context": "a", "choices": ["b", "c"], "label": 2}, "'label' is 2 and must be"),
    ("squad", {"question": "q", "context": "a b", "answers": None}, "'answers' is null"),
    ("squad", {"question": "q", "context": "a b", "answers": {"text": ["b"]}}, "of one length"),
    ("squad", {"question": "q", "context": "a b", "answers": {"text": ["b"], "answer_start": [0]}},
     "'b' does not stand at character 0"),
    ("messages", {"messages": []}, "is an empty list"),
    ("messages", {"messages": "hello"}, "'messages' is text and must be a list"),
    ("messages", {"messages": ["hello"]}, "turn 1 is text and must be an object"),
    ("messages", {"messages": [U]}, "no assistant turn"),
    ("messages", {"messages": [U, A, U]}, "ends with a user turn"),
    ("messages", {"messages": [U, U, A]}, "turns 1 and 2 are both the user's"),
    ("messages", {"messages": [A]}, r"turn 1 \(assistant\) answers nobody"),
    ("messages", {"messages": [U, A, A]}, r"turn 3 \(assistant\) follows another one"),
    ("messages", {"messages": [U, {"role": "system", "content": "s"}, A]}, "must be the first"),
    ("messages", {"messages": [U, {"role": "bot", "content": "s"}]}, "'bot' is not a role; the"),
    ("messages", {"messages": [U, {"role": None, "content": "s"}]}, "None is not a role"),
    ("messages", {"messages": [U, {"role": "assistant"}]}, "turn 2 has no 'content'"),
    ("messages", {"messages": [U, {"role": "assistant", "content": None}]}, "is null"),
    ("messages", {"messages": [U, {"role": "assistant", "content": " "}]}, "is empty"),
    ("messages", {"messages": [{"role": "user", "content": [{"type": "text"}]}, A]}, "join its"),
    ("sharegpt", {"conversations": [{"from": "human", "value": "q"}]}, "no assistant turn"),
    ("sharegpt", {"conversations": [{"from": "me", "value": "q"}]}, "'me' is not a role"),
    ("sharegpt", {"turns": []}, "no column 'conversations'"),
    ("prompt_completion", {"prompt": "q", "completion": [A]}, "make both the same"),
    ("prompt_completion", {"prompt": "q", "completion": ""}, "'completion' is empty"),
    ("prompt_completion", {"prompt": 1, "completion": "x"}, "'prompt' is a number"),
    ("text", {"text": ""}, "'text' is empty"),
    ("text", {"text": 3.5}, "'text' is a number"),
    ("text", {}, "no column 'text'; the columns are: none"),
]  # fmt: skip


def example(form: str, row: dict[str, Any], **columns: Any) -> Example:
    module = FORMATS.load(form)
    columns = columns or NEEDED.get(form, {})
    found: Example = module.example(row, module.Config(**columns))
    return found


def test_every_format_is_tried_here() -> None:
    assert set(RIGHT) == set(FORMATS.names())
    assert {form for form, _, _ in WRONG} == set(RIGHT)


@pytest.mark.parametrize(("form", "row"), [(f, r) for f, rows in RIGHT.items() for r in rows])
def test_a_right_row(form: str, row: dict[str, Any]) -> None:
    found = example(form, row)
    if isinstance(found, Example):
        assert all(m.role in (*ROLES, "text") for m in found.messages)
        assert found.messages[-1].role in {"assistant", "text"}
    else:
        assert all(found.texts)
    hash(found)  # frozen through and through


@pytest.mark.parametrize(("form", "row", "said"), WRONG)
def test_a_wrong_row(form: str, row: dict[str, Any], said: str) -> None:
    with pytest.raises(DataError, match=said):
        example(form, row)


def test_alpaca_input_is_context() -> None:
    found = example("alpaca", RIGHT["alpaca"][0])
    assert found.messages == (Message("user", "Add.", "1 2"), Message("assistant", "3"))
    assert example("alpaca", {"instruction": "x", "input": " ", "output": "y"}).messages[0] == (
        Message("user", "x")
    )


def test_columns_and_references() -> None:
    row = {"q": "two?", "a": "2", "more": ["two", "II"]}
    found = example("prompt_completion", row, prompt="q", completion="a", references="more")
    assert found == Example((Message("user", "two?"), Message("assistant", "2")), ("two", "II"))
    with pytest.raises(DataError, match="must be a list of texts"):
        example("prompt_completion", {**row, "more": "two"}, prompt="q", completion="a",
                references="more")  # fmt: skip


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["role", "content", "from", "value", "x"]), inner, max_size=3
        )
    ),
    max_leaves=8,
)
COLUMNS = ["instruction", "input", "output", "messages", "conversations", "prompt", "completion",
           "text", "system", "history", "label", "tokens", "tags", "context", "choices",
           "question", "answers"]  # fmt: skip


@given(row=st.dictionaries(st.sampled_from(COLUMNS), values), form=st.sampled_from(FORMATS.names()))
def test_any_row_gives_an_example_or_a_data_error(row: dict[str, Any], form: str) -> None:
    try:
        found = example(form, row)
    except DataError as error:
        assert str(error)
    else:
        assert all(isinstance(text, str) for text in found.texts)


REAL = [
    ("llamafactory-demo/alpaca_en_demo.json", "alpaca", {}, 999),
    ("llamafactory-demo/identity.json", "alpaca", {}, 91),
    ("llamafactory-demo/glaive_toolcall_en_demo.json", "sharegpt", {}, 300),
    ("llamafactory-demo/c4_demo.jsonl", "text", {}, 300),
    ("llamafactory-demo/wiki_demo.txt", "text", {}, 30),
    ("gsm8k/test.jsonl", "prompt_completion", {"prompt": "question", "completion": "answer"}, 1319),
    ("e2e/devset.csv", "prompt_completion", {"prompt": "mr", "completion": "ref"}, 4672),
    ("e2e/testset_w_refs.csv", "prompt_completion", {"prompt": "mr", "completion": "ref"}, 4693),
    ("imdb/test_2k.jsonl.gz", "text", {}, 2000),
    ("hf-fixtures/tests_samples/xsum/sample.json", "prompt_completion",
     {"prompt": "document", "completion": "summary"}, 10),
    ("sst2/dev.tsv", "text", {"text": "sentence"}, 6735),
    ("sst2/dev.tsv", "labelled", {"text": "sentence"}, 6735),
    ("imdb/test_2k.jsonl.gz", "labelled", {}, 2000),
]  # fmt: skip


@pytest.mark.parametrize(("path", "form", "columns", "count"), REAL, ids=[r[0] for r in REAL])
def test_real_files(
    shared: Path, path: str, form: str, columns: dict[str, str], count: int
) -> None:
    from types import SimpleNamespace

    from ftune.data.sources import read_rows

    source = SimpleNamespace(path=path, split="train", subset=None, revision=None, max_rows=None)
    found = list(read_rows(source, shared / "data"))
    assert [r.problem for r in found if r.problem] == []
    assert len(found) == count
    for row in found:
        example(form, dict(row.value), **columns)


def test_the_alpaca_file_equals_what_json_reads(shared: Path) -> None:
    path = shared / "data" / "llamafactory-demo" / "alpaca_en_demo.json"
    from ftune.data.reading_json import rows

    assert [dict(r.value) for r in rows(path, "x")] == json.loads(path.read_text("utf-8"))
