"""What a stage's outputs depend on, as one number."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any


def fingerprint(
    stage: str,
    version: int,
    recipe: Mapping[str, Any],
    before: Sequence[str],
    identity: Mapping[str, Any],
) -> str:
    """Hex sha256 over all that decides what a stage writes.

    Args:
        stage: its name.
        version: raised by hand when its outputs change meaning.
        recipe: the resolved keys that it reads, without cosmetic ones.
        before: the fingerprints of the stages that it needs.
        identity: what the recipe's names stand for: sha256 of files, commits of hub repositories.

    Source code, times and package versions are left out: they are recorded, and a difference warns.
    """
    parts = [stage, version, recipe, list(before), identity]
    text = json.dumps(parts, sort_keys=True, ensure_ascii=True, allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()
