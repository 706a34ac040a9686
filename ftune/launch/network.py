"""Which of this machine's addresses and interfaces the other hosts reach it by."""

from __future__ import annotations

import socket
import sys
import time
from contextlib import suppress
from dataclasses import dataclass

from ftune.errors import RecipeError, RunError

RESOLVE = 30.0  # seconds until a name is known: a cluster's names come with its pods
JOIN = 600.0  # seconds until the first host is there, as torchrun waits for the others
LOOK = 0.5


@dataclass(frozen=True)
class Place:
    """Where hosts meet, and how this one gets there."""

    host: str
    port: int
    address: str  # of this host, on the way there
    interface: str | None  # that has it
    is_host: bool  # the others come here


def split(meeting: str) -> tuple[str, int]:
    """Host and port of ``host:port``; an IPv6 address stands in brackets.

    Raises:
        RecipeError: it is neither.
    """
    host, colon, port = meeting.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if not (colon and host and port.isascii() and port.isdigit() and 0 < int(port) < 65_536):
        raise RecipeError(
            f"--rendezvous {meeting}: is not HOST:PORT; write for instance node1.example.com:29400"
        )
    return host, int(port)


def find(meeting: str, alone: bool = False) -> Place:
    """How this host gets to the place; ``alone``: there is no other one.

    Raises:
        RunError: the name is not known, or is the loopback's, where nobody else can come.
    """
    host, port = split(meeting)
    family, target = _resolved(host, port)
    with socket.socket(family, socket.SOCK_DGRAM) as way:  # nothing is sent
        try:
            way.connect(target)
        except OSError as error:
            raise RunError(f"{host}: no way there from this host ({error})") from error
        address = str(way.getsockname()[0])
    if not alone and (address.startswith("127.") or address == "::1"):
        raise RunError(
            f"{host} is {target[0]} on this host, an address that other hosts can't reach; give "
            "an address or a name that all hosts know"
        )
    return Place(host, port, address, _interface(address), address == target[0])


def wait_for(place: Place) -> None:
    """Returns when the host at which all meet is there.

    Raises:
        RunError: it did not come.
    """
    deadline = time.monotonic() + JOIN
    said = False
    while True:
        try:
            with socket.create_connection((place.host, place.port), timeout=5.0):
                return
        except OSError as error:
            if time.monotonic() > deadline:
                raise RunError(
                    f"{place.host}:{place.port} did not answer for {JOIN:g} s ({error}); start "
                    "the same command there, and look whether a firewall is between"
                ) from error
        if not said:
            said = True
            sys.stderr.write(f"waiting for {place.host}:{place.port}, where the hosts meet\n")
        time.sleep(LOOK)


def _resolved(host: str, port: int) -> tuple[int, tuple[str, int]]:
    deadline = time.monotonic() + RESOLVE
    while True:
        try:
            family, _, _, _, target = socket.getaddrinfo(host, port, type=socket.SOCK_DGRAM)[0]
            return family, (str(target[0]), port)
        except OSError as error:
            if time.monotonic() > deadline:
                raise RunError(
                    f"{host}: this host does not know the name ({error}); give an address, or "
                    "add it to the names that all hosts know"
                ) from error
        time.sleep(LOOK)


def _interface(address: str) -> str | None:
    import psutil

    with suppress(OSError):
        for name, facts in psutil.net_if_addrs().items():
            if any(each.address.partition("%")[0] == address for each in facts):
                return str(name)
    return None
