"""The trained part of a model on disk: saved whole, and checked on the way in."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ftune.errors import ModelError, RunError
from ftune.model import deltas, heads, manifest, multitask, soundness, weights
from ftune.model.attaching import is_peft, nothing_compiled
from ftune.model.loading import Loaded, read
from ftune.model.quiet import quiet
from ftune.model.resolve import locate
from ftune.recipe.schema import Model
from ftune.run.progress import Progress, Silent

CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
STARTS = (True, False, "gaussian", "orthogonal", "olora", "pissa")  # need no data to be made again


def save(
    model: Any,
    folder: Path,
    *,
    base: Mapping[str, Any],
    tokenizer: Any,
    method: str,
    beside: Sequence[Path] = (),
) -> None:
    """Writes what was trained to ``folder``, which appears (or is replaced) by rename.

    A PEFT adapter is saved PEFT's way, a fully trained model as a whole model, and of a model of
    which a part was trained that part alone; beside it stand the tokenizer and ``ftune.json``.

    Args:
        model: from a method's ``attach``, not wrapped for several processes.
        folder: where to.
        base: ``identity`` of the base.
        tokenizer: saved with it.
        method: the tuning method's name.
        beside: files that are copied into the folder.

    Raises:
        ModelError: a tensor is not finite.
        RunError: it can't be written.
    """
    trained = ((n, p) for n, p in model.named_parameters() if p.requires_grad)
    soundness.check_tensors("the trained weights", trained)
    with manifest.replaced(folder) as part:
        with quiet():
            if is_peft(model):
                config = model.peft_config[model.active_adapter]
                config.base_model_name_or_path = str(base["name"])
                config.revision = base.get("commit")
                # Rows of added tokens are in the adapter; whole embeddings are never needed.
                model.save_pretrained(str(part), save_embedding_layers=False)
                (part / "README.md").unlink(missing_ok=True)  # a form that PEFT leaves to fill in
            elif deltas.is_delta(model):
                deltas.save(model, part, method, str(base["name"]))
            else:
                model.save_pretrained(str(part))
            tokenizer.save_pretrained(str(part))
        for path in beside:
            shutil.copyfile(path, part / path.name)
        manifest.write(part, method, base, getattr(model, multitask.MARK, ()))


def load(
    base: Loaded, folder: Path, trainable: bool = False, progress: Progress | None = None
) -> Any:
    """The base with what was trained.

    The base's own model object is changed by it, and must not be used on its own afterwards.

    Args:
        base: from ``load_model`` with the same ``add_tokens`` as in training.
        folder: written by ``save`` or by PEFT.
        trainable: whether training goes on.
        progress: is told where it can't be proved that adapter and base belong together.

    Raises:
        ModelError: damaged, made for another base, tensors missing or too many, NaN, or only zeros.
    """
    told = manifest.read(folder)
    for note in manifest.check_base(folder, told, base.identity):
        (progress or Silent()).warn(note)
    if (folder / deltas.CONFIG).exists():
        return deltas.load(base, folder, trainable)
    if not (folder / CONFIG).exists():
        if told is None:
            raise ModelError(f"{folder}: has no {CONFIG}; is it an adapter's folder?")
        return _load_whole(base, folder, trainable)
    _check_weights(folder)
    model = _empty(base, folder, trainable)
    _fill(model, folder)
    if tasks := (told or {}).get("tasks"):
        multitask.mark(model, tasks)
    if not trainable:
        model.requires_grad_(False)  # PEFT leaves a soft prompt trainable
    return model.train(trainable)


def add(
    model: Any, base: Loaded, folder: Path, name: str, progress: Progress | None = None
) -> None:
    """Puts one more PEFT adapter beside those that ``model`` has, under ``name``, and not active.

    Args:
        model: from ``load``, with an adapter of the same kind.
        base: what it stands on.
        folder: written by ``save`` or by PEFT.
        name: the adapter's in PEFT.
        progress: is told where it can't be proved that adapter and base belong together.

    Raises:
        ModelError: as of ``load``.
    """
    told = manifest.read(folder)
    for note in manifest.check_base(folder, told, base.identity):
        (progress or Silent()).warn(note)
    _check_weights(folder)
    config = _config(model, folder, False)
    try:
        with quiet(), nothing_compiled():
            model.add_adapter(name, config)
    except Exception as error:
        line = str(error).strip().partition("\n")[0]
        raise ModelError(f"{folder}: does not fit this base: {line}") from error
    _fill(model, folder, name)


def _check_weights(folder: Path) -> None:
    """Raises ModelError where the adapter's tensors are missing, pickled or damaged."""
    if not (folder / WEIGHTS).exists():
        if list(folder.glob("*.bin")):
            raise ModelError(
                f"{folder}: holds pickled weights, which can run code when they are read; save it "
                "again with a newer PEFT, which writes safetensors"
            )
        raise ModelError(f"{folder / WEIGHTS}: is missing; copy the adapter again")
    weights.header(weights.inside(folder, folder / WEIGHTS))


def _load_whole(base: Loaded, folder: Path, trainable: bool) -> Any:
    section = Model(name_or_path=str(folder), attn_implementation=base.facts["attention"])
    model = read(section, locate(str(folder)), base.device, base.dtype, False, base.task)
    if not heads.writes(base.task):
        heads.settle(model, base.tokenizer)
    soundness.check_tensors(str(folder), model.named_parameters(), base.dtype)
    model.requires_grad_(trainable)
    return model.train(trainable)


def _empty(base: Loaded, folder: Path, trainable: bool) -> Any:
    """The base with an adapter as ``adapter_config.json`` describes it, not yet filled."""
    from peft import PeftModel
    from peft.mapping_func import MODEL_TYPE_TO_PEFT_MODEL_MAPPING

    config = _config(base.model, folder, trainable)
    try:
        with quiet(), nothing_compiled():
            made = MODEL_TYPE_TO_PEFT_MODEL_MAPPING.get(config.task_type or "", PeftModel)
            return made(base.model, config)
    except Exception as error:
        line = str(error).strip().partition("\n")[0]
        raise ModelError(f"{folder}: does not fit this base: {line}") from error


def _config(model: Any, folder: Path, trainable: bool) -> Any:
    """PEFT's config of what ``adapter_config.json`` describes, without what could run or open
    something that the file names."""
    from peft.mapping import PEFT_TYPE_TO_CONFIG_MAPPING

    plain = weights.read_json(folder, CONFIG)
    kind = PEFT_TYPE_TO_CONFIG_MAPPING.get(str(plain.get("peft_type")))  # type: ignore[call-overload]
    if kind is None:
        raise ModelError(f"{folder / CONFIG}: peft_type {plain.get('peft_type')!r} is not known")
    task = heads.peft_task(model)
    if plain.get("task_type") not in (None, task):
        raise ModelError(
            f"{folder / CONFIG}: was trained for {plain['task_type']}, and the recipe's objective "
            f"is for {task or heads.task_of(model).kind}; take the recipe that it was trained with"
        )
    if plain.get("init_lora_weights") in ("loftq", "eva"):  # filled from the file, as any other
        plain |= {"init_lora_weights": True, "eva_config": None}
    # Both would run or open something that the file names.
    if plain.get("megatron_config") or plain.get("init_lora_weights", True) not in STARTS:
        raise ModelError(
            f"{folder / CONFIG}: its megatron_config or init_lora_weights asks for more than the "
            "base and the adapter; convert it to a plain LoRA with PEFT"
        )
    if trainable and _has_lost_its_net(plain):
        raise ModelError(
            f"{folder}: its vectors were saved without the net that made them, so training can't "
            "go on from them; train again, or from a checkpoint of the run"
        )
    plain |= {"inference_mode": not trainable}
    if plain["peft_type"] in ("PROMPT_TUNING", multitask.KIND):
        plain |= {"prompt_tuning_init": "RANDOM", "tokenizer_name_or_path": None}
        plain |= {"prompt_tuning_init_text": None, "tokenizer_kwargs": None}
    if plain["peft_type"] == multitask.KIND:
        plain |= {"prompt_tuning_init_state_dict_path": None}
    try:
        with quiet():
            config = kind.from_peft_type(**kind.check_kwargs(**plain))
    except Exception as error:
        line = str(error).strip().partition("\n")[0]
        raise ModelError(f"{folder}: does not fit this base: {line}") from error
    config.task_type = task
    return config


def _fill(model: Any, folder: Path, name: str = "default") -> None:
    from peft.utils.save_and_load import get_peft_model_state_dict, set_peft_model_state_dict
    from safetensors.torch import load_file

    path = folder / WEIGHTS
    found = load_file(path)
    with quiet():  # it doubts layers whose rank fell to 0
        wanted = get_peft_model_state_dict(model, adapter_name=name, save_embedding_layers=False)
    # PEFT may have saved whole embeddings beside the adapter; they are taken where they fit.
    other = {k: v for k, v in model.state_dict().items() if k in found and "embed" in k}
    expected = {**other, **wanted}
    problems = {
        "missing in it": set(wanted) - set(found),
        "in it, but not in the adapter": set(found) - set(expected),
        "of another shape": {
            k for k in set(found) & set(expected) if found[k].shape != expected[k].shape
        },
    }
    told = [f"{soundness.names(names)} ({what})" for what, names in problems.items() if names]
    if told:
        raise ModelError(
            f"{path}: does not fit this base and adapter_config.json: {'; '.join(told)}"
        )
    soundness.check_tensors(str(path), found.items())
    if _untrained(found):
        raise ModelError(
            f"{path}: holds only zeros (or ones) where training would have changed them, so it is "
            "the plain base; train it (learning rate 0?) or copy it again"
        )
    with quiet():
        set_peft_model_state_dict(model, found, adapter_name=name)


def _untrained(tensors: Mapping[str, Any]) -> bool:
    """Whether all tensors hold what they start with, so that the adapter does nothing.

    LoRA's first matrix, what VeRA draws or sets, and of AdaLoRA all but the middle say nothing.
    """
    quiet_ones: tuple[str, ...] = ("lora_A", "vera_A", "vera_B", "vera_lambda_d")
    if any("lora_E" in name for name in tensors):
        quiet_ones += ("lora_B",)
    telling = {n: t for n, t in tensors.items() if not any(part in n for part in quiet_ones)}
    ones = ("ia3_l", "boft_s")  # factors, which start at 1
    return not any(
        bool((t != (1 if any(part in n for part in ones) else 0)).any()) for n, t in telling.items()
    )


def _has_lost_its_net(config: Mapping[str, Any]) -> bool:
    """Whether PEFT saved only what a prompt's net gave, not the net."""
    kind = config.get("peft_type")
    return kind == "P_TUNING" or (kind == "PREFIX_TUNING" and bool(config.get("prefix_projection")))


def state(model: Any) -> dict[str, Any]:
    """The trained tensors by parameter name, in their own dtype, for a checkpoint; not copied."""
    return {name: p.detach() for name, p in model.named_parameters() if p.requires_grad}


def load_state(model: Any, tensors: Mapping[str, Any]) -> None:
    """Puts back what ``state`` gave.

    Raises:
        RunError: names, shapes or dtypes differ.
    """
    import torch

    there = {name: p for name, p in model.named_parameters() if p.requires_grad}
    wrong = set(there) ^ set(tensors)
    wrong |= {
        name
        for name in set(there) & set(tensors)
        if (there[name].shape, there[name].dtype) != (tensors[name].shape, tensors[name].dtype)
    }
    if wrong:
        raise RunError(
            f"the checkpoint does not fit this model and tuning: {soundness.names(wrong)} differ; "
            "go back to the recipe that it was made with, or start anew with --fresh"
        )
    with torch.no_grad():
        for name, parameter in there.items():
            parameter.copy_(tensors[name])
