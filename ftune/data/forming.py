"""A source's format, made ready: rows -> examples.

Most formats look at the row alone, by their ``example``. One that draws, or reads a file, has
``opened(config, setting)`` as well, which gives its own ``Forming``; and ``files(config)``, the
files that it reads.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from ftune.data.sources import identity as rows_identity
from ftune.registry import FORMATS
from ftune.run.atomic import sha256
from ftune.types import Row


@dataclass(frozen=True, slots=True)
class Setting:
    """Where a source stands: the recipe's folder, and what draws for its rows follow from."""

    folder: Path
    seed: int = 0
    source: int = 0  # the source's place among those of its split, from 0


class Forming(Protocol):
    """What makes examples of a source's rows."""

    def example(self, row: Row) -> Any:
        """The row as an Example or Labelled.

        Raises:
            DataError: the format can't read it.
        """

    def like(self, row: Row, other: Any) -> Any:
        """The same, drawn as for the example ``other``: written by the same template; None where
        that template is not meant for the row."""


class Plain:
    """Of a format that looks at the row alone."""

    def __init__(self, module: Any, config: Any) -> None:
        self._module, self._config = module, config

    def example(self, row: Row) -> Any:
        """See ``Forming``."""
        return self._module.example(row.value, self._config)

    def like(self, row: Row, other: Any) -> Any:  # noqa: ARG002
        """See ``Forming``."""
        return self.example(row)


def forming(source: Any, setting: Setting) -> Forming:
    """What makes examples of the rows of ``source``.

    Raises:
        RecipeError: a file that the format reads is not there, or wrong.
    """
    module, config = FORMATS.load(source.format.name), source.format.config
    if hasattr(module, "opened"):
        made: Forming = module.opened(config, setting)
        return made
    return Plain(module, config)


def identity(source: Any, folder: Path, streamed: bool = False) -> dict[str, Any]:
    """What tells this source's examples from others: its rows, and the files beside them.

    ``streamed``: see ``sources.identity``.

    Raises:
        DataError: the source isn't there.
    """
    found = rows_identity(source, folder, streamed)
    module = FORMATS.load(source.format.name)
    paths = module.files(source.format.config) if hasattr(module, "files") else ()
    beside = {path: sha256(file) for path in paths if (file := folder / path).is_file()}
    if beside:
        found["files"] = beside
    shots = source.few_shot
    if shots is not None and shots.pool is not None:
        found["pool"] = rows_identity(shots.pool, folder)
    return found
