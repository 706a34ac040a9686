"""LoRA: small low-rank matrices beside the frozen weights.

Hu et al. 2021, https://arxiv.org/abs/2106.09685; through PEFT.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Annotated, Any, Literal

from pydantic import Field

from ftune.recipe.base import Section


class Config(Section):
    """Settings of PEFT's ``LoraConfig``."""

    r: Annotated[int, Field(ge=1)] = 16
    """Rank: width of the added matrices."""
    lora_alpha: Annotated[int, Field(ge=1)] = 32
    """Their product is scaled by ``lora_alpha / r``."""
    lora_dropout: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.0
    """Share of their inputs that is dropped in training."""
    target_modules: str | tuple[str, ...] = "all-linear"
    """Which layers: ``all-linear`` (all but the head), a list of names, or a regular expression."""
    modules_to_save: tuple[str, ...] = ()
    """Modules that are trained whole and saved with the adapter."""
    use_rslora: bool = False
    """Scale by ``lora_alpha / sqrt(r)`` instead, which suits high ranks (arXiv 2312.03732)."""
    use_dora: bool = False
    """Train the length of each weight column apart from its direction (arXiv 2402.09353)."""
    init_lora_weights: Literal[True, "gaussian", "orthogonal", "olora", "pissa", "loftq", "eva"] = (
        True
    )
    """Start: true (no change at first) or gaussian; orthogonal starts beside the base's function,
    olora and pissa move the largest parts of the base's own weights into the adapter; loftq makes
    up for what 4 bits took from the base (arXiv 2310.08659); eva starts with the directions in
    which the training rows spread most, and moves ranks to the layers where they spread more
    (arXiv 2410.07170)."""
    eva_rho: Annotated[float, Field(ge=1.0)] = 2.0
    """With ``eva``, no layer gets more than so many times its rank; 1 leaves all ranks alike."""
    eva_batches: Annotated[int, Field(ge=1)] = 16
    """With ``eva``, so many batches of 16 rows of data.train are looked at (of more rows, where
    ``r * eva_rho`` is above 16)."""
    bias: Literal["none", "all", "lora_only"] = "none"
    """Which biases of the base are trained too."""
    rank_pattern: dict[str, Annotated[int, Field(ge=1)]] | None = None
    """Other ranks for some layers: the end of their names, or a regular expression, and the rank.
    """
    alpha_pattern: dict[str, Annotated[int, Field(ge=1)]] | None = None
    """The same for ``lora_alpha``."""
    loraplus_lr_ratio: Annotated[float, Field(ge=1.0)] | None = None
    """LoRA+: the second matrix learns so many times as fast as the first, whose rate is
    ``train.learning_rate`` (arXiv 2402.12354, which takes 16)."""


def peft_config(model: Any, config: Config, tokenizer: Any) -> Any:
    """PEFT's ``LoraConfig`` for ``config``; tokens that the recipe adds are trained with it."""
    from ftune.model.attaching import check_targets, is_tied, targets, token_indices
    from ftune.model.quiet import quiet

    with quiet():
        from peft import EvaConfig, LoraConfig

    chosen = targets(model, config.target_modules)
    if config.modules_to_save:
        check_targets(model, config.modules_to_save, "tune.modules_to_save")
    for key in ("rank_pattern", "alpha_pattern"):
        for pattern in getattr(config, key) or ():
            check_targets(model, rf"(.*\.)?({pattern})", f"tune.{key}", shown=pattern)
    return LoraConfig(
        r=config.r,
        lora_alpha=config.lora_alpha,
        lora_dropout=config.lora_dropout,
        target_modules=chosen,
        rank_pattern=config.rank_pattern or {},
        alpha_pattern=config.alpha_pattern or {},
        modules_to_save=list(config.modules_to_save) or None,
        use_rslora=config.use_rslora,
        use_dora=config.use_dora,
        init_lora_weights=True if config.init_lora_weights == "loftq" else config.init_lora_weights,
        eva_config=EvaConfig(rho=config.eva_rho) if chooses(config) else None,
        bias=config.bias,
        trainable_token_indices=token_indices(model, tokenizer, config.modules_to_save),
        ensure_weight_tying=bool(config.modules_to_save) and is_tied(model),
    )


def attach(model: Any, config: Config, tokenizer: Any) -> Any:
    """``model`` with LoRA layers; only these, and the rows of added tokens, are trained.

    Raises:
        ModelError: a target matches nothing, or PEFT can't do this on this base.
    """
    from ftune.errors import ModelError
    from ftune.model import attaching

    decomposed = config.init_lora_weights in ("olora", "pissa")
    if decomposed and attaching.quantized_bits(model):
        raise ModelError(
            f"tune.init_lora_weights: {config.init_lora_weights} takes weights out of the base, "
            "which a quantized base does not let it; take true or gaussian"
        )
    if config.init_lora_weights != "loftq":
        return attaching.attach(model, peft_config(model, config, tokenizer))
    if attaching.quantized_bits(model) != 4 or config.use_dora:
        raise ModelError(
            "tune.init_lora_weights: loftq makes up for what 4 bits take from the base: set "
            "model.quantization.load_in_4bit: true (and use_dora: false), or take true"
        )
    from ftune.model import loftq

    tuned = attaching.attach(model, peft_config(model, config, tokenizer))
    loftq.begin(tuned)
    tuned.peft_config[tuned.active_adapter].init_lora_weights = "loftq"  # it belongs to 4 bits
    return tuned


def chooses(config: Config) -> bool:
    """Whether the start is made from the data."""
    return config.init_lora_weights == "eva"


def sample(config: Config) -> tuple[int, int]:
    """How many batches of the training rows are looked at, and of how many rows."""
    widest = max([config.r, *(config.rank_pattern or {}).values()])
    return config.eva_batches, max(16, round(widest * config.eva_rho))


def choose(model: Any, config: Config, batches: Iterable[Any]) -> dict[str, Any]:  # noqa: ARG001
    """The first matrix of each layer, of the rank that it gets; ``batches`` as of ``sample``.

    Raises:
        ModelError: the batches are too small, or show no steady directions.
    """
    from ftune.model import eva

    return eva.directions(model, list(batches))


def take(model: Any, config: Config, found: Mapping[str, Any]) -> None:  # noqa: ARG001
    """Gives the layers what ``choose`` gave."""
    from ftune.model import eva

    eva.begin(model, found)


def parameter_groups(model: Any, config: Config, settings: Any) -> list[dict[str, Any]] | None:
    """PEFT's groups for LoRA+, with a rate and a weight decay each; None without a ratio.

    ``settings`` is the recipe's train section.
    """
    if config.loraplus_lr_ratio is None:
        return None
    import torch
    from peft.optimizers import create_loraplus_optimizer

    # The optimizer that the recipe names is made of these groups later.
    made = create_loraplus_optimizer(
        model,
        torch.optim.SGD,
        lr=settings.learning_rate,
        loraplus_lr_ratio=config.loraplus_lr_ratio,
        loraplus_weight_decay=settings.weight_decay,
    )
    kept = ("params", "lr", "weight_decay")
    return [{key: group[key] for key in kept} for group in made.param_groups if group["params"]]
