"""Passing a SIP request on, statefully (RFC 3261 16): what is not ours to answer.

The gateway is an application server that gives back what it does not serve, and the
embedded core is a registrar and proxy; both need just this: one branch, no
Record-Route, since no dialog runs through here.
"""

from __future__ import annotations

from twisted.internet import defer

from gateway.errors import Malformed, Unreachable
from gateway.log import Logger
from gateway.services.ua import UserAgent
from gateway.sip.message import NameAddr, Request, Response, Uri, Via
from gateway.sip.transaction import Hop, ServerTransaction

MAX_FORWARDS = 70


class Proxy:
    """Forwards requests and relays their responses."""

    _log = Logger()

    def __init__(self, ua: UserAgent) -> None:
        self._ua = ua

    def forward(
        self,
        transaction: ServerTransaction,
        request: Request,
        hop: Hop,
        *,
        uri: str | None = None,
        drop_route: bool = False,
    ) -> None:
        """Send a request on to ``hop`` and its responses back."""
        d = defer.ensureDeferred(
            self._forward(transaction, request, hop, uri, drop_route)
        )
        d.addErrback(lambda f: self._failed(transaction, request, f))

    def _failed(self, transaction, request, failure) -> None:  # type: ignore[no-untyped-def]
        self._log.failure("a request was not forwarded", failure)
        self._ua.answer(transaction, request, 500)

    async def _forward(
        self,
        transaction: ServerTransaction,
        request: Request,
        hop: Hop,
        uri: str | None,
        drop_route: bool,
    ) -> None:
        if self._passed_twice(request, hop):
            self._ua.answer(transaction, request, 482)
            return
        left = int(request.headers.get("Max-Forwards") or MAX_FORWARDS)
        if left <= 0:
            self._ua.answer(transaction, request, 483)
            return
        copy = Request(
            method=request.method,
            uri=uri or request.uri,
            headers=request.headers.copy(),
            body=request.body,
        )
        copy.headers.set("Max-Forwards", str(left - 1))
        if drop_route:
            routes = copy.headers.values("Route")
            copy.headers.set_all("Route", routes[1:])

        def back(response: Response) -> None:
            if response.status != 100:
                self._ua.respond(transaction, _without_via(response))

        try:
            response = await self._ua.deliver(copy, hop, progress=back)
        except Unreachable as error:
            self._log.info("next hop gave no answer: {cause}", cause=str(error))
            self._ua.answer(transaction, request, 408)
            return
        back(response)

    def _passed_twice(self, request: Request, hop: Hop) -> bool:
        """Tell a loop: what we sent may come back once to be passed on, not twice.

        RFC 3261 16.3 item 4, without a hash: our own Via is proof enough.
        """
        own = self._ua.sent_by(hop)
        before = [Via.parse(value) for value in request.headers.values("Via")[1:]]
        return sum(via.sent_by == own for via in before) > 1


def _without_via(response: Response) -> Response:
    """Take our own Via off (RFC 3261 16.7 step 3)."""
    headers = response.headers.copy()
    headers.set_all("Via", headers.values("Via")[1:])
    return Response(
        status=response.status,
        reason=response.reason,
        headers=headers,
        body=response.body,
    )


def hop_of(uri: Uri) -> Hop:
    """Give where a URI with a literal address is reached (RFC 3263 4, the plain part).

    Raises Malformed for a scheme that SIP does not route.
    """
    if uri.scheme not in ("sip", "sips"):
        raise Malformed("not a SIP URI")
    transport = (uri.params.get("transport") or "udp").lower()
    if uri.scheme == "sips":
        transport = "tls"
    port = uri.port or (5061 if transport == "tls" else 5060)
    return Hop(transport, uri.host.strip("[]"), port)


def next_route(request: Request) -> Uri | None:
    """Give the second Route of a request, the first being ours; None if there is none.

    Raises Malformed.
    """
    routes = request.headers.values("Route")
    return NameAddr.parse(routes[1]).uri if len(routes) > 1 else None


def first_route(request: Request) -> Uri | None:
    """Give the first Route of a request, None without one. Raises Malformed."""
    routes = request.headers.values("Route")
    return NameAddr.parse(routes[0]).uri if routes else None
