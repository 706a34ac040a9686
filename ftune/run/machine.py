"""What a run ran on, for its record: versions and hardware, and no environment variables."""

from __future__ import annotations

import importlib.metadata
import os
import platform
from pathlib import Path
from typing import Any

import psutil

from ftune import __version__

PACKAGES = (
    "torch",
    "transformers",
    "datasets",
    "peft",
    "bitsandbytes",
    "accelerate",
    "tokenizers",
    "safetensors",
    "pyarrow",
    "numpy",
    "sacrebleu",
    "rouge-score",
)


def describe() -> dict[str, Any]:
    """Python, system, processor, memory in bytes, and the versions of the packages that matter."""
    return {
        "ftune": __version__,
        "python": platform.python_version(),
        "system": platform.platform(),
        "processor": _processor(),
        "cores": os.cpu_count(),
        "memory_bytes": psutil.virtual_memory().total,
        "packages": {name: _version(name) for name in PACKAGES},
    }


def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    if info.is_file():
        for line in info.read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def differences(before: dict[str, Any], now: dict[str, Any]) -> list[str]:
    """Package versions, Python and processor that differ between two records, in words."""
    lines = [
        f"{key} was {before.get(key)}, is {now[key]}"
        for key in ("ftune", "python", "processor")
        if before.get(key) not in (None, now[key])
    ]
    old = before.get("packages", {})
    lines += [
        f"{name} was {old[name]}, is {version}"
        for name, version in now["packages"].items()
        if name in old and old[name] != version
    ]
    return lines
