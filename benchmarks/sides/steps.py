"""What a step took, as a line of JSON."""

from __future__ import annotations

import json
import time
from pathlib import Path


class Steps:
    """Appends a line for each step; times start when ``begin`` is called."""

    def __init__(self, path: str) -> None:
        self._path = Path(path)
        self.begin()

    def begin(self) -> None:
        """A step starts."""
        self._begun = time.perf_counter()

    def end(self, tokens: int) -> None:
        """A step of so many tokens without padding is over, and the next one starts."""
        line = {"tokens": tokens, "seconds": time.perf_counter() - self._begun}
        with self._path.open("a", encoding="utf-8") as handle:
            handle.write(json.dumps(line) + "\n")
        self.begin()
