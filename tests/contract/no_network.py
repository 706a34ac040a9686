"""Runs the command line in a process whose sockets lead nowhere: ``no_network.py ARGUMENTS``.

A connection to another place than this machine, and a question for a name, end the process with 99.
"""

import os
import socket
import sys

REFUSED = 99


def refuse(event: str, arguments: tuple) -> None:
    """An audit hook: no library can go past it, nor catch what it does."""
    if event == "socket.connect":
        here = arguments[0].family == socket.AF_UNIX or arguments[1][0] in ("127.0.0.1", "::1")
    elif event in ("socket.getaddrinfo", "socket.gethostbyname"):
        here = arguments[0] in (None, "localhost", "127.0.0.1", "::1", socket.gethostname())
    elif event == "socket.sendto":
        here = False
    else:
        return
    if not here:
        os.write(2, f"NETWORK: {event} {arguments!r}\n".encode())
        os._exit(REFUSED)


if __name__ == "__main__":
    sys.addaudithook(refuse)
    from ftune.cli.app import main

    main()
