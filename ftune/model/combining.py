"""Several LoRA adapters of one base as one, through PEFT's ``add_weighted_adapter``.

``sum`` is the sum of what the adapters add to the weights, each times its weight: exact (PEFT's
``cat`` puts their matrices side by side). The others work on the two matrices of each layer and not
on their product. ``linear`` averages the matrices, TIES (arXiv 2306.01708) keeps the largest and
the sign that most of them have, DARE (arXiv 2311.03099) drops at random and scales up the rest.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ftune.errors import ModelError
from ftune.model import adapters, deltas, merging, weights
from ftune.model.comparing import logits
from ftune.model.loading import Loaded
from ftune.model.quiet import quiet
from ftune.recipe.schema import Model
from ftune.run.progress import Progress

PEFT_NAMES = {
    "sum": "cat",
    "linear": "linear",
    "ties": "ties",
    "dare_linear": "dare_linear",
    "dare_ties": "dare_ties",
}
COMBINED = "combined"

Row = tuple[Sequence[int], Sequence[bool]]  # ids, and which of them were trained


@dataclass(frozen=True)
class How:
    """How adapters are put together; ``density`` is the share of numbers that are kept."""

    name: str = "sum"
    weights: tuple[float, ...] = ()
    density: float | None = None
    seed: int = 0


@dataclass(frozen=True)
class TaskLoss:
    """Loss in nats for a token of one adapter's own rows; ``alone`` is with that adapter only."""

    adapter: str
    tokens: int
    base: float
    alone: float
    combined: float


@dataclass(frozen=True)
class Combined:
    """What became of the adapters.

    ``from_sum`` is how far what is added to the weights is from the exact weighted sum of what the
    adapters add, as a share of that sum (Frobenius norms over all layers).
    """

    from_sum: float
    tasks: tuple[TaskLoss, ...]


def merge_several(
    model: Model,
    folders: Mapping[str, Path],
    output: Path,
    how: How,
    *,
    rows: Mapping[str, Sequence[Row]],
    dtype: Any = "auto",
    beside: Sequence[str] = (),
    finish: Callable[[Path, merging.Proof, Combined], None] | None = None,
    allow_code: bool = False,
    progress: Progress | None = None,
) -> tuple[merging.Proof, Combined]:
    """Merges the adapters of ``folders``, by name, into the unquantized base, as ``merging.merge``.

    Args:
        model: the model section of one of the runs.
        folders: written by ``adapters.save`` or by PEFT.
        output: folder that is made.
        how: with a weight for each.
        rows: tokens of each adapter's task, on which models are compared and losses taken.
        dtype: of the weights on disk; auto takes the base's own.
        beside: names of files of the first folder that are copied to the merged model.
        finish: writes more into the folder before it appears under its name.
        allow_code: whether the command line allowed code that comes with the model.
        progress: is told what is done.

    Raises:
        ModelError: an adapter is no plain LoRA or stands on another base, PEFT can't put them
            together, or the merged model differs by more than the bound.
    """
    for folder in folders.values():
        if why := why_not(folder):
            raise ModelError(f"{folder}: can't be merged with others: {why}")
    _check_ranks(folders, how)
    told: list[Combined] = []

    def join(tuned: Any, base: Loaded) -> Any:
        made = _join(tuned, base, folders, how, progress)
        told.append(Combined(_from_sum(made, folders, how), _losses(made, rows)))
        for name in (*list(folders)[1:], "default"):
            made.delete_adapter(name)
        return made

    proof = merging.merge(
        model,
        next(iter(folders.values())),
        output,
        rows=[ids for each in zip(*rows.values(), strict=False) for ids, _ in each],
        dtype=dtype,
        join=join,
        beside=beside,
        finish=(lambda part, proof: finish(part, proof, told[0])) if finish else None,
        allow_code=allow_code,
        progress=progress,
    )
    return proof, told[0]


def why_not(folder: Path) -> str:
    """Why an adapter can't be put together with others; empty if it can."""
    if not (folder / adapters.CONFIG).exists():
        if (folder / deltas.CONFIG).exists():
            return "it holds weights of the model itself and no LoRA matrices"
        return merging.why_not(folder)
    config = weights.read_json(folder, adapters.CONFIG)
    if config.get("peft_type") != "LORA":
        kind = str(config.get("peft_type")).lower()
        return merging.why_not(folder) or (
            f"it is of the kind {kind}, whose parameters do not add up; only LoRA's do"
        )
    reasons = {
        "use_dora": "DoRA scales base and adapter together, so what it adds depends on the base "
        "and can't be weighted",
        "bias": "it trained biases of the base, which PEFT does not weight",
        "modules_to_save": "it trained whole modules, which PEFT does not weight",
        "trainable_token_indices": "it trained rows of added tokens, which PEFT does not weight",
        "target_parameters": "it stands on single parameters, which PEFT does not weight",
    }
    for key, reason in reasons.items():
        if config.get(key) not in (None, False, "none", [], {}):
            return f"{reason} ({key})"
    start = config.get("init_lora_weights")
    if start == "loftq":
        return "loftq makes up for a base in 4 bits, and the merged one is full (init_lora_weights)"
    if start in ("pissa", "olora"):
        return f"{start} took parts of the base's weights into the adapter (init_lora_weights)"
    return ""


def _check_ranks(folders: Mapping[str, Path], how: How) -> None:
    if how.name == "sum":
        return
    keys = ("r", "rank_pattern")
    found = [weights.read_json(f, adapters.CONFIG) for f in folders.values()]
    ranks = [tuple(config.get(key) or None for key in keys) for config in found]
    if any(rank != ranks[0] for rank in ranks):
        said = ", ".join(f"{n}: {rank[0]}" for n, rank in zip(folders, ranks, strict=True))
        raise ModelError(
            f"--how {how.name}: works on the matrices themselves, which need the same rank in all "
            f"adapters, and rank_pattern too ({said}); take --how sum"
        )


def _join(
    tuned: Any, base: Loaded, folders: Mapping[str, Path], how: How, progress: Progress | None
) -> Any:
    """``tuned``, which has the first adapter, with all of them, of which the combined is active."""
    import torch

    arithmetic = next(tuned.parameters()).dtype
    named = {"default": how.weights[0]}
    for (name, folder), weight in zip(list(folders.items())[1:], how.weights[1:], strict=True):
        adapters.add(tuned, base, folder, name, progress)
        named[name] = weight
    tuned.to(arithmetic)
    # PEFT copies the first one's config for the new adapter, whose scale has to be 1; how rsLoRA
    # scales stands in the layers by now.
    tuned.peft_config["default"].use_rslora = False
    try:
        with quiet(), torch.random.fork_rng(devices=()):
            torch.manual_seed(how.seed)
            tuned.add_weighted_adapter(
                list(named),
                list(named.values()),
                COMBINED,
                combination_type=PEFT_NAMES[how.name],
                density=how.density,
            )
    except (ValueError, TypeError, RuntimeError) as error:
        line = str(error).strip().partition("\n")[0]
        raise ModelError(f"--how {how.name}: {line} (said by PEFT)") from error
    tuned.to(arithmetic)
    tuned.set_adapter(COMBINED)
    return tuned.requires_grad_(False).eval()


def _from_sum(tuned: Any, folders: Mapping[str, Path], how: How) -> float:
    from peft.tuners.lora import LoraLayer

    names = ("default", *list(folders)[1:])
    apart = whole = 0.0
    for layer in tuned.modules():
        if not isinstance(layer, LoraLayer):
            continue
        here = (*layer.lora_A, *layer.lora_embedding_A)
        parts = [
            layer.get_delta_weight(name) * weight  # type: ignore[attr-defined]
            for name, weight in zip(names, how.weights, strict=True)
            if name in here
        ]
        exact = sum(parts[1:], parts[0])
        found = layer.get_delta_weight(COMBINED)  # type: ignore[attr-defined]
        apart += float((found - exact).double().square().sum())
        whole += float(exact.double().square().sum())
    return (apart / whole) ** 0.5 if whole else 0.0


def _losses(tuned: Any, rows: Mapping[str, Sequence[Row]]) -> tuple[TaskLoss, ...]:
    """The losses of each adapter's rows, in the order of the adapters."""
    found = []
    for i, (name, own) in enumerate(rows.items()):
        tokens = sum(sum(map(bool, trained[1:])) for _, trained in own)
        if not tokens:
            continue
        with tuned.disable_adapter():
            base = _loss(tuned, own)
        tuned.set_adapter(name if i else "default")
        alone = _loss(tuned, own)
        tuned.set_adapter(COMBINED)
        values = (each / tokens for each in (base, alone, _loss(tuned, own)))
        found.append(TaskLoss(name, tokens, *values))
    return tuple(found)


def _loss(model: Any, rows: Sequence[Row]) -> float:
    """The summed loss of the trained tokens, in nats."""
    import torch

    total = 0.0
    for ids, trained in rows:
        places = [i for i in range(1, len(ids)) if trained[i]]
        if places:
            likely = torch.log_softmax(logits(model, ids)[[i - 1 for i in places]], -1)
            total -= float(likely[range(len(places)), [ids[i] for i in places]].sum())
    return total
