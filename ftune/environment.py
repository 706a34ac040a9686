"""The one place where environment variables are read or set."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

SECRET = re.compile(
    r"(?:^|_)(?:TOKEN|SECRET|PASSWORD|PASSWD|API_?KEY|ACCESS_?KEY|PRIVATE_?KEY|CREDENTIALS?)(?:_|$)"
)
PLACES = ("_PATH", "_FILE", "_DIR", "_URL")
SHORTEST = 8  # letters: shorter values would be found in the middle of words
ONEDNN_ISA = "ONEDNN_MAX_CPU_ISA"
LAUNCHED = "FTUNE_LAUNCHED"
# What torch and its libraries read once, when they are loaded.
LIBRARIES = {
    "THP_MEM_ALLOC_ENABLE": "1",  # larger pages for large blocks on Linux
    # Products that oneDNN, and torch above it, keep prepared. By default 1,024 each, of nearly a
    # megabyte for every shape of a batch: more than the model (docs/decisions/042).
    "ONEDNN_PRIMITIVE_CACHE_CAPACITY": "32",
    "LRU_CACHE_CAPACITY": "32",
}
# How often a thread of GNU's OpenMP looks for work before it sleeps. By default so long that, where
# something else runs on the machine, threads wait for each other's turn (docs/decisions/088).
SPINS = {"GOMP_SPINCOUNT": "1000"}
WAITING = "OMP_WAIT_POLICY"  # with which a user says the same for every OpenMP


def offline() -> bool:
    """Whether the hub may not be asked."""
    return os.environ.get("HF_HUB_OFFLINE", "") in {"1", "true", "TRUE", "ON", "YES"}


def plain() -> bool:
    """Whether fast paths are switched off, to compare with what they replace."""
    return os.environ.get("FTUNE_PLAIN", "") in {"1", "true", "TRUE", "ON", "YES"}


def cache_folder() -> Path:
    """Where facts about this machine are kept between runs."""
    root = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(root) / "ftune"


def processes() -> tuple[int, int]:
    """The number of this process, and of all that train together: 0 and 1 without a launcher."""
    return int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1"))


def local_processes() -> int:
    """How many of them are on this machine."""
    return int(os.environ.get("LOCAL_WORLD_SIZE") or processes()[1])


def launched() -> bool:
    """Whether ``ftune train --processes`` started this process as one of several."""
    return os.environ.get(LAUNCHED) == "1"


def cores() -> int:
    """Cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def secrets() -> tuple[str, ...]:
    """Values of variables whose names say that they are secret, the longest first."""
    found = {
        value.strip()
        for name, value in os.environ.items()
        if SECRET.search(name.upper()) and not name.upper().endswith(PLACES)
    }
    long = [value for value in found if len(value) >= SHORTEST]
    return tuple(sorted(long, key=len, reverse=True))


def get(name: str) -> str | None:
    """The value of a variable."""
    return os.environ.get(name)


def before_torch() -> None:
    """Sets what torch reads when it is loaded; what the user has set stays."""
    put(LIBRARIES if WAITING in os.environ else {**LIBRARIES, **SPINS})


def put(values: Mapping[str, str]) -> None:
    """Sets variables that are not set yet, for this process and its children."""
    for name, value in values.items():
        os.environ.setdefault(name, value)


@contextmanager
def having(values: Mapping[str, str]) -> Iterator[None]:
    """Inside, variables that are not set are; afterwards they are gone again."""
    ours = [name for name in values if name not in os.environ]
    put(values)
    try:
        yield
    finally:
        for name in ours:
            os.environ.pop(name, None)


def for_child(values: Mapping[str, str]) -> dict[str, str]:
    """The environment of a child process: this one's, with ``values`` set."""
    return {**os.environ, **values}
