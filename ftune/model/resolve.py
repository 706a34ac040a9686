"""Where a base model lies, and what identifies it; no torch."""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from ftune.errors import ModelError
from ftune.model import hub, weights
from ftune.run import atomic

ASSETS = Path(__file__).parent.parent / "assets"
SHIPPED = "ftune:"
_HUB_ID = re.compile(r"[\w.-]+(/[\w.-]+)?")
_COMMIT = re.compile(r"[0-9a-f]{40}")
# What decides how text becomes ids.
_TOKENIZER = ("tokenizer*", "special_tokens_map.json", "added_tokens.json", "vocab.*", "merges.txt",
              "chat_template*", "*.model")  # fmt: skip
_READ = ("*.json", "*.jinja", "*.model", "*.txt")  # what a tokenizer may open besides the weights


@dataclass(frozen=True)
class Located:
    """A model's folder, with the ``name`` that the recipe gives it."""

    folder: Path
    name: str
    commit: str | None = None

    @cached_property
    def identity(self) -> dict[str, Any]:
        """What tells this base from others: name, fingerprint, and commit or sha256.

        A model of the hub is identified by its commit. Of a local folder the weights and
        config.json are hashed, which takes about a second a gigabyte. ``fingerprint`` (see
        ``weights.fingerprint``) is the same for a copy of the model elsewhere.
        """
        paths = weights.files(self.folder)
        facts: dict[str, Any] = {"name": self.name, "fingerprint": weights.fingerprint(paths)}
        if self.commit:
            return {**facts, "commit": self.commit}
        hashed = {p.name: atomic.sha256(p) for p in [self.folder / "config.json", *paths]}
        text = json.dumps(hashed, sort_keys=True)
        return {**facts, "sha256": hashlib.sha256(text.encode()).hexdigest()}

    @cached_property
    def tokenizer_identity(self) -> dict[str, str]:
        """sha256 of each file of the tokenizer, its chat template included."""
        paths = {p for pattern in _TOKENIZER for p in self.folder.glob(pattern) if p.is_file()}
        return {p.name: atomic.sha256(p) for p in sorted(paths)}


def locate(name_or_path: str, revision: str | None = None, code: bool = False) -> Located:
    """Finds a shipped, local or hub model, and checks its files without loading them.

    Args:
        name_or_path: ``ftune:<name>``, a local folder, or a hub id.
        revision: branch, tag or commit on the hub.
        code: whether the model's own Python files are wanted.

    Raises:
        ModelError: not there, not complete, not safetensors, or a file that can't be trusted.
    """
    located = _find(name_or_path, revision, code)
    _check(located, revision)
    return located


def _find(name: str, revision: str | None, code: bool) -> Located:
    if name.startswith(SHIPPED):
        folder = ASSETS / name.removeprefix(SHIPPED)
        if not re.fullmatch(r"[\w-]+", name.removeprefix(SHIPPED)) or not folder.is_dir():
            there = sorted(SHIPPED + p.parent.name for p in ASSETS.glob("*/config.json"))
            raise ModelError(f"{name}: does not ship with ftune; there is: {', '.join(there)}")
        return Located(folder, name)
    path = Path(name).expanduser()
    if path.is_dir():
        if revision:
            raise ModelError(f"{name}: is a local folder, which has no revision {revision!r}")
        return Located(path, name)
    if path.exists():
        raise ModelError(f"{name}: is a file; name the folder that holds the model")
    if not _HUB_ID.fullmatch(name) or name.startswith("."):
        raise ModelError(f"{name}: there is no such folder")
    folder = hub.fetch(name, revision, code)
    return Located(folder, name, folder.name if _COMMIT.fullmatch(folder.name) else None)


def _check(located: Located, revision: str | None) -> None:
    folder = located.folder
    if not (folder / "config.json").exists():
        if any((folder / n).exists() for n in ("adapter_config.json", "delta_config.json")):
            raise ModelError(
                f"{located.name}: is an adapter, not a model; name the model it was trained on"
            )
        raise ModelError(f"{folder}: has no config.json; is it a model's folder?")
    weights.read_json(folder, "config.json")
    if (folder / "adapter_config.json").exists():
        raise ModelError(
            f"{folder}: holds an adapter beside the model, which would be loaded with it; "
            "move adapter_config.json elsewhere, or merge the adapter first"
        )
    for path in sorted(p for pattern in _READ for p in folder.glob(pattern)):
        weights.inside(folder, path)
    try:
        paths = weights.files(folder)
    except ModelError as error:
        pickled = located.commit and hub.pickled_only(located.name, revision)
        if not pickled:
            raise
        raise ModelError(
            f"{located.name}: has only pickled weights on the hub ({pickled}), which can run code "
            "when they are read; look for a revision with safetensors (often refs/pr/1), or "
            "another copy of the model"
        ) from error
    for path in paths:
        weights.header(path)
