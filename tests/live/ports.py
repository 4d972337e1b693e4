"""Free ports for the programs of the live tests."""

from __future__ import annotations

import random
import socket

# Below the range from which the kernel takes ports for outgoing connections.
_LOWEST, _HIGHEST = 15000, 31000


def free_ports(count: int = 1) -> list[int]:
    """Return that many consecutive ports that are free for UDP and TCP on loopback."""
    for _ in range(1000):
        first = random.randrange(_LOWEST, _HIGHEST)
        ports = list(range(first, first + count))
        if all(_free(port) for port in ports):
            return ports
    raise OSError("no free ports")


def _free(port: int) -> bool:
    for kind in (socket.SOCK_DGRAM, socket.SOCK_STREAM):
        with socket.socket(socket.AF_INET, kind) as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                return False
    return True
