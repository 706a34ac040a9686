"""The labels that there are, in their order, and the numbers that stand for them."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence

from ftune.errors import DataError

NUMBER = re.compile(r"-?[0-9]+(\.[0-9]+)?")
MOST = 1000  # labels; more are a column of something else


def found(names: Iterable[str], wanted: Sequence[str] = ()) -> dict[str, int]:
    """How often each label is there, in order: as ``wanted``, else numbers by size, texts by name.

    Raises:
        DataError: there are none, or too many; or one that isn't wanted.
    """
    counts = Counter(names)
    if not counts:
        raise DataError("data.train: there is no label in any row; check the column of labels")
    if wanted:
        other = sorted(set(counts) - set(wanted))
        if other:
            raise DataError(
                f"train.objective: labels lists {', '.join(wanted)}, and the training rows have "
                f"{', '.join(map(repr, other[:5]))} besides; add them, or correct the rows"
            )
        return {name: counts[name] for name in wanted}
    if len(counts) > MOST:
        raise DataError(
            f"data.train: its rows have {len(counts):,} different labels, and at most {MOST:,} can "
            "be told apart; is it the right column? (for a number that is to be learned take "
            "train.objective: regression)"
        )
    number = all(NUMBER.fullmatch(name) for name in counts)
    ordered = sorted(counts, key=lambda name: (float(name), name)) if number else sorted(counts)
    return {name: counts[name] for name in ordered}


def index(label: str, known: Sequence[str]) -> int:
    """The label's number.

    Raises:
        DataError: no training row has it.
    """
    try:
        return list(known).index(label)
    except ValueError:
        shown = ", ".join(known[:10]) + (" and more" if len(known) > 10 else "")
        raise DataError(
            f"its label {label!r} is in no training row (there are: {shown}); correct it, or list "
            "it in train.objective's labels"
        ) from None
