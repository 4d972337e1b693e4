"""What the topmost Via decides: which transaction is meant, where responses go.

RFC 3261 17.1.3 and 17.2.3 (matching), 18.2 (responses), 9.1 and 17.1.1.3 (CANCEL and
ACK beside an INVITE), RFC 3581 (rport).
"""

from __future__ import annotations

import re
from typing import Final, NamedTuple

from gateway.errors import Malformed
from gateway.sip.headers import Fields, Headers, Via, split_list
from gateway.sip.model import Request, Response, tag_of

MAGIC: Final = "z9hG4bK"


class Hop(NamedTuple):
    """Where to send, or whence it came.

    ``transport`` is udp, tcp or tls. For streams it names the remote end of a
    connection, which is used when it is open and else opened.
    """

    transport: str
    host: str
    port: int


_BRANCH = re.compile(r";\s*+branch\s*+=\s*+([^\s;,\"]++)", re.IGNORECASE)


def branch_of(response: Response) -> str:
    """Return the branch of the top Via, empty when there is none."""
    via = response.headers.get("Via") or ""
    if "," in via:
        try:
            via = split_list(via)[0]
        except (Malformed, IndexError):
            return ""
    match = _BRANCH.search(via)
    return match[1] if match is not None else ""


def with_via(request: Request, via: str) -> Request:
    """Copy a request, our Via put before those it has."""
    fields: Fields = {"Via": via, **request.headers.fields}
    before = request.headers.fields.get("Via")
    if before is not None:
        fields["Via"] = (via, before) if isinstance(before, str) else (via, *before)
    return Request(
        method=request.method,
        uri=request.uri,
        headers=Headers(fields),
        body=request.body,
    )


def beside(invite: Request, method: str) -> Request:
    """Make the CANCEL or the ACK for a non-2xx of an INVITE (9.1, 17.1.1.3)."""
    headers = Headers()
    for name in ("From", "To", "Call-ID", "Route", "Max-Forwards"):
        headers.set_all(name, invite.headers.all(name))
    headers.set("CSeq", f"{invite.cseq.number} {method}")
    return Request(method=method, uri=invite.uri, headers=headers)


def take_via(request: Request, source: Hop) -> Via:
    """Read the top Via and write whence the request came into it.

    RFC 3261 18.2.1, RFC 3581 4. Raises Malformed.
    """
    via = request.via
    asked = "rport" in via.params
    if asked or _bare(via.host) != source.host:
        via.params["received"] = source.host
        if asked:
            via.params["rport"] = str(source.port)
        fields = request.headers.fields
        if isinstance(whole := fields["Via"], str) and "," not in whole:
            fields["Via"] = str(via)
            return via
        vias = request.headers.all("Via")
        first = split_list(vias[0]) if "," in vias[0] else vias[:1]
        request.headers.set_all("Via", (str(via), *first[1:], *vias[1:]))
    return via


def _bare(host: str) -> str:
    """Fold a host and take the brackets off an IPv6 address."""
    return host.lower().strip("[]")


def answer_hop(via: Via, source: Hop) -> Hop:
    """Where the response goes (RFC 3261 18.2.2, RFC 3581 4).

    ``maddr`` is not honoured: it would let any peer aim our responses at a third.
    """
    if source.transport != "udp" or "rport" in via.params:
        return source
    return Hop("udp", source.host, via.port or 5060)


def server_key(request: Request, via: Via) -> str:
    """What repeats of a request share (17.2.3); an ACK shares it with its INVITE.

    Raises Malformed.
    """
    method = "INVITE" if request.method == "ACK" else request.method
    branch = via.branch
    if branch.startswith(MAGIC) and len(branch) > len(MAGIC):
        return f"{branch} {via.sent_by} {method}"
    # RFC 2543: the To tag is left out, because the ACK has that of our response.
    sender = tag_of(request.headers.get("From") or "")
    top = f"{via.transport} {via.sent_by} {branch}"
    parts = (request.uri, sender, request.call_id, request.cseq.number, top, method)
    return " ".join(map(str, parts))
