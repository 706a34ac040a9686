"""Tokens that a recipe adds, and which token pads."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ftune.errors import ModelError

# Tokens that stand for nothing, as the families of models name them, best first.
FILLERS = (
    "<pad>", "[PAD]", "<|pad|>", "<|finetune_right_pad_id|>", "<|padding|>", "<|vision_pad|>",
    "<|endoftext|>", "<unk>", "[UNK]", "<|reserved_special_token_0|>", "<unused0>",
)  # fmt: skip
_ADDED, _FRESH = "ftune_added_ids", "ftune_fresh_ids"


def add_tokens(tokenizer: Any, tokens: Sequence[str]) -> None:
    """Adds ``tokens``, which are never split, and notes their ids for ``added_ids``.

    They are usual tokens: people's words become them too, unless the template uses them as marks.

    Raises:
        ModelError: one is empty, or stands there twice.
    """
    if len(set(tokens)) != len(tokens) or not all(token.strip() for token in tokens):
        raise ModelError("model.add_tokens: a token is empty or stands there twice")
    from transformers import AddedToken

    known = tokenizer.get_vocab()
    tokenizer.add_tokens([AddedToken(token, special=False, normalized=False) for token in tokens])
    ids = tuple(int(tokenizer.convert_tokens_to_ids(token)) for token in tokens)
    setattr(tokenizer, _ADDED, ids)
    fresh = tuple(i for i, token in zip(ids, tokens, strict=True) if token not in known)
    setattr(tokenizer, _FRESH, fresh)


def added_ids(tokenizer: Any) -> tuple[int, ...]:
    """Ids of the tokens that the recipe adds: their embeddings are trained."""
    return getattr(tokenizer, _ADDED, ())


def choose_pad(tokenizer: Any, rows: int) -> None:
    """Sets a pad token that is not the end mark, without adding one.

    Batches carry an attention mask and labels of their own, so which token pads changes no result;
    it must only lie inside the embedding of ``rows`` rows and not be read as an end. A tokenizer
    without any such token keeps None: then whoever pads takes id 0.
    """
    own = tokenizer.pad_token_id
    if own is not None and own != tokenizer.eos_token_id and own < rows:
        return
    vocabulary = tokenizer.get_vocab()
    taken = {tokenizer.eos_token, tokenizer.bos_token}
    for token in FILLERS:
        if token not in taken and vocabulary.get(token, rows) < rows:
            tokenizer.pad_token = token
            return
    tokenizer.pad_token = None


def fit_embeddings(model: Any, tokenizer: Any) -> int:
    """Makes room for added tokens and gives the new rows the mean of the old ones.

    Rows that a model keeps in reserve are used before the embedding grows. Returns how many rows
    were added; an embedding is never resized for anything but ``model.add_tokens``.
    """
    import torch

    fresh = getattr(tokenizer, _FRESH, ())
    if not fresh:
        return 0
    rows = model.get_input_embeddings().weight.shape[0]
    grown = max(max(fresh) + 1 - rows, 0)
    if grown:
        model.resize_token_embeddings(rows + grown, mean_resizing=False)
    matrices = [model.get_input_embeddings().weight]
    output = model.get_output_embeddings()
    if output is not None and output.weight is not matrices[0]:
        matrices.append(output.weight)
    with torch.no_grad():
        for matrix in matrices:
            matrix[list(fresh)] = matrix[: min(fresh)].float().mean(0).to(matrix.dtype)
    return grown
