"""AdaLoRA: LoRA whose rank is given to the layers that need it, while it trains.

Zhang et al. 2023, https://arxiv.org/abs/2303.10512; through PEFT.
"""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field

from ftune.recipe.base import Section

STATE = ("exp_avg_ipt", "exp_avg_unc")  # what PEFT's allocator remembers of each matrix
LONG = 10**9  # steps of a training whose length isn't known yet


class Config(Section):
    """Settings of PEFT's ``AdaLoraConfig``; ``total_step`` is the length of the training."""

    init_r: Annotated[int, Field(ge=2)] = 12
    """Rank of each layer at the start."""
    target_r: Annotated[int, Field(ge=1)] = 8
    """Mean rank of the layers at the end."""
    tinit: Annotated[int, Field(ge=0)] = 0
    """Steps before ranks begin to fall."""
    tfinal: Annotated[int, Field(ge=0)] = 0
    """Steps at the end in which they stay."""
    deltaT: Annotated[int, Field(ge=1)] = 1  # noqa: N815 (PEFT's name)
    """Steps from one allocation to the next."""
    beta1: Annotated[float, Field(gt=0.0, lt=1.0)] = 0.85
    """How slowly the sensitivity of a weight is forgotten."""
    beta2: Annotated[float, Field(gt=0.0, lt=1.0)] = 0.85
    """How slowly its uncertainty is."""
    orth_reg_weight: Annotated[float, Field(ge=0.0)] = 0.5
    """Weight of the penalty that keeps the matrices orthogonal."""
    lora_alpha: Annotated[int, Field(ge=1)] = 32
    """Their product is scaled by ``lora_alpha / init_r``."""
    lora_dropout: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.0
    """Share of their inputs that is dropped in training."""
    target_modules: str | tuple[str, ...] = "all-linear"
    """Which layers: ``all-linear`` (all but the head), a list of names, or a regular expression."""


def attach(model: Any, config: Config, tokenizer: Any) -> Any:
    """``model`` with AdaLoRA layers; only these are trained.

    Raises:
        ModelError: a target matches nothing, the ranks can't fall, or tokens are added.
    """
    from peft import AdaLoraConfig

    from ftune.errors import ModelError
    from ftune.model import attaching

    attaching.refuse_added_tokens(tokenizer, "adalora")
    if config.init_r <= config.target_r:
        raise ModelError(
            "tune.init_r: must be above target_r, to which the ranks fall; or take lora"
        )
    settings = AdaLoraConfig(
        init_r=config.init_r,
        target_r=config.target_r,
        tinit=config.tinit,
        tfinal=config.tfinal,
        deltaT=config.deltaT,
        beta1=config.beta1,
        beta2=config.beta2,
        orth_reg_weight=config.orth_reg_weight,
        lora_alpha=config.lora_alpha,
        lora_dropout=config.lora_dropout,
        target_modules=attaching.targets(model, config.target_modules),
        total_step=LONG + config.tinit + config.tfinal,
    )
    tuned = attaching.attach(model, settings)
    for name, parameter in tuned.named_parameters():
        if ".ranknum." in name:  # a constant, which PEFT leaves trainable beside 16-bit bases
            parameter.requires_grad_(False)
    return tuned


def begin(model: Any, total: int) -> None:
    """Tells the schedule of ranks how many steps there are.

    Raises:
        ModelError: they leave no step for ranks to fall.
    """
    from ftune.errors import ModelError

    settings = _settings(model)
    # The step in which ranks are settled goes by scores of the steps before it.
    if max(settings.tinit, 1) >= total - settings.tfinal:
        raise ModelError(
            f"tune.tinit: {settings.tinit} steps before ranks fall and {settings.tfinal} after "
            f"(tune.tfinal) leave too few of the {total} steps of this training; lower them, or "
            "train for longer"
        )
    settings.total_step = total


def penalty(model: Any) -> Any:
    """The weighted penalty, a scalar with gradient (equation 4, as PEFT averages it)."""
    import torch

    found = []
    for name, weight in model.named_parameters():
        if "lora_A" in name or "lora_B" in name:
            square = weight @ weight.T if "lora_A" in name else weight.T @ weight
            one = torch.eye(len(square), dtype=square.dtype, device=square.device)
            found.append(torch.linalg.matrix_norm(square - one))
    return _settings(model).orth_reg_weight * sum(found) / len(found)


def after_step(model: Any, step: int) -> None:
    """Scores the weights by their gradients and masks ranks; ``step`` is counted from 1."""
    settings = _settings(model)
    model.base_model.update_and_allocate(step)
    falling = settings.tinit < step < settings.total_step - settings.tfinal
    if falling and step % settings.deltaT:
        # What was masked has moved since; saved by the old pattern it would be lost.
        settings.rank_pattern = None


def state(model: Any) -> dict[str, Any]:
    """What the allocator remembers, for a checkpoint."""
    import torch

    allocator = model.base_model.rankallocator
    found = {f"{key}.{n}": t for key in STATE for n, t in getattr(allocator, key).items()}
    pattern = _settings(model).rank_pattern or {}
    return found | {f"rank_pattern.{n}": torch.tensor(kept) for n, kept in pattern.items()}


def load_state(model: Any, tensors: dict[str, Any]) -> None:
    """Puts back what ``state`` gave."""
    allocator, settings = model.base_model.rankallocator, _settings(model)
    device = next(p.device for p in model.parameters() if p.requires_grad)
    parts: dict[str, dict[str, Any]] = {key: {} for key in (*STATE, "rank_pattern")}
    for name, tensor in tensors.items():
        key, _, weight = name.partition(".")
        parts[key][weight] = tensor
    allocator.reset_ipt()
    for key in STATE:
        getattr(allocator, key).update({n: t.to(device) for n, t in parts[key].items()})
    # PEFT makes the running means where this has no entry.
    allocator.ipt.update(dict.fromkeys(parts[STATE[0]]))
    settings.rank_pattern = {n: t.tolist() for n, t in parts["rank_pattern"].items()} or None


def _settings(model: Any) -> Any:
    return model.peft_config[model.active_adapter]
