"""Memory that a step gave back stays with the process, so that the next one need not ask for it.

By default the C library gives large blocks back one by one and is given them again: cleared, page
by page. A step of a classifier on long texts took a quarter longer for that (docs/decisions/089).
"""

from __future__ import annotations

import ctypes
import sys

TRIM_THRESHOLD, MMAP_THRESHOLD = -1, -3  # parameters of glibc's mallopt(3)
BYTES = 32 << 20  # smaller blocks stay; glibc knows no larger bound


def kept() -> bool:
    """Asks glibc for it, for the rest of the process; whether it did. Elsewhere nothing is done."""
    if not sys.platform.startswith("linux"):
        return False
    own = getattr(ctypes.CDLL(None), "mallopt", None)
    if own is None:
        return False
    return all(own(key, size) == 1 for key, size in _SIZES.items())


_SIZES = {MMAP_THRESHOLD: BYTES, TRIM_THRESHOLD: 1 << 30}
