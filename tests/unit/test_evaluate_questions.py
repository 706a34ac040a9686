from __future__ import annotations

from pathlib import Path

import pytest

from ftune.errors import DataError
from ftune.evaluate.questions import Question, read_questions
from ftune.types import Message


def write(tmp_path: Path, name: str, data: bytes) -> Path:
    path = tmp_path / name
    path.write_bytes(data)
    return path


def test_json_lines(tmp_path: Path) -> None:
    data = (
        b'\xef\xbb\xbf{"prompt": "How? \\u2028", "id": 5}\r\n\n'
        b'{"messages": [{"role": "system", "content": "Be kind."}, '
        b'{"role": "user", "content": "G\xc3\xbcn?"}]}'
    )
    path = write(tmp_path, "asked.jsonl", data)
    assert list(read_questions(path)) == [
        Question((Message("user", "How? \u2028"),), str(path), 1),
        Question((Message("system", "Be kind."), Message("user", "Gün?")), str(path), 3),
    ]


def test_text(tmp_path: Path) -> None:
    path = write(tmp_path, "asked.txt", "one\u2028still one\r\n \n{two\n".encode())
    found = list(read_questions(path))
    assert [(q.messages[0].content, q.row) for q in found] == [
        ("one\u2028still one", 1),
        ("{two", 3),
    ]


def test_who_is_asked(tmp_path: Path) -> None:
    data = b'{"prompt": "a", "adapter": "sums"}\n{"prompt": "b"}'
    found = read_questions(write(tmp_path, "asked.jsonl", data))
    assert [q.adapter for q in found] == ["sums", ""]


GOOD = b'{"prompt": "fine"}\n'


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (b"{", "is not JSON"),
        (b"[" * 100_000, "is not JSON"),
        (b'"text"', "either prompt or messages"),
        (b"null", "either prompt or messages"),
        (b'{"promt": "x"}', "either prompt or messages"),
        (b'{"prompt": "x", "messages": []}', "either prompt or messages"),
        (b'{"prompt": ""}', "prompt has no text"),
        (b'{"prompt": 5}', "prompt has no text"),
        (b'{"prompt": "x", "adapter": 1}', "adapter is no name"),
        (b'{"prompt": "x", "adapter": ""}', "adapter is no name"),
        (b'{"messages": []}', "messages is not a list"),
        (b'{"messages": ["x"]}', r"messages\[0\] is not an object"),
        (b'{"messages": [{"role": "bot", "content": "x"}]}', "has the role 'bot'"),
        (b'{"messages": [{"role": "assistant", "content": "x"}]}', "end with a question"),
        (b'{"prompt": "\\ud800"}', "surrogate"),
        (b'{"prompt": "\xff"}', "is not UTF-8"),
        (b'{"prompt": "\0"}', "NUL"),
    ],
)
def test_a_bad_line_is_named(tmp_path: Path, line: bytes, said: str) -> None:
    path = write(tmp_path, "asked.jsonl", GOOD + line + b"\n")
    with pytest.raises(DataError, match=rf"asked\.jsonl:2: .*{said}"):
        list(read_questions(path))


@pytest.mark.parametrize(
    ("name", "said"), [("a.csv", "neither"), ("a.txt", "holds no question"), ("b.txt", "can't be")]
)
def test_a_bad_file(tmp_path: Path, name: str, said: str) -> None:
    if name.startswith("a"):
        write(tmp_path, name, b"\n \n")
    with pytest.raises(DataError, match=said):
        list(read_questions(tmp_path / name))
