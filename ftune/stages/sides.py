"""Two sides of a comparison: the answers of a run, or of a file of JSON lines."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ftune.errors import DataError, RunError

TEXTS = ("prediction", "text", "answer", "output", "completion", "response")
ASKED = ("prompt", "question", "instruction")  # words, which several rows may have in common
KEYS = ("question_id", *ASKED, "row")


@dataclass(frozen=True)
class Answered:
    """The answers of one side, by what the questions are known by."""

    name: str
    texts: Mapping[str, str]
    questions: Mapping[str, str]


def answers(path: str, name: str | None = None) -> Answered:
    """The answers in a run (``RUN`` tuned, ``RUN:base`` before) or in a file of JSON lines.

    Raises:
        DataError: there are none, or a line lacks what it must have.
    """
    base = path.endswith(":base")
    place = Path(path.removesuffix(":base"))
    file = place / "evaluate/predictions.jsonl" if place.is_dir() else place
    if not file.is_file():
        raise RunError(f"{file}: there are no answers; name a run that was evaluated, or a file")
    texts: dict[str, str] = {}
    questions: dict[str, str] = {}
    times: Counter[str] = Counter()
    for number, line in lines(file):
        text = line.get("base") if base else next((line[k] for k in TEXTS if k in line), None)
        by = next((k for k in KEYS if k in line), None)
        if not isinstance(text, str) or by is None:
            raise DataError(
                f"{file}:{number}: needs an answer ({'base' if base else ', '.join(TEXTS)}) and "
                f"what was asked ({', '.join(KEYS)})"
            )
        key = str(line[by])
        if key in texts and by not in ASKED:
            raise DataError(f"{file}:{number}: {by} {key} is answered twice; leave one answer out")
        # The same question asked of several rows: their answers are judged in the rows' order.
        times[key] += 1
        key = f"{key} ({times[key]})" if times[key] > 1 else key
        texts[key] = text
        questions[key] = str(next((line[k] for k in ASKED if k in line), ""))
    return Answered(name or path, texts, questions)


def with_questions(found: Answered, path: Path) -> Answered:
    """The same with the questions of another file of JSON lines (question_id, text)."""
    asked: dict[str, str] = {}
    for number, line in lines(path):
        key = next((line[k] for k in KEYS if k in line), None)
        text = next((line[k] for k in ("question", "prompt", "text") if k in line), None)
        if key is None or not isinstance(text, str):
            raise DataError(f"{path}:{number}: needs question_id and text")
        asked[str(key)] = text
    return Answered(found.name, found.texts, {key: asked.get(key, "") for key in found.texts})


def common(a: Answered, b: Answered) -> list[str]:
    """What both sides answer, in the order of the first.

    Raises:
        DataError: one answers what the other doesn't, or a question is missing.
    """
    if set(a.texts) != set(b.texts):
        only = len(set(a.texts) ^ set(b.texts))
        raise DataError(
            f"{a.name} and {b.name}: {only} questions are answered by one of them only; "
            "judge answers to the same questions"
        )
    blank = sum(not a.questions[key].strip() for key in a.texts)
    if blank:
        raise DataError(
            f"{a.name}: {blank} questions are not in the file; name one that has them with "
            "--questions"
        )
    return list(a.texts)


def lines(path: Path) -> Iterator[tuple[int, Mapping[str, Any]]]:
    """The objects of a file of JSON lines with their numbers; empty lines are passed over.

    Raises:
        DataError: it can't be read, or a line is none.
    """
    number = 0
    try:
        with path.open(encoding="utf-8-sig") as file:
            for number, text in enumerate(file, 1):
                if not text.strip():
                    continue
                line = json.loads(text)
                if not isinstance(line, dict):
                    raise DataError(f"{path}:{number}: is not a JSON object")
                yield number, line
    except OSError as error:
        raise DataError(f"{path}: can't be read ({error.strerror or error})") from error
    except ValueError as error:
        raise DataError(f"{path}:{number}: can't be read as JSON lines ({error})") from error
