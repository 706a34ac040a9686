"""Device and dtype of a model: what truly works here, tried once in a child process and kept."""

from __future__ import annotations

import contextlib
import hashlib
import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ftune import environment
from ftune.errors import ModelError, RunError
from ftune.recipe.schema import Model
from ftune.run import atomic

if TYPE_CHECKING:
    import torch

NAMES = ("float16", "bfloat16", "4bit", "8bit")
TRIALS = (sys.executable, "-m", "ftune.model.trials")
CPU_TRIALS = (*TRIALS, "cpu")
# Instruction sets that oneDNN is held to, widest first: some machines show bfloat16 units that
# their hypervisor does not let through, and the product dies there with SIGILL.
SETS = ("", "AVX512_CORE_BF16", "AVX512_CORE", "AVX2")


@dataclass(frozen=True)
class Facts:
    """What works on this CPU, and the variables under which it does."""

    works: tuple[str, ...]  # of "float16", "bfloat16", "4bit", "8bit"; float32 always does
    variables: Mapping[str, str]


def probe(command: Sequence[str] = CPU_TRIALS, cache: Path | None = None) -> Facts:
    """What works on this CPU, from the machine's cache or from trials in a child process.

    Args:
        command: the child; it prints a JSON object of what works.
        cache: folder that keeps the answer; by default the user's cache folder.
    """
    path = (cache or environment.cache_folder()) / f"cpu-{_key()}.json"
    try:
        kept = json.loads(path.read_text(encoding="utf-8"))
        return Facts(
            tuple(map(str, kept["works"])), {str(k): str(v) for k, v in kept["set"].items()}
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        facts = _try(command)
    with contextlib.suppress(RunError, OSError):  # else only the next probe is dearer
        path.parent.mkdir(parents=True, exist_ok=True)
        atomic.write_json(path, {"works": list(facts.works), "set": dict(facts.variables)})
    return facts


def _key() -> str:
    """Changes with the processor, with torch and bitsandbytes, and with what the user has set."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        import platform

        lines = [platform.processor()]
    told = {line for line in lines if line.startswith(("model", "cpu family", "flags", "Features"))}
    parts = [*sorted(told or set(lines)), version("torch"), version("bitsandbytes")]
    parts.append(environment.get(environment.ONEDNN_ISA) or "")
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]


def _try(command: Sequence[str]) -> Facts:
    best = Facts((), {})
    sets = SETS[:1] if environment.get(environment.ONEDNN_ISA) else SETS
    for name in sets:
        variables = {environment.ONEDNN_ISA: name} if name else {}
        found = Facts(_run(command, variables), variables)
        if "bfloat16" in found.works:
            return found
        if len(found.works) > len(best.works):
            best = found
    return best


def try_device(name: str) -> Facts:
    """What works on a GPU, tried in a child process and not kept."""
    return Facts(_run([*TRIALS, name], {}), {})


def _run(command: Sequence[str], variables: Mapping[str, str]) -> tuple[str, ...]:
    try:
        done = subprocess.run(
            list(command),
            env=environment.for_child(variables),
            capture_output=True,
            timeout=120,
            check=True,
        )
        results = json.loads(done.stdout)
        return tuple(sorted(name for name, works in results.items() if works is True))
    except (OSError, subprocess.SubprocessError, ValueError, AttributeError):
        return ()


def choose(model: Model, mixed_precision: str = "no") -> tuple[torch.device, torch.dtype]:
    """Device and dtype for a model section.

    ``auto`` is bfloat16 on a GPU that has it and float32 elsewhere; with mixed precision the
    weights stay in float32, since autocast makes the narrow copies. Where the CPU needs a variable
    to do bfloat16 products it is set here, before the first product of this process.

    Raises:
        ModelError: the device is not there, or the dtype does not work on it; says what does.
    """
    import torch

    device = _device(model.device)
    if device.type == "cpu":
        _check_cpu(model, mixed_precision)
    if device.type == "mps" and (model.dtype == "bfloat16" or model.quantization):
        raise ModelError(
            "model: bfloat16 and quantization don't work on mps; take float32 or a GPU"
        )
    bf16 = "bfloat16" in (model.dtype, {"bf16": "bfloat16"}.get(mixed_precision))
    if device.type == "cuda" and bf16 and not torch.cuda.is_bf16_supported(False):
        raise ModelError("model.dtype: this GPU has no bfloat16; float32 and float16 work here")
    if mixed_precision == "fp16" and device.type != "cuda":
        raise ModelError("distributed.mixed_precision: fp16 needs a GPU; take bf16 or no")
    if model.dtype != "auto":
        return device, getattr(torch, model.dtype)
    native = (
        device.type == "cuda" and mixed_precision == "no" and torch.cuda.is_bf16_supported(False)
    )
    return device, torch.bfloat16 if native else torch.float32


def _device(name: str) -> torch.device:
    import torch

    there = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if name == "auto":
        name = next((n for n in there if there[n]), "cpu")
    if not there.get(name, True):
        raise ModelError(f"model.device: there is no {name} here; take auto or cpu")
    return (
        torch.device("cuda", torch.cuda.current_device()) if name == "cuda" else torch.device(name)
    )


def _check_cpu(model: Model, mixed_precision: str) -> None:
    wanted: dict[str, Any] = {"model.dtype": model.dtype}
    if mixed_precision == "bf16":
        wanted["distributed.mixed_precision"] = "bfloat16"
    if model.quantization:
        wanted["model.quantization"] = "4bit" if model.quantization.load_in_4bit else "8bit"
        wanted["model.quantization.bnb_4bit_compute_dtype"] = (
            model.quantization.bnb_4bit_compute_dtype
        )
    if set(wanted.values()) <= {"auto", "float32"}:
        return
    facts = probe()
    works = {"auto", "float32", *facts.works}
    for key, value in wanted.items():
        if value not in works:
            there = ", ".join(sorted(works - {"auto"}))
            raise ModelError(
                f"{key}: {value} does not work on this CPU (tried in a child process); here work: "
                f"{there}; `ftune doctor` shows more"
            )
    environment.put(facts.variables)
