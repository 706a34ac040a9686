"""From generated ids to the answer's text: where it ends, and what of it is text."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from ftune.errors import RecipeError

SEAM = 8  # prompt tokens that are decoded with the answer, so that a space between them stays


class AnswerText:
    """Reads answers of one tokenizer with one set of end marks.

    ``stop`` are strings and ``stop_ids`` tokens that end an answer; a stop string that is a token
    of its own counts as that token as well. Special tokens inside an answer are left out, while
    text that only looks like one stays.

    Raises:
        RecipeError: a stop string is empty.
    """

    def __init__(self, tokenizer: Any, stop: Sequence[str], stop_ids: Sequence[int]) -> None:
        if "" in stop:
            raise RecipeError(
                "evaluate.generation.stop: an empty string would end every answer; remove it"
            )
        added = tokenizer.added_tokens_decoder
        own = [number for number, token in added.items() if token.content in stop]
        self.tokenizer = tokenizer
        self.stop = tuple(stop)
        self.end_ids = tuple(sorted({*stop_ids, *own}))
        self.special = {n for n, token in added.items() if token.special}
        self.special.update(tokenizer.all_special_ids)

    def read(self, prompt_ids: Sequence[int], ids: Sequence[int]) -> tuple[str, str, int]:
        """The text of ``ids``, its end ("stop" or "length"), and its tokens but the end mark."""
        end = next((i for i, token in enumerate(ids) if token in self.end_ids), len(ids))
        text = self._decode(prompt_ids, ids[:end])
        cut = min((at for s in self.stop if (at := text.find(s)) >= 0), default=None)
        if cut is not None:
            return text[:cut], "stop", self._length(prompt_ids, ids[:end])
        return text, "stop" if end < len(ids) else "length", end

    def settled(self, text: str) -> str:
        """The part of an unfinished text that no later token can change or cut away."""
        text = text.rstrip("�")  # the start of a character whose other bytes are still to come
        held = max(
            (n for s in self.stop for n in range(1, len(s)) if text.endswith(s[:n])), default=0
        )
        return text[: len(text) - held]

    def _decode(self, prompt_ids: Sequence[int], ids: Sequence[int]) -> str:
        """Decodes behind the prompt's end: decoders drop a space at the start of what they get."""
        kept = [i for i in ids if i not in self.special]
        before = [i for i in prompt_ids[-SEAM:] if i not in self.special]
        seam = self._plain(before)
        whole = self._plain(before + kept)
        return whole[len(seam) :] if whole.startswith(seam) else self._plain(kept)

    def _plain(self, ids: list[int]) -> str:
        return str(self.tokenizer.decode(ids, clean_up_tokenization_spaces=False))

    def _length(self, prompt_ids: Sequence[int], ids: Sequence[int]) -> int:
        """Tokens up to the one that completes a stop string; what follows it is padding."""
        low, high = 1, len(ids)
        while low < high:
            middle = (low + high) // 2
            text = self._decode(prompt_ids, ids[:middle])
            low, high = (low, middle) if any(s in text for s in self.stop) else (middle + 1, high)
        return low


class StopAtText:
    """Stopping criterion for ``generate``: a stop string has appeared behind the prompts.

    Only the last tokens of each row are decoded: as many as a stop string has bytes, and a few.
    """

    def __init__(self, tokenizer: Any, stop: Sequence[str], start: int) -> None:
        self.tokenizer = tokenizer
        self.stop = tuple(stop)
        self.start = start  # length of the padded prompts
        self.tail = max(len(s.encode()) for s in stop) + SEAM

    def __call__(self, input_ids: torch.Tensor, scores: Any, **_: Any) -> torch.Tensor:  # noqa: ARG002
        """Which rows are done, bool of shape (rows,); ``input_ids`` is (rows, length)."""
        recent = input_ids[:, max(self.start, input_ids.shape[1] - self.tail) :].tolist()
        texts = self.tokenizer.batch_decode(
            recent, skip_special_tokens=True, clean_up_tokenization_spaces=False
        )
        done = [any(s in text for s in self.stop) for text in texts]
        return torch.tensor(done, dtype=torch.bool, device=input_ids.device)
