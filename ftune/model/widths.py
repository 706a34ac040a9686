"""Whether the widths of layers fit the blocks that a tuning method cuts them into."""

from __future__ import annotations

from typing import Any

from ftune.errors import ModelError


def check_blocks(model: Any, targets: str | tuple[str, ...], size: int, key: str) -> None:
    """Refuses a block size that divides the input width of some target not.

    PEFT would take another size in its place, or stop at the first layer.

    Raises:
        ModelError: names the widths there are and the largest size that fits them all.
    """
    from math import gcd

    widths = sorted(set(_widths(model, targets)))
    wrong = [width for width in widths if width % size]
    if wrong:
        raise ModelError(
            f"tune.{key}: {size} does not divide the layers' widths {', '.join(map(str, wrong))}; "
            f"take a divisor of {gcd(*widths)}"
        )


def _widths(model: Any, targets: str | tuple[str, ...]) -> list[int]:
    """Input widths of the linear layers that ``targets`` names, all if it is a pattern."""
    head = model.get_output_embeddings()
    found = []
    for name, module in model.named_modules():
        width = getattr(module, "in_features", None) or getattr(module, "nx", None)
        if width is None or module is head:
            continue
        if isinstance(targets, str) or any(f".{name}".endswith(f".{t}") for t in targets):
            found.append(int(width))
    return found
