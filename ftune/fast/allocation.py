"""Memory that a step gave back goes back to the system, so that the next one finds no holes.

The C library keeps freed blocks in its heap, between others that stay. Activations of one batch
don't fit the holes that the last one left: a third of a training's memory was such holes.
"""

from __future__ import annotations

import ctypes
import sys

TRIM_THRESHOLD, MMAP_THRESHOLD = -1, -3  # parameters of glibc's mallopt(3)
BYTES = 1 << 20  # blocks from here on are mapped one by one, and unmapped when they are freed


def tight() -> bool:
    """Asks glibc for it, for the rest of the process; whether it did. Elsewhere nothing is done."""
    if not sys.platform.startswith("linux"):
        return False
    own = getattr(ctypes.CDLL(None), "mallopt", None)
    if own is None:
        return False
    return all(own(key, BYTES) == 1 for key in (MMAP_THRESHOLD, TRIM_THRESHOLD))
