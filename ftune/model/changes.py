"""What a training changed: for each weight of the base, how large the change is beside it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from math import prod, sqrt
from pathlib import Path
from typing import Any

import torch

from ftune.errors import ModelError
from ftune.model import adapters, attaching, bottleneck, chosen, deltas, multitask
from ftune.model.loading import Loaded
from ftune.model.quiet import quiet


@dataclass(frozen=True)
class Change:
    """A weight that training changed: ``change`` and ``weight`` are Frobenius norms.

    ``trained`` counts the trained numbers behind it, and ``layer`` is None outside of all layers.
    ``rank`` is that of its LoRA matrices, None without them.
    """

    name: str
    layer: int | None
    shape: tuple[int, ...]
    trained: int
    change: float
    weight: float
    rank: int | None = None

    @property
    def relative(self) -> float | None:
        """``change / weight``; None where the weight was 0."""
        return self.change / self.weight if self.weight else None


def changes(base: Loaded, folder: Path, original: Any = None) -> list[Change]:
    """What the trained part in ``folder`` makes of each weight of ``base``, whose model it takes.

    Beside the base one weight at a time is held; of a part of its own parameters, that part.

    Args:
        base: in float32 and not quantized, so that a small change is not rounded away.
        folder: written by ``adapters.save``.
        original: the same base once more, for an adapter that changes the base itself
            (``changes_base``); by default its weights as the adapter finds them.

    Raises:
        ModelError: the adapter is damaged or made for another base.
    """
    with torch.no_grad():
        if (folder / adapters.CONFIG).exists():
            return list(_of_adapter(adapters.load(base, folder), original))
        return list(_of_parameters(base, folder))


def _of_parameters(base: Loaded, folder: Path) -> Iterator[Change]:
    """The changes of parameters of the model itself: some, or those of a whole model."""
    from safetensors import safe_open

    before = {n: p.detach() for n, p in base.model.named_parameters()}
    if (folder / deltas.WEIGHTS).exists():  # it is loaded into the base's own tensors
        with safe_open(folder / deltas.WEIGHTS, "pt") as file:
            before = {n: before[n].clone() for n in file.keys() if n in before}  # noqa: SIM118
        head = base.model.get_output_embeddings()
        if head is not None:  # one that shares the embedding's weights gets its own
            before.setdefault(_name_of(base.model, head), head.weight.detach().clone())
    tuned = adapters.load(base, folder)
    some = chosen.of(tuned)
    for name, parameter in tuned.named_parameters():
        if name in before and not torch.equal(parameter, before[name]):
            trained = some.count(name, parameter) if some is not None else parameter.numel()
            yield _change(name, parameter, before[name], trained)


def _name_of(model: Any, head: Any) -> str:
    return next(f"{name}.weight" for name, module in model.named_modules() if module is head)


def _of_adapter(tuned: Any, original: Any) -> Iterator[Change]:
    from peft.tuners.tuners_utils import BaseTunerLayer
    from peft.utils.other import ModulesToSaveWrapper

    own = dict(original.named_parameters()) if original is not None else {}
    adapter, seen = tuned.active_adapter, set()
    for full, module in tuned.named_modules():
        name, found = _plain(full), []
        if isinstance(module, ModulesToSaveWrapper):
            saved = dict(module.modules_to_save[adapter].named_parameters())
            found = [
                _change(f"{name}.{part}", saved[part], before, before.numel())
                for part, before in module.original_module.named_parameters()
            ]
        elif isinstance(module, BaseTunerLayer):
            found = list(_of_layer(name, module, adapter, own))
        seen |= {one.name for one in found}
        yield from found
    for full, parameter in tuned.named_parameters():  # biases are trained where they stand
        name = _plain(full)
        first = own.get(name)
        if name not in seen and first is not None and not torch.equal(first, parameter):
            yield _change(name, parameter, first, parameter.numel())


def _plain(name: str) -> str:
    """A name in the tuned model as it is in the base."""
    return name.removeprefix("base_model.model.").replace(".base_layer", "")


def _of_layer(name: str, module: Any, adapter: str, own: dict[str, Any]) -> Iterator[Change]:
    """The change of a layer's weights, found by merging the adapter into them."""
    inner = dict(module.get_base_layer().named_parameters())
    before = {key: p.detach().clone() for key, p in inner.items()}
    trained = sum(
        p.numel()
        for key, p in module.named_parameters()
        if adapter in key.split(".") and "base_layer" not in key
    )
    with quiet():
        module.merge(adapter_names=[adapter])
    for key, after in module.get_base_layer().named_parameters():
        first = own.get(f"{name}.{key}", before[key])
        if key == "weight" or not torch.equal(after, first):
            rank = getattr(module, "r", {}).get(adapter) if key == "weight" else None
            yield replace(_change(f"{name}.{key}", after, first, trained), rank=rank)


def _change(name: str, after: Any, before: Any, trained: int) -> Change:
    before, after = before.float(), after.float()
    found = re.search(r"\.(\d+)\.", name)
    return Change(
        name,
        int(found[1]) if found else None,
        tuple(before.shape),
        trained,
        float((after - before).norm()),
        float(before.norm()),
    )


def beside(folder: Path) -> int:
    """How many numbers of the part in ``folder`` stand beside the base's weights and change none:
    those of bottleneck adapters."""
    from safetensors import safe_open

    path = folder / deltas.WEIGHTS
    if not path.exists():
        return 0
    with safe_open(path, "pt") as file:
        names = [name for name in file.keys() if f".{bottleneck.NAME}." in name]  # noqa: SIM118
        return sum(prod(file.get_slice(name).get_shape()) for name in names)


def by_layer(found: list[Change]) -> list[Change]:
    """The changes of each layer taken together, those outside of all layers last."""
    layers = sorted({c.layer for c in found}, key=lambda n: (n is None, n or 0))
    together = []
    for layer in layers:
        of = [c for c in found if c.layer == layer]
        change, weight = (sqrt(sum(getattr(c, k) ** 2 for c in of)) for k in ("change", "weight"))
        name = "outside the layers" if layer is None else f"layer {layer}"
        together.append(Change(name, layer, (), sum(c.trained for c in of), change, weight))
    return together


def changes_base(folder: Path) -> bool:
    """Whether the adapter in ``folder`` moves or trains numbers of the base itself."""
    from ftune.model import weights

    if not (folder / adapters.CONFIG).exists():
        return False
    told = weights.read_json(folder, adapters.CONFIG)
    start = str(told.get("init_lora_weights", ""))
    return start.startswith(attaching.STARTS_WITHIN) or told.get("bias", "none") != "none"


def prompt_vectors(folder: Path) -> Any:
    """The vectors that a soft prompt puts before the input, float32 of shape (virtual tokens,
    hidden), of several tasks one after the other; None where what was trained is no soft prompt.

    Raises:
        ModelError: its vectors are keys and values, which lie beside no token's embedding.
    """
    from safetensors.torch import load_file

    from ftune.model import weights

    if not (folder / adapters.CONFIG).exists():
        return None
    kind = weights.read_json(folder, adapters.CONFIG).get("peft_type")
    if kind == "PREFIX_TUNING":
        raise ModelError(
            f"{folder}: its vectors are keys and values in each layer's cache, which lie in no "
            "space with the tokens' embeddings; prompt_tuning and p_tuning can be read by tokens"
        )
    if kind not in ("PROMPT_TUNING", "P_TUNING", multitask.KIND):
        return None
    weights.header(weights.inside(folder, folder / adapters.WEIGHTS))
    found = load_file(folder / adapters.WEIGHTS)
    if "prompt_embeddings" not in found:
        raise ModelError(f"{folder / adapters.WEIGHTS}: holds no prompt_embeddings; copy it again")
    shared = found["prompt_embeddings"].float()
    if kind == multitask.KIND:
        own = found["prefix_task_cols"].float() @ found["prefix_task_rows"].float()
        return (shared * own).flatten(0, 1)
    return shared
