"""What ``ftune doctor`` looks at: each finding with its state, and what to do about it."""

from __future__ import annotations

import importlib.metadata
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import psutil

from ftune import __version__, environment
from ftune.model import devices
from ftune.run import machine

GIGABYTE = 10**9


@dataclass(frozen=True)
class Finding:
    """One line; ``remedy`` says what to do where ``state`` is not "ok"."""

    name: str
    state: Literal["ok", "warning", "problem"]
    text: str
    remedy: str = ""


def findings(folder: Path) -> Iterator[Finding]:
    """All findings, the quick ones first.

    Args:
        folder: where runs would be written.
    """
    told = machine.describe()
    yield Finding("ftune", "ok", f"{__version__}, Python {told['python']}")
    for name, version in told["packages"].items():
        yield _package(name, version)
    memory = psutil.virtual_memory()
    yield Finding(
        "machine",
        "ok",
        f"{told['processor']}, {told['cores']} cores, {memory.available / GIGABYTE:.1f} of "
        f"{memory.total / GIGABYTE:.1f} GB memory free",
    )
    yield _disk("disk", folder)
    yield _writable("ftune's cache", environment.cache_folder())
    yield from _hub()
    yield from _products("CPU", devices.probe())
    yield from _gpus()


def _package(name: str, version: str | None) -> Finding:
    from packaging.requirements import Requirement

    try:
        needed = [Requirement(line) for line in importlib.metadata.requires("ftune") or ()]
    except importlib.metadata.PackageNotFoundError:
        needed = []
    wanted = next((n.specifier for n in needed if n.name == name and not n.marker), None)
    if version is None:
        return Finding(name, "problem", "is not installed", f"pip install '{name}{wanted or ''}'")
    if wanted and not wanted.contains(version, prereleases=True):
        return Finding(
            name, "problem", f"{version}, but ftune needs {wanted}", f"pip install '{name}{wanted}'"
        )
    return Finding(name, "ok", f"{version}" + (f" (needs {wanted})" if wanted else ""))


def _disk(name: str, folder: Path) -> Finding:
    there = next(p for p in [folder.absolute(), *folder.absolute().parents] if p.exists())
    free = shutil.disk_usage(there).free
    text = f"{free / GIGABYTE:.1f} GB free at {there}"
    if free < 2 * GIGABYTE:
        return Finding(name, "warning", text, "make room, or set runs_dir to another disk")
    return Finding(name, "ok", text)


def _writable(name: str, folder: Path) -> Finding:
    there = next(p for p in [folder, *folder.absolute().parents] if p.exists())
    if os.access(there, os.W_OK):
        return Finding(name, "ok", str(folder))
    return Finding(
        name, "warning", f"{folder} can't be written", "set XDG_CACHE_HOME to a folder of yours"
    )


def _hub() -> Iterator[Finding]:
    from huggingface_hub import constants, get_token

    offline = environment.offline()
    yield Finding("hub", "ok", "offline (HF_HUB_OFFLINE)" if offline else "online when asked")
    yield _disk("hub's cache", Path(constants.HF_HUB_CACHE))
    text = "logged in" if get_token() else "not logged in; only needed for gated models"
    yield Finding("hub login", "ok", text)


def _products(where: str, facts: devices.Facts) -> Iterator[Finding]:
    """What ``devices`` found to work; float32 always does."""
    words = {"4bit": "4-bit (bitsandbytes)", "8bit": "8-bit (bitsandbytes)"}
    variables = " ".join(f"{name}={value}" for name, value in facts.variables.items())
    under = f" with {variables}, which ftune sets by itself" if variables else ""
    yield Finding(f"{where} float32", "ok", "works")
    for name in devices.NAMES:
        if name in facts.works:
            yield Finding(f"{where} {words.get(name, name)}", "ok", f"works{under}")
        else:
            remedy = "take dtype: float32" if name not in words else "leave out model.quantization"
            yield Finding(f"{where} {words.get(name, name)}", "warning", "does not work", remedy)


def _gpus() -> Iterator[Finding]:
    import torch

    if torch.backends.mps.is_available():
        yield Finding("mps", "ok", "Apple GPU, in float32")
    if not torch.cuda.is_available():
        built = torch.version.cuda or torch.version.hip
        text = "none that torch can use" if built else "none; this torch is built for CPUs"
        yield Finding("GPU", "ok", text)
        return
    for index in range(torch.cuda.device_count()):
        free, total = torch.cuda.mem_get_info(index)
        text = f"{torch.cuda.get_device_name(index)}, {free / 1e9:.1f} of {total / 1e9:.1f} GB free"
        yield Finding(f"GPU {index}", "ok", text)
    yield from _products("GPU", devices.try_device("cuda"))
