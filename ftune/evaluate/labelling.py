"""What a model says of labelled rows: a forward pass over them, in batches."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from ftune.run.progress import Progress, Silent
from ftune.types import Batch


@dataclass(frozen=True, slots=True)
class Said:
    """What is said of one row, and how likely each label is where there are labels.

    ``labels`` are those that are said, where each row has labels of the whole; else None.
    """

    text: str
    scores: tuple[float, ...] = ()
    labels: tuple[str, ...] | None = None


def label(
    model: Any,
    batches: Iterable[Batch],
    logits: Callable[[Any, Batch], Any],
    said: Callable[[Any, Batch], Sequence[Said]],
    rows: int,
    progress: Progress | None = None,
    between: Callable[[], object] = lambda: None,
) -> Iterator[tuple[int, Said]]:
    """The number of each row of the batches, with what is said of it.

    ``logits`` is the objective's, ``said`` makes words of them. ``between`` is called before each
    forward pass and may raise to end the work.
    """
    from ftune.evaluate.quiet import evaluating

    done, device = 0, model.get_input_embeddings().weight.device
    with (progress or Silent()).meter("labelling", rows, "rows") as meter:
        for batch in batches:
            between()
            with evaluating(model):
                found = said(logits(model, batch.to(device)), batch)
            yield from zip(batch.rows, found, strict=True)
            done += len(batch.rows)
            meter.update(done)
