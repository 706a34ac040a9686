"""Writes the work's model and rows, in a process of its own, so that the caller stays small."""

from __future__ import annotations

import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from work import Work, prepare

if __name__ == "__main__":
    prepare(Work(**json.loads(sys.argv[2])), Path(sys.argv[1]))
    print("{}")
