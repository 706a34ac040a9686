"""Tensors of a model's files under the names that transformers gives them, read a few at a time.

Files may call a tensor otherwise, or hold it in parts that are put together (an expert at a time);
which, transformers says when it loads the model. Nothing is held here between two reads.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from copy import deepcopy
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ftune.errors import ModelError


@dataclass
class Made:
    """Tensors that a converter of transformers makes; ``sources`` are keys with their patterns."""

    converter: Any
    first: str  # the name by which the converter knows what it makes
    sources: list[tuple[str, str]] = field(default_factory=list)


@dataclass
class Pieces:
    """Where the tensors of a model are.

    ``files`` are those of all keys, ``plain`` the keys of tensors that are read as they are,
    ``made`` how others are put together, ``kinds`` the type of each tensor in the model.
    """

    model: Any
    files: dict[str, Path]
    plain: dict[str, str]
    made: dict[str, Made]
    kinds: dict[str, Any]

    def has(self, name: str) -> bool:
        """Whether the files have a tensor of this name."""
        return name in self.plain or name in self.made

    def read(self, names: Iterable[str]) -> dict[str, Any]:
        """The tensors of these names, on the CPU; those that are as in the file are views of it.

        Raises:
            ModelError: a file can't be read any more.
        """
        wanted = set(names)
        found = {}
        with _Opened() as opened:
            try:
                for name in wanted & self.plain.keys():
                    key = self.plain[name]
                    found[name] = opened.tensor(self.files[key], key).to(self.kinds[name])
                for group in {id(g): g for n, g in self.made.items() if n in wanted}.values():
                    made = self._make(group, lambda key: opened.tensor(self.files[key], key))
                    found |= {name: t for name, t in made.items() if name in wanted}
            except ModelError:
                raise
            except Exception as error:
                line = str(error).strip().partition("\n")[0]
                raise ModelError(
                    f"{', '.join(sorted({p.name for p in self.files.values()})[:3])}: a tensor of "
                    f"the model can't be read any more ({line}); were its files changed? download "
                    "the model again"
                ) from error
        return found

    def _make(self, group: Made, tensor: Any) -> dict[str, Any]:
        converter = deepcopy(group.converter)
        for key, pattern in group.sources:
            kind = self.kinds[group.first]
            converter.add_tensor(group.first, key, pattern, _later(tensor, key, kind))
        made = converter.convert(group.first, model=self.model, config=self.model.config)
        return {n: t[0] if isinstance(t, list) else t for n, t in made.items()}


def _later(tensor: Any, key: str, kind: Any) -> Any:
    return lambda: tensor(key).to(kind)


class _Opened:
    """Files that are open for one reading."""

    def __init__(self) -> None:
        self._handles: dict[Path, Any] = {}

    def __enter__(self) -> _Opened:
        return self

    def __exit__(self, *error: object) -> None:
        for handle in self._handles.values():
            handle.__exit__(None, None, None)

    def tensor(self, path: Path, key: str) -> Any:
        from safetensors import safe_open

        if path not in self._handles:
            self._handles[path] = safe_open(path, framework="pt").__enter__()
        return self._handles[path].get_tensor(key)


def plan(model: Any, paths: Sequence[Path]) -> Pieces:
    """Where each tensor of ``model`` is; its own tensors are on the meta device.

    ``model`` was loaded from ``paths``, so that it knows the names and conversions that it used.

    Raises:
        ModelError: transformers' converters don't work without numbers.
    """
    from transformers.core_model_loading import (
        WeightConverter,
        WeightRenaming,
        dot_natural_key,
        rename_source_key,
    )

    from ftune.model import weights

    files = {key: path for path in paths for key in weights.header(path)}
    there = model.state_dict()
    used = getattr(model, "_weight_conversions", None) or []
    renamings = [each for each in used if isinstance(each, WeightRenaming)]
    converters = [each for each in used if isinstance(each, WeightConverter)]
    by_pattern = {p: each for each in converters for p in each.source_patterns}
    prefix = model.base_model_prefix
    found = Pieces(model, files, {}, {}, {name: t.dtype for name, t in there.items()})
    groups: dict[str, Made] = {}
    for key in sorted(files, key=dot_natural_key):
        name, pattern = rename_source_key(key, renamings, converters, prefix, there)
        if name not in there and key in there:
            name, pattern = rename_source_key(key, [], [], prefix, there)
        if name not in there:
            continue  # not of this model, as whoever loaded it was told
        if pattern is None:
            found.plain[name] = key
        else:
            group = groups.setdefault(name, Made(by_pattern[pattern], name))
            group.sources.append((key, pattern))
    for group in groups.values():
        with _Opened() as opened:
            made = found._make(group, lambda key: opened.tensor(files[key], key).to("meta"))
        found.made |= dict.fromkeys(made, group)
    return found
