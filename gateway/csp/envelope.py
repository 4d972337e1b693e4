"""What is around a primitive: message, session and transaction (CSP 1.1 to 1.3).

A message carries one or more transactions of one session, or of none ("Outband":
login, version discovery and service provider information). The syntaxes turn bytes
into a `Message` and back; what is well-formed and wrong arrives as a `Faulty`
primitive, so that the session can answer it with a Status.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass

from gateway.csp.schema import Primitive, Version
from gateway.csp.shared import SegmentInfo

__all__ = ["Faulty", "Message", "Mode", "SegmentInfo", "Transaction", "Version"]


class Mode(enum.Enum):
    """Whether a transaction asks or answers (TransactionMode)."""

    REQUEST = "Request"
    RESPONSE = "Response"


@dataclass(frozen=True, slots=True, kw_only=True)
class Faulty(Primitive):
    """A primitive that was read and cannot be obeyed; the fault is its answer.

    ``name`` is the element name as sent, ``code`` the CSP status to answer with: 400
    without a mandatory child, 402 with a value that is none, 501 unknown, 505 of a
    version that nobody here speaks.
    """

    name: str
    code: int
    description: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Transaction:
    """One primitive with its transaction descriptor.

    ``id`` is None where the sender left it out (Polling-Request of some clients,
    version discovery). ``ext_blocks`` is the content of ExtBlock elements: foreign XML,
    verbatim, which declares the namespaces that it uses.
    """

    id: str | None
    mode: Mode
    primitive: Primitive
    segment: SegmentInfo | None = None
    ext_blocks: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """One message: the version it is in, its session and its transactions.

    ``session_id`` is None for Outband. ``poll``: the server has more to give; ``cir``
    False: the client must set its CIR connection up again.
    """

    version: Version
    session_id: str | None
    transactions: tuple[Transaction, ...]
    poll: bool | None = None
    cir: bool | None = None
