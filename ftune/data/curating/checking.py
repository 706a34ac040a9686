"""What is wrong with examples: empty and repeated answers, labels, and rows seen in two sets.

Contamination is told by groups of words: of an evaluation example, the share of its groups that
stand somewhere in the training set too. Thirteen words are the group of Brown et al. 2020 (GPT-3,
appendix C); an example with fewer words is one group.
"""

from __future__ import annotations

import re
from array import array
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Any

from ftune.data.curating.table import answer, key, question
from ftune.types import Example

WORDS = 13
FEW = 64  # different answers up to which they are taken for labels,
OFTEN = 1.5  # if each is given so often in the mean


@dataclass
class Answers:
    """Empty and repeated answers of a set, and how its labels are spread."""

    examples: int = 0
    empty: int = 0
    same_as_question: int = 0
    times: Counter[bytes] = field(default_factory=Counter)
    words: dict[bytes, str] = field(default_factory=dict)

    def add(self, example: Example) -> None:
        """Counts an example."""
        self.examples += 1
        said = answer(example).strip()
        if not said:
            self.empty += 1
            return
        if len(example.messages) > 1 and said == question(example).strip():
            self.same_as_question += 1
        mark = blake2b(said.encode(), digest_size=8).digest()
        self.times[mark] += 1
        if len(self.words) < FEW:
            self.words.setdefault(mark, said)

    def to_plain(self) -> Mapping[str, Any]:
        """Counts, the answers given most often, and the labels where there are few answers."""
        repeated = sum(times - 1 for times in self.times.values())
        found: dict[str, Any] = {
            "examples": self.examples,
            "empty_answers": self.empty,
            "answers_equal_to_the_question": self.same_as_question,
            "different_answers": len(self.times),
            "repeated_answers": repeated,
        }
        given = self.times.total()
        if len(self.times) <= FEW and repeated and given >= OFTEN * len(self.times):
            found["labels"] = {self.words[mark]: times for mark, times in self.times.most_common()}
        return found


@dataclass(frozen=True)
class Seen:
    """An evaluation example and how much of it stands in the training set."""

    source: str
    row: int
    share: float  # of its groups of words
    equal: bool  # question and answer are those of a training example
    same_question: bool
    text: str


class Overlap:
    """Is shown the evaluation set first, then the training set; holds the former's groups only."""

    def __init__(self, words: int = WORDS) -> None:
        self.words = words
        self._rows: list[tuple[str, int, str]] = []
        self._wholes: dict[bytes, bool] = {}
        self._questions: dict[bytes, bool] = {}
        self._keys: list[tuple[bytes, bytes]] = []
        self._groups: dict[int, bool] = {}
        self._of: list[array[int]] = []

    def expect(self, source: str, row: int, example: Example) -> None:
        """An example of the evaluation set."""
        whole, asked = _keys(example)
        self._rows.append((source, row, (question(example) or answer(example))[:200]))
        self._keys.append((whole, asked))
        self._wholes[whole] = self._questions[asked] = False
        found = array("Q", self._hashes(example))
        self._of.append(found)
        for each in found:
            self._groups[each] = False

    def meet(self, example: Example) -> None:
        """An example of the training set."""
        whole, asked = _keys(example)
        if whole in self._wholes:
            self._wholes[whole] = True
        if asked in self._questions:
            self._questions[asked] = True
        for each in self._hashes(example):
            if each in self._groups:
                self._groups[each] = True

    def found(self, least: float) -> list[Seen]:
        """The evaluation examples that are equal, or share ``least`` of their groups."""
        seen = []
        for (source, row, text), (whole, asked), groups in zip(
            self._rows, self._keys, self._of, strict=True
        ):
            share = sum(self._groups[g] for g in groups) / max(1, len(groups))
            equal, same = self._wholes[whole], bool(asked) and self._questions[asked]
            if equal or same or share >= least:
                seen.append(Seen(source, row, share, equal, same, text))
        return sorted(seen, key=lambda one: (-one.equal, -one.same_question, -one.share))

    def _hashes(self, example: Example) -> Iterator[int]:
        words = re.findall(r"\w+", f"{question(example)} {answer(example)}".lower())
        last = max(1, len(words) - self.words + 1) if words else 0
        for start in range(last):
            group = " ".join(words[start : start + self.words]).encode()
            yield int.from_bytes(blake2b(group, digest_size=8).digest())


def _keys(example: Example) -> tuple[bytes, bytes]:
    """What stands for the whole, and for its question; empty where nothing is asked."""
    asked = _plain(question(example))
    whole = key([asked, _plain(answer(example))])
    return whole, key(asked) if asked else b""


def _plain(text: str) -> str:
    """Without differences of case and white space."""
    return " ".join(text.lower().split())


def shares(seen: Iterable[Seen], examples: int) -> Mapping[str, float]:
    """How many of the evaluation examples were found, as counts and as a share."""
    listed = list(seen)
    return {
        "examples": examples,
        "found": len(listed),
        "share": len(listed) / max(1, examples),
        "equal": sum(one.equal for one in listed),
        "same_question": sum(one.same_question and not one.equal for one in listed),
    }
