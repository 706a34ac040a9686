"""Matrix products: by oneDNN where torch's own library is known to be slow, else by torch.

torch's wheels for x86 multiply float32 matrices with MKL, which keeps to 256-bit instructions on
processors that are not Intel's. oneDNN, in the same wheel, takes the full width: about twice the
rate on an AMD processor with AVX-512, in the same arithmetic (docs/decisions/014).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch

INTEL = "GenuineIntel"


@dataclass(frozen=True)
class Products:
    """Who multiplies; ``onednn`` is asked for float32 on the CPU only."""

    onednn: bool = False

    def linear(
        self, x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None = None
    ) -> torch.Tensor:
        """``x @ weight.T + bias``: (..., in) and (out, in) -> (..., out); a new tensor."""
        if self.onednn and _single(x) and _single(weight) and x.numel():
            return torch.ops.mkldnn._linear_pointwise(x, weight, bias, "none", [], "")
        return torch.nn.functional.linear(x, weight, bias)

    def times(self, x: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
        """``x @ weight``: (rows, out) and (out, in) -> (rows, in)."""
        return self.linear(x, weight.t())

    def over_rows(self, one: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
        """``one.T @ other``: (rows, a) and (rows, b) -> (a, b); the fewer columns go first."""
        if one.shape[1] > other.shape[1]:
            return self.linear(other.t(), one.t()).t()
        return self.linear(one.t(), other.t())


def _single(tensor: torch.Tensor) -> bool:
    return tensor.dtype == torch.float32 and tensor.device.type == "cpu"


def choose() -> Products:
    """What this machine multiplies with.

    It depends on the processor and the build of torch alone, never on a timing: a training that
    goes on after a stop must make the same numbers.
    """
    wide = torch.backends.cpu.get_cpu_capability() == "AVX512"
    if not (wide and torch.backends.mkl.is_available() and torch.backends.mkldnn.is_available()):
        return Products()
    if _vendor() in ("", INTEL) or not _agrees(Products(onednn=True)):
        return Products()
    return Products(onednn=True)


def slow_dropout() -> bool:
    """Whether torch draws what dropout keeps one by one: on all processors but Intel's."""
    return _vendor() != INTEL


def _vendor() -> str:
    """The processor's maker as Linux names it, or nothing."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return ""
    return next((x.partition(":")[2].strip() for x in lines if x.startswith("vendor_id")), "")


@torch.no_grad()
def _agrees(products: Products) -> bool:
    """Whether the operator is there and equal to torch's in all three uses, to rounding.

    It is the one that torch's own compiler puts in place of a linear layer; its name is not
    promised to stay.
    """
    draw = torch.Generator().manual_seed(0)
    x, g = (torch.randn(24, n, generator=draw) for n in (40, 72))
    weight, bias = torch.randn(72, 40, generator=draw), torch.randn(72, generator=draw)
    try:
        with torch.autocast("cpu", enabled=False):
            found = (
                products.linear(x, weight, bias),
                products.times(g, weight),
                products.over_rows(g, x),
            )
            wanted = (torch.nn.functional.linear(x, weight, bias), g @ weight, g.t() @ x)
    except (AttributeError, RuntimeError, TypeError):
        return False
    pairs = zip(found, wanted, strict=True)
    return all(torch.allclose(one, other, rtol=1e-5, atol=1e-4) for one, other in pairs)
