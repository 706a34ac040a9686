"""Says what the processes of a training held a share of, where the model was split."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def lines(told: Mapping[str, Any] | None) -> tuple[str, ...]:
    """A line for the report; ``told`` is ``Outcome.sharding``. None where nothing was split."""
    if told is None:
        return ()
    number = told["processes"]
    pairs = zip(told["parameter_bytes_of_each"], told["optimizer_bytes_of_each"], strict=True)
    each = ", ".join(f"{(own + moments) / 1e6:,.2f}" for own, moments in pairs)
    whole = (told["parameter_bytes"] + told["optimizer_bytes"]) / 1e6
    return (
        f"split over {number} process{'es' * (number != 1)}, gathered in {told['groups']} groups "
        f"({', '.join(told['layer_classes'])}, and the rest): {told['parameters_split']} of "
        f"{told['parameters']} parameters, {told['gradients_split']} of {told['trained']} "
        f"gradients and {told['optimizer_tensors_split']} of {told['optimizer_tensors']} tensors "
        f"of the optimizer are DTensors; of the {whole:,.2f} MB of parameters and optimizer the "
        f"processes hold {each} MB",
    )
