"""A long example as windows that overlap, so that each of its tokens is predicted once, in context.

As transformers' guide on perplexity has it, but that every token counts the same: the windows'
losses are summed, and divided by the number of tokens at the end.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

Part = tuple[Sequence[int], Sequence[bool]]  # ids, and which of them count


def windows(ids: Sequence[int], trained: Sequence[bool], width: int, stride: int) -> Iterator[Part]:
    """Windows of at most ``width`` tokens, each ``stride`` tokens further than the one before.

    A token counts in the first window that it is in; there at least ``width - stride`` tokens stand
    before it, save in the first window. ``stride`` is at most ``width``.
    """
    done = 0
    for start in range(0, len(ids), stride):
        end = min(start + width, len(ids))
        seen = done - start  # tokens of this window that counted before
        yield ids[start:end], [False] * seen + list(trained[done:end])
        done = end
        if end == len(ids):
            return
