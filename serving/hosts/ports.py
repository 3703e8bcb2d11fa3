"""Free ports for servers that bind them seconds later, in another process."""

from __future__ import annotations

import os
import socket

from alphaloop.errors import PortInUseError

# Below the range (32768 up, on Linux) from which every outgoing connection takes a port: a free port in that
# range could be taken before the server binds it.
FIRST, LAST = 20_000, 30_000
STRIDE = 32
_given: set[int] = set()


def spare_ports(count: int) -> range:
    """Return `count` consecutive ports that are free on all interfaces.

    No port is returned twice by one process, and each process starts to look at another port. Raises
    `PortInUseError` if there are not enough.
    """
    start = os.getpid() * STRIDE % (LAST - FIRST)
    for step in range(LAST - FIRST):
        first = FIRST + (start + step) % (LAST - FIRST)
        ports = range(first, first + count)
        if ports.stop <= LAST and not _given.intersection(ports) and all(map(_is_free, ports)):
            _given.update(ports)
            return ports
    raise PortInUseError(f"there are no {count} free ports in a row from {FIRST} to {LAST}; end some servers")


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("", port))
        except OSError:
            return False
    return True
