"""Models with the head that a task asks for, on a pre-trained body that is read whole.

transformers gives whatever it does not find random numbers, and says so in a log that scrolls by: a
new head is meant to have them, and the layers below are not. Here only the head may be new.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ftune.errors import ModelError
from ftune.model import soundness
from ftune.registry import KINDS
from ftune.types import Task

MARK = "_ftune_task"  # the attribute of a model that says what it is for
WRITERS = ("causal_lm", "seq2seq_lm")  # whose head belongs to the pre-trained model
POOLERS = ("pooler",)  # part of the body by name, but missing where a model was trained without


def mark(model: Any, task: Task) -> None:
    """Notes what the model is for."""
    setattr(model, MARK, task)


def task_of(model: Any) -> Task:
    """What the model is for; a language model, where nobody said otherwise."""
    inner = model.get_base_model() if hasattr(model, "peft_config") else model
    return getattr(inner, MARK, None) or Task()


def writes(task: Task) -> bool:
    """Whether such a model writes text, with the head that it was pre-trained with."""
    return task.kind in WRITERS


def peft_task(model: Any) -> str | None:
    """What PEFT calls it; None where it has no name for it."""
    found: str | None = KINDS.load(task_of(model).kind).PEFT_TASK
    return found


def head_modules(model: Any) -> tuple[str, ...]:
    """The modules that belong to the task and not to the pre-trained body; none of LMs.

    They are trained whatever the method, and saved with what it trains.
    """
    if writes(task_of(model)):
        return ()
    own = [name for name, module in model.named_children() if list(module.parameters())]
    return (
        *(name for name in own if name != model.base_model_prefix),
        *getattr(model, "_ftune_new_poolers", ()),
    )


def head_parameters(model: Any) -> list[str]:
    """The names of the parameters in ``head_modules``."""
    modules = head_modules(model)
    return [
        name
        for name, _ in model.named_parameters()
        if any(name.startswith(f"{module}.") for module in modules)
    ]


def read(folder: str, name: str, task: Task, options: Mapping[str, Any]) -> Any:
    """The model in ``folder`` with the head of ``task``, drawn anew where the files have none.

    ``options`` are for ``from_pretrained``, which is asked for its loading info.

    Raises:
        ModelError: the architecture has no such head, or the body is not in the files.
    """
    config, architecture = _architecture(folder, name, task, options)
    if writes(task):
        answer: Any = architecture.from_pretrained(folder, **options)
        soundness.check_complete(name, answer[1])
        mark(answer[0], task)
        return answer[0]
    chosen = KINDS.load(task.kind).options(task)
    quantized = options.get("quantization_config")
    if quantized is not None:  # what is drawn anew, and trained, can't be kept in a few bits
        quantized.llm_int8_skip_modules = [*_outside(config, architecture), *POOLERS]
    model, info = architecture.from_pretrained(folder, **options, **chosen)
    new = {*info["missing_keys"], *(str(key[0]) for key in info["mismatched_keys"])}
    inside = f"{model.base_model_prefix}."
    poolers = {key for key in new if key.startswith(inside) and _is_pooler(key)}
    missing = {key for key in new if key.startswith(inside)} - poolers
    if missing:
        _take_body(model, folder, name, options)
    elif lost := {k for k in info["unexpected_keys"] if k.startswith(inside) and not _is_pooler(k)}:
        raise ModelError(
            f"{name}: {soundness.names(lost)} are in its files but nowhere in "
            f"{type(model).__name__}; download the model again"
        )
    model._ftune_new_poolers = tuple(sorted({key.rsplit(".", 2)[0] for key in poolers}))
    mark(model, task)
    return model


def _architecture(
    folder: str, name: str, task: Task, options: Mapping[str, Any]
) -> tuple[Any, Any]:
    """The configuration, and the class of the model with its head.

    Raises:
        ModelError: transformers has none.
    """
    import transformers

    code = options.get("trust_remote_code", False)
    config = transformers.AutoConfig.from_pretrained(
        folder, trust_remote_code=code, local_files_only=True
    )
    auto = getattr(transformers, KINDS.load(task.kind).AUTO)
    known = type(config) in auto._model_mapping
    if not known and not code:
        raise ModelError(
            f"{name}: transformers has no {config.model_type} model with a head for "
            f"{task.kind.replace('_', ' ')}; take an encoder (of BERT's kind), or another "
            "train.objective"
        )
    return config, auto._model_mapping[type(config)] if known else auto


def _outside(config: Any, architecture: Any) -> list[str]:
    """The modules of a model that are not its body."""
    import torch

    with torch.device("meta"):
        made = getattr(architecture, "from_config", architecture)(config)
    return [name for name, _ in made.named_children() if name != made.base_model_prefix]


def _is_pooler(key: str) -> bool:
    return any(part in key.split(".") for part in POOLERS)


def _take_body(model: Any, folder: str, name: str, options: Mapping[str, Any]) -> None:
    """Puts the body of the language model in ``folder`` into ``model``.

    Files may hold shared embeddings under the output head's name only, and some architectures call
    their body otherwise for each head: then ``from_pretrained`` finds less than there is.

    Raises:
        ModelError: it is not whole there either.
    """
    from transformers import AutoModelForCausalLM

    try:
        answer: Any = AutoModelForCausalLM.from_pretrained(folder, **options)
    except ValueError as error:
        raise ModelError(
            f"{name}: its files lack parts of {type(model).__name__}, which would be random; take "
            "another model"
        ) from error
    source, info = answer
    soundness.check_complete(name, info)
    body = source.base_model
    if type(body) is not type(model.base_model):
        raise ModelError(f"{name}: has no body that {type(model).__name__} could stand on")
    body.config = model.config
    setattr(model, model.base_model_prefix, body)


def settle(model: Any, tokenizer: Any) -> None:
    """What a head needs to be told: which token pads, and that nothing is generated."""
    config = model.config.get_text_config()
    pad = tokenizer.pad_token_id
    model.config.pad_token_id = config.pad_token_id = 0 if pad is None else pad
    model.config.use_cache = config.use_cache = False
