"""Characters of the data that the tokenizer can't write: they would be lost without a word."""

from __future__ import annotations

from typing import Any

from ftune.types import Example, Labelled

MOST_SHOWN = 40  # characters named in a warning


class Characters:
    """Which characters were seen, and in how many examples each."""

    def __init__(self) -> None:
        self._counts: dict[str, int] = {}

    def add(self, example: Example | Labelled) -> None:
        """Counts the characters of all its texts."""
        found: set[str] = set().union(*map(set, example.texts))
        for character in found:
            self._counts[character] = self._counts.get(character, 0) + 1

    def lost(self, tokenizer: Any) -> dict[str, int]:
        """Characters that become no token, or only unknown ones, with the examples they are in.

        White space is left out: tokenizers may join it to a neighbour.
        """
        return {
            character: count
            for character, count in sorted(self._counts.items())
            if not character.isspace() and _is_lost(character, tokenizer)
        }

    def warnings(self, tokenizer: Any) -> tuple[str, ...]:
        """One line that names them, the most frequent first; none if nothing is lost."""
        lost = sorted(self.lost(tokenizer).items(), key=lambda pair: -pair[1])
        if not lost:
            return ()
        named = " ".join(repr(character)[1:-1] for character, _ in lost[:MOST_SHOWN])
        more = f" and {len(lost) - MOST_SHOWN} more" if len(lost) > MOST_SHOWN else ""
        return (
            f"the tokenizer can't write {len(lost)} characters of the data, so the model never "
            f"sees them: {named}{more} (the first is in {lost[0][1]:,} examples); replace them in "
            "the data, or take a model whose tokenizer knows them",
        )


def _is_lost(character: str, tokenizer: Any) -> bool:
    # Behind a letter: at the start a tokenizer may put a mark of its own, which is a token too.
    alone = tokenizer.encode("a", add_special_tokens=False)
    both = tokenizer.encode(f"a{character}", add_special_tokens=False)
    rest = both[len(alone) :] if both[: len(alone)] == alone else both
    return not [token for token in rest if token != tokenizer.unk_token_id]
