"""Telling the supervisor how the service stands: the notification socket of systemd.

sd_notify(3): one datagram of NAME=VALUE lines to the socket that NOTIFY_SOCKET names.
Without one, as in a terminal or a container, nothing is sent.
"""

from __future__ import annotations

import os
import socket


def notify(*states: str) -> bool:
    """Send states such as ``READY=1``; whether there was a supervisor to hear it."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if address[:1] not in ("/", "@"):
        return False
    if address.startswith("@"):
        address = f"\0{address[1:]}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel:
        channel.setblocking(False)
        try:
            channel.sendto("\n".join(states).encode(), address)
        except OSError:
            return False
    return True
