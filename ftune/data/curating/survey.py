"""What a set of examples is made of: lengths by role, tokens, writing systems, answers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

from ftune.data.curating import writing_systems
from ftune.data.curating.lengths import Lengths
from ftune.types import Example, Tokens


class Survey:
    """Counts as examples are shown to it; memory grows with the different lengths only."""

    def __init__(self) -> None:
        self.characters: dict[str, Lengths] = {}
        self.turns = Lengths()
        self.letters: Counter[str] = Counter()
        self.tokens = Lengths()
        self.trained = Lengths()
        self.truncated = 0
        self.references = 0

    def add(self, example: Example, tokens: Tokens | None = None) -> None:
        """Counts an example, and its tokens where there are any."""
        self.turns.add(len(example.messages))
        self.references += len(example.references)
        for message in example.messages:
            words = message.content + message.context
            self.characters.setdefault(message.role, Lengths()).add(len(words))
            self.letters += writing_systems.count(words)
        if tokens is not None:
            self.tokens.add(len(tokens.ids))
            self.trained.add(sum(tokens.trained))
            self.truncated += tokens.truncated

    def to_plain(self) -> Mapping[str, Any]:
        """Everything as plain numbers."""
        letters = max(1, self.letters.total())
        found: dict[str, Any] = {
            "examples": self.turns.count,
            "turns": self.turns.to_plain(),
            "characters": {role: seen.to_plain() for role, seen in self.characters.items()},
            "writing_systems": {n: c / letters for n, c in self.letters.most_common()},
            "references": self.references,
        }
        if self.tokens.count:
            found["tokens"] = self.tokens.to_plain()
            found["trained_tokens"] = self.trained.to_plain()
            found["share_trained"] = self.trained.total / max(1, self.tokens.total)
            found["truncated_tokens"] = self.truncated
        return found
