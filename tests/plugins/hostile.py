"""What must hold of the HTTP reader whatever bytes come, however they are cut."""

from __future__ import annotations

from plugins._http_reader import Request, RequestReader
from plugins._http_replies import NOT_FOUND, NOT_POST, Refusal

MAX_BODY = 1000


def route(method: bytes, target: bytes) -> Refusal | None:
    """Serve POST /csp only."""
    if target != b"/csp":
        return NOT_FOUND
    return None if method == b"POST" else NOT_POST


def read(*pieces: bytes) -> list[Request | Refusal]:
    """Read a stream that arrives in these pieces."""
    found: list[Request | Refusal] = []
    subject = RequestReader(route, MAX_BODY)
    for piece in pieces:
        found.extend(subject.feed(piece))
    return found


def summary(found: list[Request | Refusal]) -> list[object]:
    """Give what was read in a form to compare: statuses, methods and bodies."""
    return [
        item.status if isinstance(item, Refusal) else (item.method, item.body)
        for item in found
    ]


def check_stream(data: bytes, cut: int) -> None:
    """Read the bytes whole and in pieces; both must give the same."""
    whole = read(data)
    size = 1 + cut % 97
    cuts = [data[at : at + size] for at in range(0, len(data), size)]
    pieces = read(*cuts)
    for item in whole:
        if isinstance(item, Request):
            assert len(item.body) <= MAX_BODY
    assert not [item for item in whole[:-1] if isinstance(item, Refusal)]
    # Where two things are wrong, the cut decides which of them is seen first.
    assert _outcome(whole) == _outcome(pieces)


def _outcome(found: list[Request | Refusal]) -> list[object]:
    return ["refused" if isinstance(item, int) else item for item in summary(found)]
