"""How likely a model finds given answers to a prompt: the prompt is read once for all of them."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch

from ftune.errors import RunError
from ftune.evaluate.lining import base_of, line_up
from ftune.evaluate.quiet import evaluating, out_of_memory
from ftune.run.progress import Progress, Silent

Losses = tuple[list[float], ...]  # of each answer, nats of each of its tokens


@dataclass(frozen=True)
class Asked:
    """A prompt and the answers that there are to it, all as ids and none empty."""

    prompt: Sequence[int]
    answers: Sequence[Sequence[int]]
    task: str = ""


def token_losses(
    model: Any,
    rows: Sequence[Asked],
    pad: int,
    batch_size: int,
    progress: Progress | None = None,
    between: Callable[[], object] = lambda: None,
) -> list[Losses]:
    """The loss of each token of each answer, behind its prompt; in the order of ``rows``.

    ``between`` is called before each batch and may raise to end the work.

    Raises:
        RunError: there isn't memory for one prompt with its answers.
    """
    found: dict[int, Losses] = {}
    # The longest first: if memory is short, it shows at once.
    waiting = sorted(range(len(rows)), key=lambda at: -len(rows[at].prompt))
    with (progress or Silent()).meter("ranking answers", len(rows), "prompts") as meter:
        while waiting:
            between()
            batch = waiting[:batch_size]
            done = _in_memory(model, [rows[at] for at in batch], pad)
            if done is None:
                if len(batch) == 1:
                    raise RunError(
                        "evaluate: there isn't memory to rank the answers to a prompt of "
                        f"{len(rows[batch[0]].prompt):,} tokens; lower data.max_length, or load "
                        "the model in 4 bits"
                    )
                batch_size = len(batch) // 2
                continue
            found.update(zip(batch, done, strict=True))
            waiting = waiting[len(batch) :]
            meter.update(len(found))
    return [found[at] for at in range(len(rows))]


def _in_memory(model: Any, rows: Sequence[Asked], pad: int) -> list[Losses] | None:
    """The losses of a batch, or None where there is not enough memory for it."""
    base = base_of(model)
    try:
        with evaluating(model):
            if base.config.is_encoder_decoder:
                losses = _by_decoder(model, base, rows, pad)
            else:
                losses = _behind_prompts(model, base, rows, pad)
    except RuntimeError as error:
        if not out_of_memory(error):
            raise
        return None
    flat = iter(losses)
    return [tuple(next(flat)[: len(answer)] for answer in row.answers) for row in rows]


def _padded(rows: Sequence[Asked], pad: int, device: Any) -> tuple[Any, Any, Any]:
    """All answers as (answers, longest) ids and mask, and the number of each one's row."""
    answers = [answer for row in rows for answer in row.answers]
    shape = (len(answers), max(map(len, answers)))
    ids, mask = torch.full(shape, pad, dtype=torch.long), torch.zeros(shape, dtype=torch.long)
    for at, answer in enumerate(answers):
        ids[at, : len(answer)] = torch.tensor(list(answer))
        mask[at, : len(answer)] = 1
    index = torch.tensor([number for number, row in enumerate(rows) for _ in row.answers])
    return ids.to(device), mask.to(device), index.to(device)


def _behind_prompts(model: Any, base: Any, rows: Sequence[Asked], pad: int) -> list[list[float]]:
    """Of a decoder: prompts are read into a cache, and each answer goes on from a copy of it."""
    lines = line_up(model, [row.prompt for row in rows], pad, tasks=[row.task for row in rows])
    inputs, mask = dict(lines.inputs), lines.inputs["attention_mask"]
    there = inputs.get("past_key_values")
    start = 0 if there is None else there.get_seq_length()  # a prefix, which is read already
    if "inputs_embeds" in inputs:
        del inputs["input_ids"]
    else:
        inputs["input_ids"] = inputs["input_ids"][:, start:]
    with _last_only(base):
        said = base(**inputs, **_places(base, mask, start), use_cache=True)
    ids, shown, index = _padded(rows, pad, mask.device)
    cache = getattr(said, "past_key_values", None)
    if not hasattr(cache, "reorder_cache"):
        return _one_by_one(model, base, rows, pad)
    first = said.logits[index, -1:]
    if ids.shape[1] == 1:
        return _losses(first, ids)
    cache.reorder_cache(index)  # type: ignore[union-attr]
    seen = torch.cat([mask[index], shown[:, :-1]], 1)
    said = base(
        input_ids=ids[:, :-1],
        attention_mask=seen,
        past_key_values=cache,
        use_cache=True,
        **_places(base, seen, mask.shape[1]),
    )
    return _losses(torch.cat([first, said.logits], 1), ids)


def _one_by_one(model: Any, base: Any, rows: Sequence[Asked], pad: int) -> list[list[float]]:
    """Of a decoder whose memory can't be copied: each prompt is read with each answer."""
    found = []
    for row in rows:
        for answer in row.answers:
            lines = line_up(model, [[*row.prompt, *answer[:-1]]], pad, tasks=[row.task])
            inputs = dict(lines.inputs)
            if "inputs_embeds" in inputs:
                del inputs["input_ids"]
            said = base(**inputs, use_cache=False).logits[:, -len(answer) :]
            found += _losses(said, torch.tensor([list(answer)], device=said.device))
    return found


def _by_decoder(model: Any, base: Any, rows: Sequence[Asked], pad: int) -> list[list[float]]:
    """Of an encoder-decoder: the encoder reads each question once."""
    lines = line_up(model, [row.prompt for row in rows], pad)
    mask = lines.inputs["attention_mask"]
    ids, _, index = _padded(rows, pad, mask.device)
    before = ids.roll(1, dims=1)
    before[:, 0] = base.config.decoder_start_token_id
    asked, given = model if lines.by_peft else base, {"attention_mask": mask[index]}
    if lines.by_peft:  # what stands in the decoder's cache is put there by PEFT
        given["input_ids"] = lines.inputs["input_ids"][index]
    else:
        read = base.get_encoder()(**lines.inputs)
        read.last_hidden_state = read.last_hidden_state[index]
        given["encoder_outputs"] = read
    return _losses(asked(**given, decoder_input_ids=before, use_cache=False).logits, ids)


def _losses(logits: Any, ids: Any) -> list[list[float]]:
    """Cross-entropy in nats of ids (answers, longest) under (answers, longest, vocabulary)."""
    wide = logits.to(torch.promote_types(logits.dtype, torch.float32)).transpose(1, 2)
    found: list[list[float]] = torch.nn.functional.cross_entropy(
        wide, ids, reduction="none"
    ).tolist()
    return found


def _places(base: Any, mask: Any, start: int) -> dict[str, Any]:
    """The positions of the columns from ``start`` on, counted over what the mask shows; nothing
    for a model that takes none."""
    if "position_ids" not in inspect.signature(base.forward).parameters:
        return {}
    return {"position_ids": (mask.cumsum(1) - 1).clamp(min=0)[:, start:]}


@contextmanager
def _last_only(base: Any) -> Iterator[None]:
    """While inside, the output head sees the last position of each line only."""
    head = base.get_output_embeddings()

    def select(_: Any, args: tuple[Any, ...]) -> tuple[Any, ...]:
        return (args[0][:, -1:], *args[1:])

    handle = head.register_forward_pre_hook(select)
    try:
        yield
    finally:
        handle.remove()
