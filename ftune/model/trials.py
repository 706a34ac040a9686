"""Run as a child process: which products work on a device, as one JSON object on standard output.

A product that the CPU can't do kills its process (SIGILL), so each trial runs in a fork of its own.
``python -m ftune.model.trials cpu`` prints ``{"bfloat16": true, "4bit": false, ...}``.
"""

from __future__ import annotations

import json
import os
import sys
import warnings
from collections.abc import Callable
from functools import partial

from ftune.model.devices import NAMES


def trial(name: str, device: str) -> None:
    """One forward and backward product; raises or dies where it does not work."""
    import torch

    if name in ("float16", "bfloat16"):
        dtype = getattr(torch, name)
        for rows, inner, columns in ((1, 128, 128), (64, 128, 384), (33, 256, 2048)):
            linear = torch.nn.Linear(inner, columns).to(device, dtype)
            inputs = torch.randn(rows, inner, dtype=dtype, device=device)
            linear(inputs).float().square().mean().backward()
        heads = torch.randn(2, 4, 33, 32, dtype=dtype, device=device)
        torch.nn.functional.scaled_dot_product_attention(heads, heads, heads, is_causal=True)
        if device == "cuda":
            torch.cuda.synchronize()
        return
    import bitsandbytes as bnb

    layer = bnb.nn.Linear4bit(128, 128) if name == "4bit" else bnb.nn.Linear8bitLt(128, 128, False)
    layer = layer.to(device)
    inputs = torch.randn(3, 128, requires_grad=True, device=device)
    layer(inputs).square().mean().backward()
    if inputs.grad is None or not bool(inputs.grad.isfinite().all()):
        raise ArithmeticError("the gradient is not finite")


def survives(work: Callable[[], None]) -> bool:
    """Whether ``work`` ends well in a fork of this process."""
    child = os.fork()
    if child == 0:
        code = 1
        try:
            work()
            code = 0
        finally:
            os._exit(code)
    return os.waitpid(child, 0)[1] == 0


def main(device: str) -> None:
    """Runs all trials; torch is imported once, before the forks, and does no product here."""
    warnings.simplefilter("ignore")
    import bitsandbytes  # noqa: F401
    import torch

    torch.set_num_threads(1)
    results = {name: survives(partial(trial, name, device)) for name in NAMES}
    json.dump(results, sys.stdout)


if __name__ == "__main__":
    main(sys.argv[1])
