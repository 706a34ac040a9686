"""Base models and tokenizers, from a folder to the device."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ftune.errors import ModelError
from ftune.model import devices, heads, sizes, soundness, standins, vocabulary, weights
from ftune.model.quiet import quiet
from ftune.model.resolve import Located, locate
from ftune.recipe.schema import Model, Quantization
from ftune.types import Task

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class Loaded:
    """A base model on its device, before any tuning.

    ``identity`` tells this base from others (see ``Located.identity``); ``facts`` are for reports.
    """

    model: Any
    tokenizer: Any
    device: torch.device
    dtype: torch.dtype
    identity: dict[str, Any]
    facts: dict[str, Any]
    task: Task = field(default_factory=Task)
    unread: standins.StandIns | None = None  # where the weights are still to be read


def load_tokenizer(model: Model, allow_code: bool = False) -> Any:
    """The model's fast tokenizer, with ``model.add_tokens``, and with a pad that is not eos.

    Args:
        model: the recipe's section.
        allow_code: whether the command line allowed code that comes with the model.

    Raises:
        ModelError: there is none, or it can't be read.
    """
    code = _code(model, allow_code)
    located = locate(model.name_or_path, model.revision, code)
    from transformers import AutoTokenizer

    try:
        with quiet():
            tokenizer = AutoTokenizer.from_pretrained(
                str(located.folder), trust_remote_code=code, local_files_only=True
            )
    except Exception as error:
        raise ModelError(
            f"{located.folder}: its tokenizer can't be loaded ({_first_line(error)}); there must "
            "be a tokenizer.json beside the model"
        ) from error
    if not tokenizer.is_fast:
        raise ModelError(
            f"{located.folder}: has only a slow tokenizer; take a model with a tokenizer.json"
        )
    if model.add_tokens:
        vocabulary.add_tokens(tokenizer, model.add_tokens)
    vocabulary.choose_pad(tokenizer, _rows(located.folder))
    return tokenizer


def _rows(folder: Path) -> int:
    config = weights.read_json(folder, "config.json")
    text = config.get("text_config")
    rows = config.get("vocab_size", text.get("vocab_size") if isinstance(text, dict) else None)
    return rows if isinstance(rows, int) else 2**31


def load_model(
    model: Model,
    tokenizer: Any,
    mixed_precision: str = "no",
    allow_code: bool = False,
    task: Task | None = None,
    in_shares: bool = False,
) -> Loaded:
    """The base model, quantized if asked, in evaluation mode, nothing of it to be trained.

    A head that its files don't have is drawn from torch's generator as it stands.

    Args:
        model: the recipe's section.
        tokenizer: from ``load_tokenizer``; its added tokens get rows in the embeddings.
        mixed_precision: ``distributed.mixed_precision``.
        allow_code: whether the command line allowed code that comes with the model.
        task: what it is for; by default a causal language model.
        in_shares: whether its weights stay in the files until the model is split.

    Raises:
        ModelError: files or weights are missing, damaged or not finite, or the device can't do it.
        ObstacleError: it can't be loaded ``in_shares``.
    """
    begun = time.monotonic()
    code = _code(model, allow_code)
    located = locate(model.name_or_path, model.revision, code)
    device, dtype = devices.choose(model, mixed_precision)
    unread = None
    if in_shares:
        standins.refuse(model, tokenizer, task)
    if model.quantization:
        soundness.check_files(weights.files(located.folder))
    task = task or Task()
    loaded = read(model, located, "meta" if in_shares else device, dtype, code, task)
    if not heads.writes(task):
        heads.settle(loaded, tokenizer)
    if in_shares:
        unread = standins.take_place(loaded, weights.files(located.folder), device)
    elif not model.quantization:
        soundness.check_tensors(located.name, loaded.named_parameters(), dtype)
    _check_ids(located, loaded, tokenizer)
    vocabulary.fit_embeddings(loaded, tokenizer)
    loaded.requires_grad_(False)
    loaded.eval()
    facts = describe(loaded, device, dtype) | {"seconds": time.monotonic() - begun}
    return Loaded(loaded, tokenizer, device, dtype, located.identity, facts, task, unread)


def _code(model: Model, allowed: bool) -> bool:
    if model.trust_remote_code and not allowed:
        raise ModelError(
            "model.trust_remote_code: code that comes with a model runs only if the command line "
            "says so too: add --trust-remote-code if you trust it, or take it out of the recipe"
        )
    return model.trust_remote_code


def read(
    model: Model,
    located: Located,
    device: torch.device | str,
    dtype: torch.dtype,
    code: bool,
    task: Task | None = None,
) -> Any:
    """The model as its files have it, quantized if the section says so, on ``device``.

    On "meta" it has no numbers, but all that is wrong with its tensors is told.

    Raises:
        ModelError: it can't be read, or a weight is missing, unexpected or of another shape.
    """
    weights.check_config(located.folder)
    mapped = str(device).startswith(("cuda", "meta"))
    options: dict[str, Any] = {"device_map": {"": device}} if mapped else {}
    if model.quantization:
        with quiet():
            options["quantization_config"] = quantization_config(model.quantization, dtype)
        options["device_map"] = {"": device}
    settings = {
        "dtype": dtype,
        "attn_implementation": model.attn_implementation,
        "trust_remote_code": code,
        "use_safetensors": True,
        "local_files_only": True,
        "output_loading_info": True,
        "ignore_mismatched_sizes": True,  # told in the info, and refused by name
    }
    try:
        with quiet():
            loaded = _with_head(located, task or Task(), {**settings, **options})
    except ModelError:
        raise
    except Exception as error:
        line, hint = _first_line(error), ""
        if "flash" in line.lower():
            hint = "; take model.attn_implementation: sdpa, or install flash-attn for a GPU"
        raise ModelError(f"{located.name}: can't be loaded: {line}{hint}") from error
    keep_differentiable(loaded)
    return loaded if options else loaded.to(device)


def _with_head(located: Located, task: Task, options: dict[str, Any]) -> Any:
    folder = str(located.folder)
    if task != Task():
        return heads.read(folder, located.name, task, options)
    from transformers import AutoModelForCausalLM

    answer: Any = AutoModelForCausalLM.from_pretrained(folder, **options)
    loaded, info = answer
    soundness.check_complete(located.name, info)
    return loaded


def quantization_config(section: Quantization, dtype: torch.dtype) -> Any:
    """bitsandbytes' settings; products are made in the model's ``dtype`` unless the recipe differs.

    Raises:
        ModelError: neither or both of 4 and 8 bits are asked for.
    """
    import torch
    from transformers import BitsAndBytesConfig

    if section.load_in_4bit == section.load_in_8bit:
        raise ModelError("model.quantization: set one of load_in_4bit and load_in_8bit to true")
    if section.load_in_8bit:
        return BitsAndBytesConfig(load_in_8bit=True, llm_int8_threshold=section.llm_int8_threshold)
    compute = section.bnb_4bit_compute_dtype
    return BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type=section.bnb_4bit_quant_type,
        bnb_4bit_use_double_quant=section.bnb_4bit_use_double_quant,
        bnb_4bit_compute_dtype=dtype if compute == "auto" else getattr(torch, compute),
    )


def keep_differentiable(model: Any) -> None:
    """Keeps 4-bit layers on a CPU from packing their weights anew when the model is evaluated.

    bitsandbytes does that once on CPUs with AVX512-BF16, for a product that has no gradient and
    that it also takes in training from then on: an evaluation before or during training would
    silently cut the gradient of all layers below.
    """
    for module in model.modules():
        if hasattr(module, "support_avx512bf16_for_cpu"):
            module.support_avx512bf16_for_cpu = False


def _check_ids(located: Located, model: Any, tokenizer: Any) -> None:
    rows = model.get_input_embeddings().weight.shape[0]
    for role in ("bos", "eos"):
        number = getattr(tokenizer, f"{role}_token_id")
        if number is not None and number >= rows and number not in vocabulary.added_ids(tokenizer):
            raise ModelError(
                f"{located.name}: the tokenizer's {role} token has id {number}, but the model's "
                f"embedding has {rows} rows: tokenizer and weights don't belong together"
            )


def describe(model: Any, device: torch.device, dtype: torch.dtype) -> dict[str, Any]:
    """Facts of a loaded model for reports: sizes, shape, attention, device and dtype."""
    config = model.config.get_text_config()
    return {
        "architecture": type(model).__name__,
        "parameters": sizes.count(model).total,
        "bytes": sizes.memory(model),
        "layers": getattr(config, "num_hidden_layers", None),
        "vocabulary": model.get_input_embeddings().weight.shape[0],
        "context": getattr(config, "max_position_embeddings", None),
        "quantized_modules": sizes.quantized_modules(model),
        "attention": getattr(config, "_attn_implementation", None),
        "device": str(device),
        "dtype": str(dtype).removeprefix("torch."),
    }


def _first_line(error: BaseException) -> str:
    return (str(error) or type(error).__name__).strip().partition("\n")[0]
