"""A stream on disk, a buffer of rows at a time: written as the training comes to them.

Shard 0 is what the stage format wrote. Beside each stands a record of where the stream was behind
it, what was counted, and the sha256 of its file. A shard that is needed again and no longer there
is made again from the record before it, and must be the same.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ftune.data.ledger import Ledger
from ftune.data.store import TokenStore, TokenWriter
from ftune.data.streaming import Lane, Stream, plain, read_place
from ftune.errors import RunError
from ftune.run import atomic

RECORD = "stream.json"  # beside shard 0
KEPT = 2  # shards: the one in use, and the one before, which a checkpoint may stand in


def write_record(path: Path, shard: Path, stream: Stream, ledger: Ledger) -> None:
    """Notes what a shard is and where the stream is behind it."""
    told = {
        "sha256": atomic.sha256(shard),
        "place": plain(stream.place),
        "ledger": ledger.to_json(),
    }
    atomic.write_json(path, told)


@dataclass
class Shards:
    """The shards of one training.

    ``opened(place)`` gives the stream from a place on, ``ledger()`` an empty ledger, and
    ``between(rows)`` is called between rows: it may raise, and then nothing is left of the shard.
    """

    first: Path  # the folder of shard 0
    folder: Path
    size: int
    opened: Callable[[Sequence[Lane]], Stream]
    ledger: Callable[[], Ledger]
    between: Callable[[int, int], None]
    check: Callable[[Ledger], None]  # raises where too little of a shard is trained
    _stream: Stream | None = None

    def path(self, number: int) -> Path:
        """The file of a shard."""
        if number == 0:
            return self.first / "train.arrow"
        return self.folder / f"shard-{number:06d}.arrow"

    def _record(self, number: int) -> Path:
        return self.first / RECORD if number == 0 else self.path(number).with_suffix(".json")

    def make(self, number: int) -> None:
        """Sees that a shard is there, whole; older ones go.

        Raises:
            DataError: a source can't be read, or a row is bad and the recipe says to stop.
            RunError: a shard that was used before comes out otherwise now.
        """
        for each in range(1, number):
            if not self._record(each).is_file():  # never where the records are whole
                self._write(each)
        if number and not self._whole(number):
            self._write(number)
        for path in self.folder.glob("shard-*.arrow"):
            if int(path.stem.partition("-")[2]) <= number - KEPT:
                path.unlink(missing_ok=True)

    def _whole(self, number: int) -> bool:
        path, record = self.path(number), self._record(number)
        if not path.is_file() or not record.is_file():
            return False
        return atomic.sha256(path) == atomic.read_json(record)["sha256"]

    def _write(self, number: int) -> None:
        place = read_place(atomic.read_json(self._record(number - 1))["place"])
        stream = self._stream
        if stream is None or list(stream.place) != place:
            stream = self.opened(place)
        self._stream = None  # until the shard is there it stands in the middle
        path, ledger = self.path(number), self.ledger()
        with TokenWriter(path) as writer:
            for done, (one, tokens) in enumerate(stream.take(self.size, ledger)):
                self.between(number, done)
                writer.add(tokens, one.source, one.row)
        ledger.balance()
        self.check(ledger)
        record = self._record(number)
        if record.is_file() and atomic.sha256(path) != atomic.read_json(record)["sha256"]:
            path.unlink()
            raise RunError(
                f"{path}: the rows of this part of the stream are not those that were trained "
                "before, so a source has changed; put the old one back, or start anew with --fresh"
            )
        write_record(record, path, stream, ledger)
        self._stream = stream

    def open(self, number: int) -> TokenStore:
        """The rows of a shard that is there."""
        return TokenStore(self.path(number))

    def told(self, last: int) -> dict[str, Any]:
        """What was read of the stream up to a shard: counts of each source, and passes."""
        total = [one.to_json() for one in self.ledger().sources]
        place: list[Lane] = []
        for number in range(last + 1):
            record = atomic.read_json(self._record(number))
            place = read_place(record["place"])
            total = [_sum(a, b) for a, b in zip(total, record["ledger"], strict=True)]
        for one, lane in zip(total, place, strict=True):
            one["passes"] = lane.passes
        return {"shards": last + 1, "ledger": total}


def _sum(a: dict[str, Any], b: dict[str, Any]) -> dict[str, Any]:
    """Counts added up, counts by reason too; of listed rows the first hundred."""
    found = dict(a)
    for key, value in b.items():
        before = found.get(key)
        if isinstance(value, dict):
            found[key] = _sum(before or {}, value)
        elif isinstance(value, list):
            found[key] = [*(before or []), *value][:100]
        elif isinstance(value, int):
            found[key] = (before or 0) + value
    return found
