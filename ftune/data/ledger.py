"""The token ledger: what became of every row and token of every source.

Rows read = used + bad + not drawn + held out + dropped; ``Ledger.balance`` asserts it.
"""

from __future__ import annotations

from array import array
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ftune.errors import DataError
from ftune.types import Example, Tokens

MOST_LISTED = 100  # bad rows named one by one, a source
MOST_NOTED = 2**16 - 1  # what fits into two bytes

COUNTS = (
    "read",
    "used",
    "bad",
    "not_drawn",
    "held_out",
    "examples",
    "tokens",
    "trained",
    "masked",
    "truncated",
)


@dataclass(slots=True)
class SourceCounts:
    """The counts of one source. ``examples`` counts a row as often as it is repeated."""

    source: str
    read: int = 0
    used: int = 0
    bad: int = 0
    not_drawn: int = 0  # by a weight below 1, or by a mixture
    held_out: int = 0  # went to the eval or test rows
    examples: int = 0
    tokens: int = 0
    trained: int = 0
    truncated: int = 0
    dropped: dict[str, int] = field(default_factory=dict)  # by reason
    bad_rows: list[str] = field(default_factory=list)  # file:row: why
    shares: dict[str, float] = field(default_factory=dict)  # of a mixture, in percent
    templates: dict[str, int] = field(default_factory=dict)  # used rows that each one wrote
    shots: int = 0  # demonstrations before the used rows
    shots_cut: int = 0  # of them, taken out again since a row was too long
    # Of each used row: its template, demonstrations, and those that were cut.
    _noted: tuple[array[int], ...] = field(default_factory=lambda: tuple(array("H") for _ in "tsc"))

    @property
    def masked(self) -> int:
        """Tokens that are not trained."""
        return self.tokens - self.trained

    def bad_row(self, said: str) -> None:
        """Counts a bad row, and lists the first ones."""
        self.bad += 1
        if len(self.bad_rows) < MOST_LISTED:
            self.bad_rows.append(said)

    def drop(self, reason: str) -> None:
        """Counts a row that is not used for a reason of the rules."""
        self.dropped[reason] = self.dropped.get(reason, 0) + 1

    def use(self, tokens: Tokens, times: int = 1, example: Any = None) -> None:
        """Counts a row that is used ``times`` times; ``example`` is what it said."""
        if isinstance(example, Example):
            self._note(example, tokens, times)
        self.used += 1
        self.examples += times
        self.tokens += times * len(tokens.ids)
        self.trained += times * sum(tokens.trained)
        self.truncated += times * tokens.truncated

    def _note(self, example: Example, tokens: Tokens, times: int) -> None:
        shown, cut, number = example.shots, tokens.shots_cut, 0
        if example.template:
            self.templates[example.template] = self.templates.get(example.template, 0) + times
            number = list(self.templates).index(example.template) + 1
        self.shots += times * shown
        self.shots_cut += times * cut
        for noted, value in zip(self._noted, (number, shown, cut), strict=True):
            noted.append(min(value, MOST_NOTED))

    def redraw(
        self, drawn: Mapping[str, int], shares: Mapping[str, float], times: Sequence[int]
    ) -> None:
        """Counts anew those of the used rows that a mixture draws; the others were not drawn.

        ``times`` says how often each used row is drawn.
        """
        if self._noted[0]:
            templates = dict.fromkeys(self.templates, 0)
            names, self.shots, self.shots_cut = list(templates), 0, 0
            for count, number, shown, cut in zip(times, *self._noted, strict=True):
                self.shots += int(count) * shown
                self.shots_cut += int(count) * cut
                if number:
                    templates[names[number - 1]] += int(count)
            self.templates = templates
        self.not_drawn += self.used - drawn["used"]
        for name, count in drawn.items():
            setattr(self, name, count)
        self.shares = dict(shares)

    def add(self, other: SourceCounts) -> None:
        """Adds the counts of another part of the same source."""
        for name in COUNTS:
            if name != "masked":
                setattr(self, name, getattr(self, name) + getattr(other, name))
        for reason, count in other.dropped.items():
            self.dropped[reason] = self.dropped.get(reason, 0) + count
        for name, count in other.templates.items():
            self.templates[name] = self.templates.get(name, 0) + count
        self.shots += other.shots
        self.shots_cut += other.shots_cut
        self.bad_rows = (self.bad_rows + other.bad_rows)[:MOST_LISTED]

    def to_json(self) -> dict[str, Any]:
        """All counts, the shares of a mixture, and bad rows if there are any."""
        counts = {name: getattr(self, name) for name in COUNTS}
        listed = {"bad_rows": list(self.bad_rows)} if self.bad_rows else {}
        shares = {name: round(share, 6) for name, share in self.shares.items()}
        how: dict[str, Any] = {"templates": dict(self.templates)} if self.templates else {}
        if self.shots:
            how |= {"shots": self.shots, "shots_cut": self.shots_cut}
        dropped = {"dropped": dict(self.dropped)}
        return {"source": self.source, **counts, **shares, **how, **dropped, **listed}


class Ledger:
    """The counts of several sources."""

    def __init__(self, sources: Sequence[str]) -> None:
        self.sources = [SourceCounts(source) for source in sources]

    def __getitem__(self, index: int) -> SourceCounts:
        return self.sources[index]

    @property
    def total(self) -> SourceCounts:
        """All sources together."""
        total = SourceCounts("total")
        for one in self.sources:
            total.add(one)
        return total

    def balance(self) -> None:
        """Asserts that no row vanished uncounted."""
        for one in self.sources:
            gone = one.bad + one.not_drawn + one.held_out + sum(one.dropped.values())
            if one.read != one.used + gone:
                raise AssertionError(f"{one.source}: {one.read} rows read, {one.used + gone} told")

    def check(self, min_trained: float) -> None:
        """Stops where nothing, or too small a share of the tokens, is trained.

        Raises:
            DataError: says what it may come from.
        """
        total = self.total
        if not total.examples:
            reasons = {**total.dropped, "bad rows": total.bad, "not drawn": total.not_drawn}
            reasons["held out"] = total.held_out
            said = ", ".join(f"{n} {reason}" for reason, n in reasons.items() if n)
            raise DataError(f"none of the {total.read} rows is left ({said}); check the data")
        share = total.trained / max(1, total.tokens)
        if total.trained and share >= min_trained:
            return
        what = f"only {share:.2%} of {total.tokens} tokens are" if total.trained else "no token is"
        raise DataError(
            f"{what} trained, and data.min_trained asks for {min_trained:.2%}; is the format's "
            "answer column the right one, does the template suit the data, and is the prompt not "
            "far longer than the answer (data.train_on: all would train it too)? preview.md shows "
            "what is trained"
        )

    def to_json(self) -> list[dict[str, Any]]:
        """One mapping of counts a source."""
        return [one.to_json() for one in self.sources]
