"""Several examples in one line: best fit, the longest first."""

from __future__ import annotations

from bisect import bisect_left, insort

import numpy as np


def pack(rows: np.ndarray, lengths: np.ndarray, capacity: int) -> list[tuple[int, ...]]:
    """Lines of rows whose lengths add up to at most ``capacity`` tokens; every row is in one.

    Best-fit decreasing: for many rows within 11/9 of the fewest lines possible (Johnson 1974).
    A row longer than ``capacity`` is the caller's mistake and gets a line of its own.
    """
    lines: list[list[int]] = []
    room: list[tuple[int, int]] = []  # (tokens free, line), sorted
    for row in rows[np.argsort(-lengths[rows], kind="stable")]:
        length = int(lengths[row])
        at = bisect_left(room, (length, -1))
        if at < len(room):
            free, line = room.pop(at)
            lines[line].append(int(row))
        else:
            free, line = capacity, len(lines)
            lines.append([int(row)])
        if free > length:
            insort(room, (free - length, line))
    return [tuple(line) for line in lines]
