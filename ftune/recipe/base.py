"""The bases of a recipe's sections, and of the ``Config`` that each extension file holds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, ConfigDict


class Section(BaseModel):
    """Frozen, strict, and without room for unknown keys; a docstring stands under every field.

    Sequences are tuples: the YAML reader makes tuples of lists.
    """

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        strict=True,
        allow_inf_nan=False,
        use_attribute_docstrings=True,
        protected_namespaces=(),
        arbitrary_types_allowed=True,
    )


@dataclass(frozen=True)
class Chosen:
    """An extension that a recipe names, and its validated ``Config``.

    Written as ``name``, as ``{name: {option: value}}``, or, for ``tune`` and the format of a
    source, as keys beside the name.
    """

    name: str
    config: Any  # the extension's Config, a Section
