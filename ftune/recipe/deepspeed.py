"""A DeepSpeed configuration beside a recipe: where it stands, what DeepSpeed is handed of it."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ftune.errors import RecipeError

KEY = "distributed.deepspeed"
AUTO = "auto"
MOST = 1_000_000  # bytes of a file


def read(value: str | Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """The configuration as written: inline, or in a JSON file whose path starts at ``folder``.

    Raises:
        RecipeError: there is no such file, or it is no JSON object.
    """
    if not isinstance(value, str):
        return json.loads(json.dumps(value))  # lists instead of tuples
    file = folder / os.path.expanduser(value)  # noqa: PTH111 (Path's own fails without a home)
    try:
        if "\0" in value or not file.is_file():
            raise RecipeError(f"{KEY}: there is no file {value!r}; {_starts(folder)}")
        if file.stat().st_size > MOST:
            raise RecipeError(f"{KEY}: {value} has more than {MOST:,} bytes; is it the right file?")
        found = json.loads(file.read_text(encoding="utf-8"), object_pairs_hook=_once)
    except (OSError, RuntimeError, ValueError, RecursionError) as error:
        raise RecipeError(f"{KEY}: {value} can't be read as JSON ({error})") from error
    if not isinstance(found, dict):
        raise RecipeError(f"{KEY}: {value} holds no JSON object; begin it with {{")
    return found


def _starts(folder: Path) -> str:
    return f"a relative path starts at the recipe's folder, {folder}"


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found:
            raise ValueError(f"{key} stands there twice")
        found[key] = value
    return found


def stage(config: Mapping[str, Any]) -> int:
    """The stage of ZeRO: 0, DeepSpeed's default, to 3."""
    zero = config.get("zero_optimization")
    return int(zero.get("stage", 0)) if isinstance(zero, Mapping) else 0


def settled(config: Mapping[str, Any], train: Any) -> dict[str, Any]:
    """What DeepSpeed is handed: "auto" left out or filled, all that the loop does by itself off."""
    zero = {
        key: _filled(one)
        for key, one in config.get("zero_optimization", {}).items()
        if one not in (AUTO, None)
    }
    return {
        # Rows are counted by the loop; DeepSpeed needs numbers that fit each other.
        "train_micro_batch_size_per_gpu": 1,
        "gradient_accumulation_steps": 1,
        "gradient_clipping": float(train.max_grad_norm or 0.0),
        "steps_per_print": None,
        "zero_allow_untested_optimizer": True,
        "zero_force_ds_cpu_optimizer": False,
        "zero_optimization": zero,
    }


def _filled(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: v for k, v in value.items() if v != AUTO}
    return int(value) if isinstance(value, float) else value
