"""Builds a capture file from payloads, without any privilege, for tshark to judge.

Every packet gets Ethernet and IPv4 headers between loopback addresses and, for TCP,
running sequence numbers, so that tshark reassembles streams.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from pathlib import Path

# One payload: ("tcp" or "udp", source port, destination port, bytes).
Packet = tuple[str, int, int, bytes]

_LOOPBACK = b"\x7f\0\0\x01"
_LARGEST = {"tcp": 1400, "udp": 65000}
_EPOCH = 1_700_000_000


def write_pcap(path: Path | str, packets: Iterable[Packet]) -> None:
    """Write a capture of these payloads, a millisecond apart."""
    next_byte: dict[tuple[int, int], int] = {}
    number = 0
    with open(path, "wb") as file:
        file.write(struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 262144, 1))
        for protocol, source, target, data in packets:
            step = _LARGEST[protocol]
            for start in range(0, max(len(data), 1), step):
                part = data[start : start + step]
                if protocol == "udp":
                    segment = _udp(source, target, part)
                else:
                    segment = _tcp(source, target, part, next_byte)
                frame = _frame(17 if protocol == "udp" else 6, number, segment)
                seconds, fraction = divmod(number, 1000)
                length = len(frame)
                file.write(
                    struct.pack(
                        "<IIII", _EPOCH + seconds, fraction * 1000, length, length
                    )
                )
                file.write(frame)
                number += 1


def _udp(source: int, target: int, data: bytes) -> bytes:
    return struct.pack("!HHHH", source, target, 8 + len(data), 0) + data


def _tcp(
    source: int, target: int, data: bytes, next_byte: dict[tuple[int, int], int]
) -> bytes:
    here = next_byte.setdefault((source, target), 1)
    there = next_byte.setdefault((target, source), 1)
    next_byte[source, target] = here + len(data)
    push_and_acknowledge, offset, window = 0x18, 0x50, 65535
    fields = (source, target, here, there, offset, push_and_acknowledge, window, 0, 0)
    return struct.pack("!HHIIBBHHH", *fields) + data


def _frame(protocol: int, number: int, segment: bytes) -> bytes:
    fields = (0x45, 0, 20 + len(segment), number & 0xFFFF, 0, 64, protocol, 0)
    header = struct.pack("!BBHHHBBH4s4s", *fields, _LOOPBACK, _LOOPBACK)
    return b"\0" * 12 + b"\x08\0" + header + segment
