"""How examples become tokens: what is trained and what is done with the long ones."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

TrainOn = Literal["assistant", "completion", "all"]
TooLong = Literal["error", "truncate_prompt", "truncate", "drop"]


@dataclass(frozen=True, slots=True)
class Rules:
    """The part of a recipe's ``data`` that rendering depends on."""

    max_length: int = 1024
    train_on: TrainOn = "assistant"
    on_too_long: TooLong = "error"

    @classmethod
    def of(cls, data: Any) -> Rules:
        """The rules of a recipe's ``data`` section."""
        return cls(data.max_length, data.train_on, data.on_too_long)


@dataclass(frozen=True, slots=True)
class Dropped:
    """An example that is not used, and why: a word or two, as the ledger counts it."""

    reason: str
