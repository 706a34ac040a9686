"""What the tuning methods that stand on PEFT share."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from ftune.errors import ModelError
from ftune.model import heads, sizes, soft, vocabulary
from ftune.model.quiet import quiet

# Starts of LoRA that move parts of the base's own weights into the adapter.
STARTS_WITHIN = ("pissa", "olora", "corda", "loftq")


def is_peft(model: Any) -> bool:
    """Whether the trained part of ``model`` is a PEFT adapter and not the model itself."""
    return hasattr(model, "peft_config")


def keeps_base(model: Any) -> bool:
    """Whether ``model`` is the untouched base while its adapter is disabled.

    A fully trained model isn't, nor are adapters that start with parts of the base's own weights.
    PEFT can't disable virtual tokens before a model that doesn't generate.
    """
    if not is_peft(model):
        return False
    generates = hasattr(model, "prepare_inputs_for_generation")
    return not any(
        str(getattr(config, "init_lora_weights", "")).startswith(STARTS_WITHIN)
        or (config.is_prompt_learning and not generates)
        for config in model.peft_config.values()
    )


def attach(model: Any, config: Any) -> Any:
    """``model`` with the adapter that a PEFT ``config`` describes, all else frozen.

    Raises:
        ModelError: PEFT refuses it, or nothing would be trained.
    """
    from peft import get_peft_model

    config.task_type = heads.peft_task(model)
    soft.fit(model, config)
    if head := heads.head_modules(model):
        _add_head(config, head)
    try:
        with quiet(), nothing_compiled():
            tuned = get_peft_model(model, config)
    except (ValueError, TypeError, NotImplementedError, RuntimeError, ImportError) as error:
        line = str(error).strip().partition("\n")[0]
        raise ModelError(f"tune: {line} (said by PEFT)") from error
    if not sizes.count(tuned).trainable:
        raise ModelError("tune: nothing would be trained with these settings")
    return tuned


def _add_head(config: Any, head: tuple[str, ...]) -> None:
    """Has PEFT train and save the task's own modules whole, beside what the config names.

    Raises:
        ModelError: this kind of adapter can't carry them.
    """
    if not hasattr(config, "modules_to_save"):
        raise ModelError(
            f"tune.method: {str(config.peft_type).rpartition('.')[2].lower()} can't carry the new "
            f"head ({', '.join(head)}) of this task; take lora, or full"
        )
    config.modules_to_save = sorted({*(config.modules_to_save or ()), *head})


@contextmanager
def nothing_compiled() -> Iterator[None]:
    """Keeps PEFT from building BOFT's CUDA extension, which it tries for every layer it makes.

    A training must not start compilers; without the extension PEFT computes the same with torch.
    """
    from peft.tuners.boft import layer

    own = layer.get_fbd_cuda
    layer.get_fbd_cuda = lambda: None
    try:
        yield
    finally:
        layer.get_fbd_cuda = own


def targets(model: Any, names: str | tuple[str, ...], key: str = "tune.target_modules") -> Any:
    """``names`` as PEFT's configs take them.

    Raises:
        ModelError: one of them names no module.
    """
    check_targets(model, names, key)
    return names if isinstance(names, str) else list(names)


def check_targets(
    model: Any, targets: str | tuple[str, ...], key: str, shown: str | None = None
) -> None:
    """Refuses a target that names no module, listing those that can be named.

    Args:
        model: the base.
        targets: names or ends of names, a regular expression, or "all-linear".
        key: the recipe's key, for the message.
        shown: what the recipe says, where ``targets`` is made of it.
    """
    modules = [name for name, _ in model.named_modules() if name]
    if targets == "all-linear":
        return
    if isinstance(targets, str):
        said = targets if shown is None else shown
        try:
            missing = [] if any(re.fullmatch(targets, name) for name in modules) else [said]
        except re.error as error:
            raise ModelError(f"{key}: {said!r} is not a regular expression: {error}") from error
    else:
        missing = [t for t in targets if not any(f".{name}".endswith(f".{t}") for name in modules)]
    if missing or not targets:
        raise ModelError(
            f"{key}: {', '.join(missing) or 'an empty list'} matches no module of "
            f"{type(model).__name__}; there are: {', '.join(linear_names(model))}"
        )


def linear_names(model: Any) -> list[str]:
    """The last parts of the names of all linear layers and embeddings, sorted."""
    kinds = ("Linear", "Linear4bit", "Linear8bitLt", "Conv1D", "Embedding")
    found = {n.rpartition(".")[2] for n, m in model.named_modules() if type(m).__name__ in kinds}
    return sorted(found)


def token_indices(
    model: Any, tokenizer: Any, fully_trained: Iterable[str]
) -> dict[str, list[int]] | None:
    """Rows of the embeddings that are trained because the recipe adds their tokens.

    By module name: the input embedding, and the head where it has weights of its own. Modules that
    ``fully_trained`` names have all their rows trained anyway. None if there are no such rows.
    """
    ids = list(vocabulary.added_ids(tokenizer))
    if not ids:
        return None
    embedding, head = model.get_input_embeddings(), model.get_output_embeddings()
    found = [embedding] if head is None or head.weight is embedding.weight else [embedding, head]
    named = {
        name: ids
        for name, module in model.named_modules()
        if any(module is wanted for wanted in found)
        and not any(f".{name}".endswith(f".{other}") for other in fully_trained)
    }
    return named or None


def is_tied(model: Any) -> bool:
    """Whether the head uses the input embedding's weights."""
    head = model.get_output_embeddings()
    return head is not None and head.weight is model.get_input_embeddings().weight


def refuse_added_tokens(tokenizer: Any, method: str) -> None:
    """Raises ModelError if the recipe adds tokens, whose embeddings ``method`` would not train."""
    if vocabulary.added_ids(tokenizer):
        raise ModelError(
            f"model.add_tokens: {method} leaves all embeddings as they are, so added tokens would "
            "never be learned; take lora or full"
        )


def quantized_bits(model: Any) -> int | None:
    """4 or 8, or None for a base that is not quantized."""
    if getattr(model, "is_loaded_in_4bit", False):
        return 4
    return 8 if getattr(model, "is_loaded_in_8bit", False) else None


def refuse_quantized(model: Any, method: str, few: tuple[int, ...]) -> None:
    """Raises ModelError where the base has as few bits: PEFT's ``method`` reads its weights as
    plain numbers of the layer's shape, which packed ones are not."""
    if (bits := quantized_bits(model)) in few:
        raise ModelError(
            f"tune.method: {method} computes with the weights themselves, and those of a base in "
            f"{bits} bits are packed; leave out model.quantization, or take lora"
        )
