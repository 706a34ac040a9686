"""predictions.jsonl: one JSON object a line, written and read a line at a time."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict, fields
from itertools import zip_longest
from pathlib import Path
from typing import Any

from ftune.errors import RunError
from ftune.run import atomic
from ftune.types import Prediction, Ranked

RENAMED = {"text": "prediction"}  # what a field is called in the file
FIELDS = {RENAMED.get(f.name, f.name): f.name for f in fields(Prediction)}


def write(path: Path, predictions: Iterable[Prediction], base: Iterable[Prediction] = ()) -> int:
    """Writes the file, which is there whole or not at all; returns the number of lines.

    ``base`` are the base model's predictions for the same prompts; their text is kept as ``base``.
    """
    count = 0

    def fill(temporary: Path) -> None:
        nonlocal count
        with temporary.open("w", encoding="utf-8", newline="\n") as file:
            for prediction, before in zip_longest(predictions, base):
                file.write(line(prediction, before) + "\n")
                count += 1

    atomic.write(path, fill)
    return count


def line(prediction: Prediction, base: Prediction | None = None) -> str:
    """One line of the file, without its end."""
    value = {RENAMED.get(name, name): given for name, given in asdict(prediction).items()}
    if prediction.loss_sum is None:
        for name in ("loss_sum", "loss_count", "loss_bytes"):
            del value[name]
    for name in ("scores", "choices", "ranked"):
        if not value[name]:
            del value[name]
    if prediction.labels_said is None:
        for name in ("labels_said", "labels_right", "multi_label"):
            del value[name]
    if base is not None:
        value["base"] = base.text
    return json.dumps(value, ensure_ascii=False, allow_nan=False)


def read(path: Path) -> Iterator[Prediction]:
    """The predictions of a file that ``write`` made.

    Raises:
        RunError: the file can't be read, or a line is not a prediction.
    """
    try:
        with path.open(encoding="utf-8", newline="\n") as file:
            for number, text in enumerate(file, 1):
                yield _parse(text, f"{path}:{number}")
    except (OSError, UnicodeDecodeError) as error:
        raise RunError(f"{path}: can't be read ({error}); run ftune eval again") from error


def _parse(text: str, place: str) -> Prediction:
    try:
        given_all = json.loads(text)
        given_all.pop("base", None)
        value: dict[str, Any] = {FIELDS[name]: given for name, given in given_all.items()}
        for name in ("references", "scores", "choices", "labels_right"):
            value[name] = tuple(value.get(name, ()))
        if value.get("labels_said") is not None:
            value["labels_said"] = tuple(value["labels_said"])
        value["ranked"] = tuple(Ranked(**one) for one in value.get("ranked", ()))
        return Prediction(**value)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise RunError(f"{place}: is not a prediction ({error}); run ftune eval again") from error
