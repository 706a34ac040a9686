"""Models as the stages need them: the base with a fresh adapter, or with a trained one."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ftune.recipe.view import View
from ftune.registry import METHODS
from ftune.run.progress import Progress
from ftune.stages import tasks
from ftune.types import Task

MODEL_KEYS = ("model", "distributed.mixed_precision", "train.objective", "train.seed")


@dataclass(frozen=True)
class Tuned:
    """A base and the model that is tuned on it; the tuned one stands on the base's modules."""

    base: Any  # ftune.model.loading.Loaded
    model: Any
    why_whole: str = ""  # why its weights were read before it is split, where they were

    @property
    def tokenizer(self) -> Any:
        """The tokenizer, with the recipe's added tokens."""
        return self.base.tokenizer


def load_base(
    recipe: View, allow_code: bool, task: Task | None = None, in_shares: bool = False
) -> Any:
    """The base model as the recipe's model section says; a new head follows from the seed.

    ``task`` is what its rows and objective make of it; by default it is a language model.
    ``in_shares``: its weights stay in the files until it is split (``loading.load_model``).
    """
    import torch

    from ftune.model.loading import load_model, load_tokenizer

    tokenizer = load_tokenizer(recipe.model, allow_code)
    torch.manual_seed(recipe.train.seed)
    precision = recipe.distributed.mixed_precision
    return load_model(recipe.model, tokenizer, precision, allow_code, task, in_shares)


def fresh(
    recipe: View, allow_code: bool, task: Task | None = None, in_shares: bool = False
) -> Tuned:
    """The base with an adapter that is not trained yet; new weights follow from the seed."""
    import torch

    base = load_base(recipe, allow_code, task, in_shares)
    torch.manual_seed(recipe.train.seed)
    method = METHODS.load(recipe.tune.name)
    return Tuned(base, method.attach(base.model, recipe.tune.config, base.tokenizer))


def trained(recipe: View, allow_code: bool, adapter: Path, progress: Progress) -> Tuned:
    """The base with the adapter that a run saved."""
    from ftune.model import adapters

    base = load_base(recipe, allow_code, tasks.told_in(adapter))
    return Tuned(base, adapters.load(base, adapter, progress=progress))


def base_identity(recipe: View, allow_code: bool) -> dict[str, Any]:
    """What the recipe's model name stands for: sha256 or commit."""
    from ftune.model.resolve import locate

    code = recipe.model.trust_remote_code and allow_code
    return locate(recipe.model.name_or_path, recipe.model.revision, code).identity
