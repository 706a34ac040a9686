"""What decides how a tokenizer turns text into ids, as two digests."""

from __future__ import annotations

import hashlib
import json
from typing import Any

RULES = ("normalizer", "pre_tokenizer", "post_processor")


def identity(tokenizer: Any) -> dict[str, str]:
    """sha256 of the vocabulary (each token with its id) and of the rules around it.

    They are the same for a copy that was saved elsewhere, with other settings of padding or length.
    """
    layout = json.loads(tokenizer.backend_tokenizer.to_str())
    model = layout["model"]
    rules = {name: layout[name] for name in RULES}
    rules["model"] = {k: v for k, v in model.items() if k not in ("vocab", "dropout")}
    return {"vocabulary": digest(sorted(tokenizer.get_vocab().items())), "rules": digest(rules)}


def digest(value: Any) -> str:
    """Hex sha256 of a plain value."""
    text = json.dumps(value, sort_keys=True, ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()
