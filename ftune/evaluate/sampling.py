"""Drawing tokens so that a row's answer does not depend on the rows beside it."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import torch
from transformers import (
    LogitsProcessorList,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
)

from ftune.recipe.schema import Generation


def drawing(
    generation: Generation, keys: Sequence[int], start: int, device: torch.device
) -> LogitsProcessorList:
    """Processors that temper and filter the scores, and then leave one drawn token in each row.

    ``keys`` name the rows of the batch, and ``start`` is the length of the padded prompts. With
    these, greedy decoding samples.
    """
    steps = LogitsProcessorList()
    if generation.temperature != 1.0:
        steps.append(TemperatureLogitsWarper(generation.temperature))
    if generation.top_k:
        steps.append(TopKLogitsWarper(generation.top_k))
    if generation.top_p < 1.0:
        steps.append(TopPLogitsWarper(generation.top_p))
    steps.append(Draw(generation.seed, keys, generation.max_new_tokens, start, device))
    return steps


class Draw:
    """Draws by the inverse of the distribution function, with numbers that belong to the row.

    Step n of row k takes the n-th number of a generator seeded with (seed, k), so the same answer
    comes out whatever the batch size, up to rounding of the scores themselves.
    """

    def __init__(
        self, seed: int, keys: Sequence[int], steps: int, start: int, device: torch.device
    ) -> None:
        rows = [torch.rand(steps, generator=_generator(seed, key)) for key in keys]
        # Kept below 1, so that rounding never leads past the last token that can be drawn.
        self.numbers = (torch.stack(rows) * (1 - 1e-6)).to(device)
        self.start = start

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        """Scores of shape (rows, vocabulary): 0 for the drawn token, minus infinity elsewhere."""
        reached = scores.float().softmax(-1).cumsum(-1)
        number = self.numbers[:, input_ids.shape[1] - self.start, None]
        drawn = torch.searchsorted(reached, number * reached[:, -1:], right=True)
        return torch.full_like(scores, -torch.inf).scatter_(1, drawn, 0.0)


def _generator(seed: int, key: int) -> torch.Generator:
    digest = hashlib.sha256(f"{seed}:{key}".encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:8], "big") >> 1)
