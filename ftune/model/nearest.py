"""A trained soft prompt read through the tokens whose embeddings lie nearest to its vectors."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch

CHUNK = 4096  # rows of the embedding that are compared at a time
SAMPLE = 1000  # tokens whose own nearest neighbour is looked for


@dataclass(frozen=True)
class Near:
    """A token near a vector: ``measure`` is its cosine, or its Euclidean distance."""

    token: str
    id: int
    measure: float


@dataclass(frozen=True)
class Place:
    """Where a vector lies: its nearest tokens by either measure, the nearest first.

    ``ratio`` is its distance from the nearest token, as a multiple of the median distance that a
    token has from its own nearest neighbour; infinite where that median is 0.
    """

    number: int
    norm: float
    cosine: tuple[Near, ...]
    euclidean: tuple[Near, ...]
    ratio: float


@dataclass(frozen=True)
class Prompt:
    """A soft prompt's vectors, and what the tokens' own embeddings are like.

    ``neighbour_distance`` and ``neighbour_cosine`` are medians over ``sampled`` tokens of what
    lies between a token and the nearest other one; ``token_norm`` is the median length.
    """

    places: tuple[Place, ...]
    neighbour_distance: float
    neighbour_cosine: float
    token_norm: float
    tokens: int
    sampled: int


def read_prompt(vectors: Any, table: Any, tokenizer: Any, top_k: int) -> Prompt:
    """The tokens nearest to each of ``vectors``.

    Args:
        vectors: of shape (virtual tokens, hidden).
        table: the input embedding's weights, of shape (rows, hidden); rows behind the tokenizer's
            last token are padding, and are left out.
        tokenizer: gives the tokens' names.
        top_k: how many tokens are named by each measure.
    """
    table = table[: len(tokenizer)]
    vectors = vectors.to(table.device).float()
    top_k = min(top_k, len(table))
    cosines, distances = _nearest(vectors, table, top_k)
    step = -(-len(table) // SAMPLE)
    sampled = torch.arange(0, len(table), step, device=table.device)
    # The nearest one is the token itself; rows that are equal to it are neighbours all the same.
    own_cosine, own_distance = _nearest(table[sampled].float(), table, min(2, len(table)), sampled)
    apart = float(own_distance[0][:, 0].median())

    def named(found: tuple[Any, Any], row: int) -> tuple[Near, ...]:
        values, ids = (part[row].tolist() for part in found)
        words = tokenizer.convert_ids_to_tokens(ids)
        return tuple(Near(*each) for each in zip(words, ids, values, strict=True))

    places = tuple(
        Place(
            row,
            float(vectors[row].norm()),
            named(cosines, row),
            named(distances, row),
            float(distances[0][row, 0]) / apart if apart else float("inf"),
        )
        for row in range(len(vectors))
    )
    return Prompt(
        places,
        apart,
        float(own_cosine[0][:, 0].median()),
        float(table.float().norm(dim=1).median()),
        len(table),
        len(sampled),
    )


def _nearest(
    vectors: Any, table: Any, count: int, leave_out: Any = None
) -> tuple[tuple[Any, Any], tuple[Any, Any]]:
    """The largest cosines and the smallest distances to rows of ``table``, with the rows' numbers.

    Each of shape (vectors, count). ``leave_out`` names a row for each vector that does not count.
    """
    cosine: list[tuple[Any, Any]] = []
    distance: list[tuple[Any, Any]] = []
    unit = torch.nn.functional.normalize(vectors, dim=1)
    for start in range(0, len(table), CHUNK):
        part = table[start : start + CHUNK].float()
        similar = unit @ torch.nn.functional.normalize(part, dim=1).T
        apart = torch.cdist(vectors, part, compute_mode="donot_use_mm_for_euclid_dist")
        if leave_out is not None:
            at = (leave_out >= start) & (leave_out < start + len(part))
            rows = at.nonzero().flatten()
            similar[rows, leave_out[at] - start] = -float("inf")
            apart[rows, leave_out[at] - start] = float("inf")
        some = min(count, len(part))
        for kept, found in ((cosine, similar.topk(some)), (distance, apart.topk(some, 1, False))):
            kept.append((found.values, found.indices + start))
    return _best(cosine, count, True), _best(distance, count, False)


def _best(found: list[tuple[Any, Any]], count: int, largest: bool) -> tuple[Any, Any]:
    values = torch.cat([v for v, _ in found], 1)
    ids = torch.cat([i for _, i in found], 1)
    best = values.topk(count, 1, largest)
    return best.values, ids.gather(1, best.indices)
