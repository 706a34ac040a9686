"""Memory, traffic and expected efficiency of large models on many devices, by formulas.

python benchmarks/scaling.py --page docs/scaling.md writes the page; without, it is printed. Nothing
is run: each formula has its source on the page, and a test compares what can be measured on a small
model (tests/unit/test_scaling.py).
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

TEXT = Path(__file__).with_name("scaling.md.in")
SCHEMES = ("DDP", "ZeRO-1", "ZeRO-2", "FSDP")
METHODS = ("full", "lora", "qlora")
DEVICES = (8, 16, 64)
RANK = 16
LENGTH = 4096  # tokens of a micro-batch on each device, one row
GB = 1e9


@dataclass(frozen=True)
class Shape:
    """A decoder of Llama's kind."""

    name: str
    hidden: int
    layers: int
    heads: int
    kv_heads: int
    inner: int
    vocabulary: int
    tied: bool = False

    def linear(self) -> list[tuple[int, int]]:
        """Inputs and outputs of the linear layers of one layer."""
        kv = self.hidden * self.kv_heads // self.heads
        attention = [(self.hidden, self.hidden)] * 2 + [(self.hidden, kv)] * 2
        return attention + [(self.hidden, self.inner)] * 2 + [(self.inner, self.hidden)]

    @property
    def in_layers(self) -> int:
        """Weights of all layers' matrices: what 4 bits are kept of."""
        return self.layers * sum(a * b for a, b in self.linear())

    @property
    def parameters(self) -> int:
        """All of them: matrices, norms, embeddings and, unless tied, the head."""
        return self.in_layers + self.tables + (2 * self.layers + 1) * self.hidden

    @property
    def tables(self) -> int:
        """Weights of the embeddings and, unless tied, of the head."""
        return self.vocabulary * self.hidden * (1 if self.tied else 2)

    def lora(self, rank: int = RANK) -> int:
        """Parameters of adapters on all linear layers."""
        return self.layers * rank * sum(a + b for a, b in self.linear())


SHAPES = (
    Shape("Llama-3.2-1B", 2048, 16, 32, 8, 8192, 128_256, tied=True),
    Shape("Llama-3.1-8B", 4096, 32, 32, 8, 14_336, 128_256),
    Shape("Llama-3.1-70B", 8192, 80, 64, 8, 28_672, 128_256),
)
GPT_175B = Shape("GPT-175B", 12_288, 96, 96, 96, 32_768, 50_000)  # inner: 4h in two matrices


@dataclass(frozen=True)
class State:
    """Bytes that training keeps: ``weights`` of what is trained, ``frozen`` of what is not."""

    trained: int  # parameters
    frozen: float
    weights: float
    gradients: float
    optimizer: float
    gathered: float  # all weights in the type in which FSDP gathers them


def state(shape: Shape, method: str) -> State:
    """What a method keeps in all, before anything is split."""
    if method == "full":
        count, frozen, gathered = shape.parameters, 0.0, 2.0 * shape.parameters
    else:
        count, frozen = shape.lora(), 2.0 * shape.parameters
        if method == "qlora":
            frozen += shape.in_layers * (0.5 + 0.127 / 8 - 2)
        gathered = frozen + 2.0 * count
    return State(count, frozen, 4.0 * count, 4.0 * count, 8.0 * count, gathered)


def memory(shape: Shape, method: str, scheme: str, devices: int) -> float:
    """Bytes on a device for weights, gradients and optimizer."""
    kept = state(shape, method)
    level = SCHEMES.index(scheme)
    optimizer = kept.optimizer / (devices if level >= 1 else 1)
    gradients = kept.gradients / (devices if level >= 2 else 1)
    weights = (kept.frozen + kept.weights) / (devices if level >= 3 else 1)
    # Embeddings and head, and the layer at work and the next one, whole.
    outside = 2.0 * shape.tables
    whole = outside + 2 * (kept.gathered - outside) / shape.layers if level >= 3 else 0.0
    return weights + gradients + optimizer + whole


def activations(shape: Shape, checkpointing: bool = True, length: int = LENGTH) -> float:
    """Bytes of activations of one row in 16 bits, attention's matrix never kept."""
    unit = float(length * shape.hidden)
    return 2 * unit * shape.layers + 34 * unit if checkpointing else 34 * unit * shape.layers


def traffic(shape: Shape, method: str, scheme: str, devices: int) -> float:
    """Bytes that a device sends in a step of one micro-batch."""
    kept = state(shape, method)
    if scheme == "FSDP":  # gathered forward and backward; gradients scattered in 16 bits
        volume = 2 * kept.gathered + 2.0 * kept.trained
    else:  # an all-reduce is a reduce-scatter and an all-gather
        volume = kept.gradients + kept.weights
    return volume * (devices - 1) / devices


def work(shape: Shape, method: str, length: int = LENGTH, checkpointing: bool = True) -> float:
    """Floating-point operations of one row, what is computed twice included."""
    forward = length * (2.0 * shape.parameters + 2.0 * shape.layers * shape.hidden * length)
    backward = 2.0 if method == "full" else 1.0  # frozen weights have no gradient
    return forward * (1 + backward + (1 if checkpointing else 0))


@dataclass(frozen=True)
class Machines:
    """What is assumed of them: rates in operations and bytes a second."""

    name: str
    node: float  # of one node to the others, each way
    device: float = 300e9  # of one device to those of its node, each way
    rate: float = 0.6 * 312e12  # of matrix products
    per_node: int = 8


FAST = Machines("2 Tb/s", 250e9)
SLOW = Machines("100 Gb/s", 12.5e9)


def seconds_of_traffic(sent: float, devices: int, machines: Machines) -> float:
    """Time of rings: over several nodes each byte leaves every node once."""
    return sent / (machines.device if devices <= machines.per_node else machines.node)


def efficiency(shape: Shape, method: str, scheme: str, devices: int, machines: Machines) -> float:
    """The share of the time that computes, where traffic hides behind computing if it fits."""
    compute = work(shape, method) / machines.rate
    wire = seconds_of_traffic(traffic(shape, method, scheme, devices), devices, machines)
    return compute / max(compute, wire)


def table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """A table of Markdown."""
    names = list(head)
    lines = [names, ["---"] * len(names), *(list(row) for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def gigabytes(value: float) -> str:
    """A figure of three digits."""
    return f"{value / GB:,.2f}" if value < 10 * GB else f"{value / GB:,.0f}"


def memory_table(shape: Shape) -> str:
    """Every method and scheme on each number of devices; bold where a device of 80 GB suffices."""
    rows = []
    for method in METHODS:
        for scheme in SCHEMES:
            cells = [memory(shape, method, scheme, count) for count in DEVICES]
            fits = [cell + activations(shape) < 80 * GB for cell in cells]
            told = [gigabytes(cell) for cell in cells]
            rows.append(
                [method, scheme, *(f"**{t}**" if f else t for t, f in zip(told, fits, strict=True))]
            )
    return table(["method", "scheme", *(f"{count} devices" for count in DEVICES)], rows)


def traffic_table() -> str:
    """Bytes sent, and the efficiency that is to be expected."""
    rows = []
    for shape in SHAPES:
        for method in METHODS:
            for scheme in ("DDP", "FSDP"):
                sent = traffic(shape, method, scheme, 64)
                shares = [
                    efficiency(shape, method, scheme, count, machines)
                    for count, machines in ((8, FAST), (16, FAST), (64, FAST), (64, SLOW))
                ]
                told = (f"{share:.0%}" for share in shares)
                rows.append([shape.name, method, scheme, gigabytes(sent), *told])
    head = ("model", "method", "scheme", "GB sent, 64", "8", "16", "64", f"64 at {SLOW.name}")
    return table(head, rows)


def published_table() -> str:
    """Published rates on A100, and what the formulas say of the same."""
    rows = []
    # name, shape, devices, tokens a device, TFLOPS a device as published, where
    for shape, devices, length, row, rate, source in (
        (GPT_175B, 128, 2048, 1, 173.0, "Zhao et al., batch 1; the same on 512"),
        (GPT_175B, 128, 2048, 2, 186.0, "Zhao et al., batch 2"),
        (SHAPES[1], 64, 8192, 1, 0.568 * 312, "torchtitan, FSDP2, some layers recomputed"),
        (SHAPES[2], 64, 8192, 1, 0.517 * 312 * 4 / 3, "torchtitan, FSDP2, all recomputed"),
    ):
        compute = row * work(shape, "full", length) / FAST.rate
        wire = seconds_of_traffic(traffic(shape, "full", "FSDP", devices), devices, FAST)
        rows.append(
            [
                shape.name,
                str(devices),
                f"{row} x {length}",
                f"{compute:.1f} s",
                f"{wire:.1f} s",
                f"{compute / max(compute, wire):.0%}",
                f"{rate:.0f} TFLOPS, {rate / 312:.0%} of peak",
                source,
            ]
        )
    head = ("model", "devices", "rows x tokens", "computing", "traffic", "expected", "published")
    return table((*head, "source"), rows)


def page() -> str:
    """docs/scaling.md."""
    counts = table(
        ("model", "parameters", f"adapters, rank {RANK}", "activations", "without checkpointing"),
        (
            (
                shape.name,
                f"{shape.parameters:,}",
                f"{shape.lora():,}",
                f"{gigabytes(activations(shape))} GB",
                f"{gigabytes(activations(shape, checkpointing=False))} GB",
            )
            for shape in SHAPES
        ),
    )
    text = TEXT.read_text(encoding="utf-8")
    for name, made in (
        ("counts", counts),
        *((shape.name, memory_table(shape)) for shape in SHAPES),
        ("traffic", traffic_table()),
        ("published", published_table()),
    ):
        text = text.replace(f"[[{name}]]", made)
    return text


def main() -> None:
    """Prints or writes the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--page", type=Path, help="write it here")
    file = parser.parse_args().page
    if file is None:
        print(page())
    else:
        file.write_text(page(), encoding="utf-8")


if __name__ == "__main__":
    main()
