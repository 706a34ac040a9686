"""Two hosts made of network namespaces on this machine, with a link that can be cut or slowed.

As a script, as root: python tests/faults/hosts.py trains on both by ``ftune launch`` over a slow
link, cuts it in mid-run, restores it, goes on, and prints how long each took and how far the
weights are from those of one process on one host.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

ADDRESSES = ("10.231.77.1", "10.231.77.2")
RECIPE = str(Path(__file__).parents[2] / "recipes/ci-smoke.yaml")
PATIENCE = 6.0  # distributed.timeout_seconds of the run that is cut off
SETS = (
    "train.max_steps=10",
    "train.save_steps=2",
    "train.logging_steps=1",
    "train.gradient_accumulation_steps=1",
    "train.optim=sgd",  # Adam's first steps would turn rounding into a difference
    "tune.lora_dropout=0.0",
    "evaluate.metrics=[]",
    "data.test=[]",
)
# Stands in the place of ssh: the command runs on the host that has the address.
SSH = """#!/bin/sh
while [ "${1#-}" != "$1" ]; do shift 2; done
[ "$1" = %s ] || { echo "ssh: no route to $1" >&2; exit 255; }
exec ip netns exec %s sh -c "$2"
"""


@dataclass(frozen=True)
class Hosts:
    """The names of both namespaces; each has one end of the link."""

    names: tuple[str, str]

    def inside(self, which: int, *words: str) -> list[str]:
        """The command that runs ``words`` on a host."""
        return ["ip", "netns", "exec", self.names[which], *words]

    def link(self, state: str) -> None:
        """Puts the link ``up`` or ``down``."""
        _ip("-n", self.names[0], "link", "set", "link0", state)

    def slow(self, rate: str) -> None:
        """Lets no more bits through in a second, either way."""
        for name, end in zip(self.names, ("link0", "link1"), strict=True):
            bucket = ["rate", rate, "burst", "16kb", "latency", "2s"]
            subprocess.run(
                ["tc", "-n", name, "qdisc", "replace", "dev", end, "root", "tbf", *bucket],
                check=True,
                capture_output=True,
            )

    def left(self) -> list[int]:
        """Numbers of the processes that are still on either host."""
        found = [subprocess.check_output(["ip", "netns", "pids", n], text=True) for n in self.names]
        return [int(each) for each in " ".join(found).split()]


def why_not() -> str | None:
    """Why hosts can't be made here; None if they can."""
    if not (shutil.which("ip") and shutil.which("tc")):
        return "no network namespaces: ip and tc (iproute2) are not here"
    if os.geteuid() != 0:
        return "no network namespaces: they need root"
    try:
        with made():
            return None
    except subprocess.CalledProcessError as error:
        return f"no network namespaces: {error.stderr.decode().strip()}"


@contextmanager
def made() -> Iterator[Hosts]:
    """Both hosts; gone afterwards, with all their processes."""
    names = (f"ftune-{os.getpid()}-a", f"ftune-{os.getpid()}-b")
    hosts = Hosts(names)
    there = []
    try:
        for name in names:
            _ip("netns", "add", name)
            there.append(name)
            _ip("-n", name, "link", "set", "lo", "up")
        _ip(
            *("link", "add", "link0", "netns", names[0], "type", "veth"),
            *("peer", "name", "link1", "netns", names[1]),
        )
        for name, end, address in zip(names, ("link0", "link1"), ADDRESSES, strict=True):
            _ip("-n", name, "address", "add", f"{address}/24", "dev", end)
            _ip("-n", name, "link", "set", end, "up")
        yield hosts
    finally:
        for pid in hosts.left() if len(there) == len(names) else ():
            os.kill(pid, signal.SIGKILL)
        for name in there:
            subprocess.run(["ip", "netns", "del", name], check=False, capture_output=True)


def _ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True)


def overrides(batch: int, *more: str) -> list[str]:
    """What the runs differ in from the shipped recipe."""
    sets = (*SETS, f"train.per_device_train_batch_size={batch}", *more)
    return [part for each in sets for part in ("-o", each)]


def launch(*more: str) -> list[str]:
    """The command of a host."""
    named = ["--on", "torchrun", "--hosts", ",".join(ADDRESSES), "--run"]
    return [sys.executable, "-m", "ftune", "launch", RECIPE, *named, *more]


def start(folder: Path, words: list[str], programs: Path | None = None) -> subprocess.Popen[str]:
    """Begins a command; ``programs`` stand before those of this machine."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    if programs is not None:
        environment["PATH"] = f"{programs}:{environment['PATH']}"
    return subprocess.Popen(
        words,
        cwd=folder,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def ended(run: subprocess.Popen[str], code: int) -> str:
    """What was said until the end, which must come with this code."""
    said, _ = run.communicate(timeout=180)
    assert run.returncode == code, f"{run.returncode}\n{said}"
    return said


def cut_off(hosts: Hosts, folder: Path) -> tuple[list[str], float]:
    """Trains on both, cuts the link at step 4; what they said, and the seconds until both ended."""
    bounded = overrides(2, f"distributed.timeout_seconds={PATIENCE}")
    words = [hosts.inside(n, *launch("--node-rank", str(n), *bounded)) for n in range(2)]
    both = [start(folder, each) for each in words]
    while not any(
        '"step": 4,' in f.read_text() for f in folder.glob("runs/*/*/train/metrics.jsonl")
    ):
        assert both[0].poll() is None, both[0].communicate()
        time.sleep(0.02)
    hosts.link("down")
    before = time.monotonic()
    said = [ended(each, 5) for each in both]
    return said, time.monotonic() - before


def apart(one: Path, other: Path) -> float:
    """The largest difference of two runs' weights."""
    from safetensors.torch import load_file

    [mine], [theirs] = (f.glob("runs/*/*/train/adapter/*.safetensors") for f in (one, other))
    mine, theirs = load_file(mine), load_file(theirs)
    assert mine.keys() == theirs.keys()
    assert any(value.abs().max() > 0 for key, value in mine.items() if "lora_B" in key)
    return max((mine[key] - theirs[key]).abs().max().item() for key in mine)


def main() -> None:
    """The whole trial, with figures."""
    with made() as hosts, tempfile.TemporaryDirectory() as place:
        folders = [Path(place) / name for name in ("cut", "whole", "alone", "bin")]
        for folder in folders:
            folder.mkdir()
        cut, whole, alone, programs = folders
        (programs / "ssh").write_text(SSH % (ADDRESSES[1], hosts.names[1]))
        (programs / "ssh").chmod(0o755)
        ended(start(alone, [sys.executable, "-m", "ftune", "train", RECIPE, *overrides(4)]), 0)
        by_ssh = hosts.inside(0, *launch("--ssh", *overrides(2)))
        for rate in ("10gbit", "20mbit"):
            hosts.slow(rate)
            shutil.rmtree(whole)
            whole.mkdir()
            before = time.monotonic()
            ended(start(whole, by_ssh, programs), 0)
            seconds = time.monotonic() - before
            print(f"link of {rate}: {seconds:.0f} s, {apart(whole, alone):.1e} from one process")
        hosts.slow("1gbit")  # the first exchange of all weights must not take the time-out
        said, seconds = cut_off(hosts, cut)
        print(
            f"cut: both ended after {seconds:.1f} s, time-out {PATIENCE:g} s; left: {hosts.left()}"
        )
        print(said[1])
        hosts.link("up")
        assert "going on from the checkpoint" in ended(start(cut, by_ssh, programs), 0)
        print(f"restored: {apart(cut, whole):.1e} from never cut; left: {hosts.left()}")


if __name__ == "__main__":
    main()
