"""The layers of a model, compiled one by one with torch.compile (``train.torch_compile``).

All layers of a kind share one compiled forward and backward pass, whose shapes are symbols: a batch
of another length compiles nothing anew. What stands around the layers (embeddings, masks, the head
with its loss on trained positions) stays as it is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch

from ftune.errors import RecipeError

KEY = "train.torch_compile"
# Kinds of code for one forward: layers may differ (sliding windows), and so may what is trained.
LIMIT = 64


def check(device: torch.device) -> None:
    """Looks whether there is what compiles.

    Raises:
        RecipeError: no C++ compiler for a CPU, no Triton for a GPU.
    """
    if device.type == "cuda":
        from torch.utils._triton import has_triton

        if not has_triton():
            raise RecipeError(
                f"{KEY}: Triton, which compiles for this GPU, is not there or does not know it; "
                "install triton, or set torch_compile to false"
            )
        return
    from torch._inductor.cpp_builder import get_cpp_compiler

    try:
        get_cpp_compiler()
    except Exception as error:
        raise RecipeError(
            f"{KEY}: no C++ compiler was found; install one (apt install g++, or xcode-select "
            "--install on macOS), name it in the variable CXX, or set torch_compile to false"
        ) from error


@contextmanager
def settled() -> Iterator[None]:
    """The compiler as a training wants it: nothing left of another one, draws as without it.

    Dropout draws what it draws in code that is not compiled, and a layer for which there is no code
    within ``LIMIT`` is an error, not code that goes on without a word as it was.
    """
    import torch._dynamo
    import torch._inductor.config

    torch._dynamo.reset()
    dynamo = torch._dynamo.config.patch(  # type: ignore[attr-defined]
        optimize_ddp=False,  # layers are single pieces already; buckets would cut them
        recompile_limit=LIMIT,
        accumulated_recompile_limit=8 * LIMIT,
        fail_on_recompile_limit_hit=True,
    )
    inductor = torch._inductor.config.patch(fallback_random=True)
    with dynamo, inductor:
        try:
            yield
        finally:
            torch._dynamo.reset()


def forward_of(layer: torch.nn.Module) -> Callable[..., Any]:
    """A compiled forward for training; where no gradient is taken, the layer's own."""
    own = layer.forward
    made = torch.compile(own, dynamic=True)

    def forward(*args: Any, **options: Any) -> Any:
        if not torch.is_grad_enabled() or not layer.training:
            return own(*args, **options)
        return made(*args, **options)

    return forward


@contextmanager
def told() -> Iterator[None]:
    """Turns what the compiler raises into an error that names the key.

    Raises:
        RecipeError: the model can't be compiled.
    """
    import torch._dynamo.exc as exc

    try:
        yield
    except (exc.TorchDynamoException, exc.FailOnRecompileLimitHit) as error:
        line = str(error).strip().partition("\n")[0]
        raise RecipeError(
            f"{KEY}: this model can't be compiled here ({line or type(error).__name__}); set it "
            "to false"
        ) from error
