"""Free ports for servers that bind them seconds later, in another process."""

from __future__ import annotations

import os
import socket

from alphaloop.errors import PortInUseError

# Below the range (32768 up, on Linux) from which every outgoing connection takes a port: a free port in that
# range could be taken before the server binds it.
FIRST_PORT, LAST_PORT = 20_000, 30_000
PROCESS_STRIDE = 32
_returned: set[int] = set()


def spare_ports(count: int) -> range:
    """Return `count` consecutive ports that are free on all interfaces.

    No port is returned twice by one process, and each process starts to look at another port. Raises
    `PortInUseError` if there are not enough.
    """
    start = os.getpid() * PROCESS_STRIDE % (LAST_PORT - FIRST_PORT)
    for step in range(LAST_PORT - FIRST_PORT):
        first = FIRST_PORT + (start + step) % (LAST_PORT - FIRST_PORT)
        ports = range(first, first + count)
        if ports.stop <= LAST_PORT and not _returned.intersection(ports) and all(map(_is_free, ports)):
            _returned.update(ports)
            return ports
    raise PortInUseError(
        f"there are no {count} free ports in a row from {FIRST_PORT} to {LAST_PORT}; end some servers"
    )


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("", port))
        except OSError:
            return False
    return True
