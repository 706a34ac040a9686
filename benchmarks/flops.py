"""How many floating-point operations a token of the work costs at least, for the share of the rate.

Counted are matrix products: 2 for each weight and token forward, 2 for the gradient of a layer's
input and, where its weights are trained, 2 for theirs; attention's two products over the positions
before a token; and the head on trained tokens only. Padding and what is computed twice do not
count, so a side that pays for these reaches a smaller share.
"""

from __future__ import annotations

from dataclasses import dataclass

from work import SHARED, Work, rows

RANK = 16
VIRTUAL = 20


@dataclass(frozen=True)
class Shape:
    """Of the rows, with the prompt tokens that a method puts in front."""

    tokens: float  # a row
    trained: float  # of these
    pairs: float  # of a token and one before it, a row


def shape(work: Work) -> Shape:
    """The mean over the work's rows, as the template writes them."""
    import transformers

    tokenizer = transformers.AutoTokenizer.from_pretrained(SHARED / "models/gpt2-tokenizer")
    virtual = VIRTUAL if work.method == "prompt_tuning" else 0
    tokens = trained = pairs = 0
    written = list(rows(work))
    for row in written:
        prompt = len(tokenizer(row["prompt"])["input_ids"])
        whole = min(prompt + len(tokenizer(row["completion"])["input_ids"]) + 1, work.limit)
        tokens += whole
        trained += whole - prompt
        pairs += (whole + virtual) * (whole + virtual + 1) / 2
    count = len(written)
    return Shape(tokens / count, trained / count, pairs / count)


def per_token(work: Work, vocabulary: int) -> float:
    """Operations for each token that is counted in tokens/s, forward and backward."""
    found = shape(work)
    head = work.hidden // work.heads
    inner = work.hidden * (2 * work.hidden + 2 * work.kv_heads * head)  # q, o, k, v
    inner += 3 * work.hidden * work.intermediate
    extra = VIRTUAL / found.tokens if work.method == "prompt_tuning" else 0.0
    layers = work.layers * inner * 2 * (1 + extra)
    attention = work.layers * 4 * work.hidden * found.pairs / found.tokens
    heads = 2 * work.hidden * vocabulary * found.trained / found.tokens
    if work.method == "full":
        return 3 * layers + 3 * attention + 3 * heads
    ranks = work.layers * RANK * 2 * _sides(work) if work.method == "lora" else 0.0
    return 2 * layers + 3 * attention + 2 * heads + 3 * ranks


def _sides(work: Work) -> int:
    """Inputs and outputs of a layer's seven matrices together."""
    key = work.kv_heads * (work.hidden // work.heads)
    attention = 4 * work.hidden + 2 * (work.hidden + key)
    return attention + 3 * (work.hidden + work.intermediate)
