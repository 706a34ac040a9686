"""LoRA that begins with the directions in which the data spread most (EVA), through PEFT.

Paischer et al. 2024, https://arxiv.org/abs/2410.07170.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import redirect_stdout
from dataclasses import replace
from io import StringIO
from typing import Any

import torch

from ftune.errors import ModelError
from ftune.model.quiet import quiet
from ftune.types import Batch

PASSES = 50  # over the batches, after which directions that still turn are given up
Forward = Callable[[Batch], object]


def directions(tuned: Any, given: Sequence[tuple[Batch, Forward]]) -> dict[str, torch.Tensor]:
    """The first matrix of each LoRA layer by its name, of shape (rank, inputs); some have rank 0.

    PEFT's ``get_eva_state_dict`` on these batches: the inputs of a layer at the trained tokens, or
    at all tokens where the whole text is judged.

    Raises:
        ModelError: the batches are too small for so many directions, or they don't settle.
    """
    from peft.tuners.lora.eva import get_eva_state_dict

    batches = [batch for batch, _ in given if batch.count]
    if tuned.get_base_model().config.is_encoder_decoder:
        batches = [_apart(batch) for batch in batches]
    watched = _Watched(tuned, batches, given[0][1] if given else None)
    was_training = tuned.training
    try:
        with quiet(), redirect_stdout(StringIO()):  # PEFT prints which batches it passes over
            found = get_eva_state_dict(
                tuned,
                batches,
                forward_fn=watched.forward,
                prepare_model_inputs_fn=watched.masks,
                prepare_layer_inputs_fn=watched.inputs,
                gather_distributed_inputs=False,  # one process chooses for all
                show_progress_bar=False,
            )
    except ValueError as error:
        line = str(error).strip().partition("\n")[0]
        raise ModelError(
            f"tune.init_lora_weights: eva: {line} (said by PEFT); lower r or eva_rho, or take true"
        ) from error
    finally:
        tuned.train(was_training)
    # Layers with the same inputs share their directions, and files hold no tensor twice.
    return {name: tensor.detach().cpu().contiguous().clone() for name, tensor in found.items()}


def begin(tuned: Any, found: Mapping[str, Any]) -> None:
    """Gives each LoRA layer its rank and its first matrix; one of rank 0 becomes plain again."""
    from peft import initialize_lora_eva_weights

    device = next(p.device for p in tuned.parameters() if p.requires_grad)
    dtypes = {p.dtype for n, p in tuned.named_parameters() if "lora_A" in n}
    kept = {name: tensor.to(device) for name, tensor in found.items()}
    with quiet(), torch.random.fork_rng([device] if device.type == "cuda" else []):
        torch.manual_seed(0)  # what PEFT can't find directions for is drawn, always alike
        initialize_lora_eva_weights(tuned, eva_state_dict=kept)
    for name, parameter in tuned.named_parameters():
        if "lora_" in name and len(dtypes) == 1:  # a new rank came in the dtype of the base
            parameter.data = parameter.data.to(next(iter(dtypes)))


class _Watched:
    """The forward passes that PEFT asks for, counted, so that they end."""

    def __init__(self, tuned: Any, batches: Sequence[Batch], forward: Forward | None) -> None:
        if not batches or forward is None:
            raise ModelError(
                "tune.init_lora_weights: eva: none of the drawn rows has a token that is trained"
            )
        config = tuned.peft_config[tuned.active_adapter]
        self._wanted = round(config.r * config.eva_config.rho)
        self._batches, self._forward, self._done = len(batches), forward, 0
        self._writes = tuned.get_base_model().config.is_encoder_decoder
        self._most: dict[str, int] = {}  # inputs of a layer in one batch

    def forward(self, model: Any, batch: Batch) -> None:  # noqa: ARG002
        """One pass.

        Raises:
            ModelError: too few inputs in every batch, or too many passes.
        """
        few = {name: count for name, count in self._most.items() if count < self._wanted}
        if self._done > self._batches and few:
            name, count = next(iter(few.items()))
            raise ModelError(
                f"tune.init_lora_weights: eva looks for r * eva_rho = {self._wanted} directions in "
                f"each layer, and no batch gives {name} more than {count} inputs; lower r or "
                "eva_rho, give more rows, or leave the layer out of tune.target_modules"
            )
        if self._done > PASSES * self._batches:
            raise ModelError(
                f"tune.init_lora_weights: eva found no steady directions in {PASSES} passes over "
                f"its {self._batches} batches; raise tune.eva_batches, lower r or eva_rho, or "
                "take true"
            )
        self._done += 1
        self._forward(batch)

    def masks(self, batch: Batch, config: Any) -> list[torch.Tensor]:  # noqa: ARG002
        """The tokens that count, bool: of the input, and of an encoder-decoder's answers."""
        there = batch.attention_mask
        mask = torch.ones_like(batch.input_ids).bool() if there is None else there.bool()
        trained = batch.labels != -100
        found = [mask & trained if bool(trained.any()) else mask]
        if self._writes and batch.targets is not None:
            found.append(batch.targets != -100)
        return found

    def inputs(self, given: Any, masks: Sequence[torch.Tensor], name: str) -> torch.Tensor:
        """Those inputs of a layer that count, of shape (inputs, width)."""
        found: torch.Tensor = given if isinstance(given, torch.Tensor) else given[0]
        mask = next((m for m in masks if m.shape == found.shape[:-1]), None)
        found = (found.flatten(0, -2) if mask is None else found[mask]).contiguous()
        self._most[name] = max(self._most.get(name, 0), len(found))
        return found


def _apart(batch: Batch) -> Batch:
    """The batch with one more column of padding where questions and answers are equally wide.

    So a layer of an encoder-decoder tells by the shape of its inputs which of the two it reads.
    """
    if batch.targets is None or batch.targets.shape != batch.input_ids.shape:
        return batch
    assert batch.attention_mask is not None
    pad = torch.nn.functional.pad
    width = batch.input_ids.shape[1] + 1
    return replace(
        batch,
        input_ids=pad(batch.input_ids, (0, 1)),
        labels=pad(batch.labels, (0, 1), value=-100),
        attention_mask=pad(batch.attention_mask, (0, 1)),
        position_ids=torch.arange(width).expand(len(batch.input_ids), width),
        token_type_ids=None if batch.token_type_ids is None else pad(batch.token_type_ids, (0, 1)),
    )
