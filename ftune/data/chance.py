"""Draws that follow from what they are for, never from the order in which they are made.

So each process, and a run that goes on after a stop, draws the same.
"""

from __future__ import annotations

import hashlib
import json


def uniform(seed: int, *parts: object) -> float:
    """A number in [0, 1) that follows from the arguments alone."""
    text = json.dumps([seed, *parts], ensure_ascii=True)
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest()) / 2.0**64
