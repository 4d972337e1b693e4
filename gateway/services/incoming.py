"""SIP requests that come in: whose they are, who sent them, what answers them.

RFC 3261 8.2 (UAS behaviour), RFC 3325 (asserted identity), RFC 3428; trust and routing
by docs/semantics.md 3. A MESSAGE for a subscriber is delivered on the leg on which it
came; what has a further Route and is not ours goes back to the core.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Sequence
from typing import Any

from twisted.internet import defer
from twisted.internet.interfaces import IReactorTime

from gateway.errors import Malformed, Unreachable
from gateway.identity import Domains, WVAddress
from gateway.log import Complaints, Logger
from gateway.services.delivery import COMPOSING, Delivery
from gateway.services.directory import served
from gateway.services.proxy import Proxy, first_route, hop_of, next_route
from gateway.services.sessions import Sessions
from gateway.services.ua import UserAgent
from gateway.sip.message import NameAddr, Request, Uri
from gateway.sip.transaction import Hop, ServerTransaction
from gateway.store import Store

METHODS = "MESSAGE, OPTIONS, REGISTER"
"""What this element answers; anything else gets 405."""
SUPPORTED = frozenset({"pref", "path", "timer"})
RETRY_AFTER = "10"
_SOURCES = 1024

Own = Callable[[Uri], bool]
Take = Callable[[ServerTransaction, Request, Hop], None]


class Incoming:
    """Decides on each request that the user agent takes."""

    _log = Logger()

    def __init__(
        self,
        clock: IReactorTime,
        ua: UserAgent,
        proxy: Proxy,
        store: Store,
        sessions: Sessions,
        delivery: Delivery,
        domains: Domains,
        *,
        trusted: Sequence[Any],
        own: Own,
    ) -> None:
        self._ua = ua
        self._proxy = proxy
        self._store = store
        self._sessions = sessions
        self._delivery = delivery
        self._domains = domains
        self._trusted = tuple(trusted)
        self._own = own
        self._complaints = Complaints(self._log, clock)
        self._believed: dict[str, bool] = {}
        self.stopping = False

    def drain(self) -> None:
        """Take no new work."""
        self.stopping = True
        self._complaints.stop()

    def take(
        self, transaction: ServerTransaction, request: Request, source: Hop
    ) -> None:
        """Answer one request."""
        if not self.believes(source.host):
            self._complain(source, "not a trusted peer")
            self._ua.answer(transaction, request, 403)
            return
        handler = self._HANDLERS.get(request.method)
        if self.stopping:
            headers = (("Retry-After", RETRY_AFTER),)
            self._ua.answer(transaction, request, 503, headers)
        elif request.method == "CANCEL":
            # Nothing is left to cancel: every INVITE is refused at once (9.2).
            known = self._ua.knows_invite(request)
            self._ua.answer(transaction, request, 200 if known else 481)
        elif handler is None:
            self._ua.answer(transaction, request, 405, (("Allow", METHODS),))
        elif unknown := _unsupported(request):
            headers = (("Unsupported", ", ".join(unknown)),)
            self._ua.answer(transaction, request, 420, headers)
        else:
            d = defer.ensureDeferred(handler(self, transaction, request, source))
            d.addErrback(self._failed, transaction, request, source)

    def _failed(
        self,
        failure: Any,
        transaction: ServerTransaction,
        request: Request,
        source: Hop,
    ) -> None:
        if failure.check(Malformed):
            self._complain(source, str(failure.value))
            self._ua.answer(transaction, request, 400)
        elif failure.check(Unreachable):
            self._log.warn("a request was not served: {why}", why=str(failure.value))
            headers = (("Retry-After", RETRY_AFTER),)
            self._ua.answer(transaction, request, 503, headers)
        else:
            self._log.failure("a SIP request failed", failure)
            self._ua.answer(transaction, request, 500)

    def believes(self, host: str) -> bool:
        """Tell whether a peer's P-Asserted-Identity is believed."""
        known = self._believed.get(host)
        if known is None:
            try:
                address = ipaddress.ip_address(host)
            except ValueError:
                return False
            known = any(address in network for network in self._trusted)
            if len(self._believed) < _SOURCES:
                self._believed[host] = known
        return known

    def _complain(self, source: Hop, cause: str) -> None:
        """Log bad input with its cause, once a minute for each source."""
        text = "SIP request from {host} refused: {cause}"
        self._complaints.about(source.host, text, host=source.host, cause=cause)

    # -- methods -----------------------------------------------------------------

    async def _message(
        self, transaction: ServerTransaction, request: Request, source: Hop
    ) -> None:
        if request.to.tag is not None:
            self._ua.answer(transaction, request, 481)
            return
        if _scheme(request.uri) not in ("sip", "sips", "tel", "im"):
            self._ua.answer(transaction, request, 416)
            return
        aor = self._target(request)
        if not self._sessions.of(aor):
            subscriber = await served(self._store, aor, self._domains.sip)
            if subscriber is None:
                self._pass_on(transaction, request)
                return
            aor = subscriber.aor
        encoding = request.headers.get("Content-Encoding")
        if encoding is not None and encoding.lower() != "identity":
            headers = (("Accept-Encoding", "identity"),)
            self._ua.answer(transaction, request, 415, headers)
            return
        sender = await self._sender(request)
        if sender is None:
            self._complain(source, "no asserted identity")
            self._ua.answer(transaction, request, 403)
            return
        outcome = await self._delivery.accept(request, aor, str(sender))
        self._ua.answer(transaction, request, outcome.status, outcome.headers)

    async def _options(
        self, transaction: ServerTransaction, request: Request, source: Hop
    ) -> None:
        if Uri.parse(request.uri).user is not None:
            aor = self._target(request)
            if not self._sessions.of(aor):
                subscriber = await served(self._store, aor, self._domains.sip)
                if subscriber is None:
                    self._pass_on(transaction, request)
                    return
                if not self._sessions.of(subscriber.aor):
                    self._ua.answer(transaction, request, 480)
                    return
        headers = (
            ("Allow", METHODS),
            ("Accept", f"text/plain, {COMPOSING}"),
            ("Supported", ", ".join(sorted(SUPPORTED))),
        )
        self._ua.answer(transaction, request, 200, headers)

    async def _register(
        self, transaction: ServerTransaction, request: Request, source: Hop
    ) -> None:
        """Answer a third-party REGISTER; for subscribers it has no other effect."""
        aor = self._domains.key(str(request.to.uri))
        if await self._store.subscriber(aor) is None:
            self._ua.answer(transaction, request, 404)
            return
        expires = request.headers.get("Expires") or ""
        if not (expires.isascii() and expires.isdecimal()):
            expires = "0"
        self._ua.answer(transaction, request, 200, (("Expires", expires[:10]),))

    _HANDLERS = {"MESSAGE": _message, "OPTIONS": _options, "REGISTER": _register}

    # -- whose and whence --------------------------------------------------------

    def _target(self, request: Request) -> str:
        """Give the AoR that a request is for: our own contacts name users too."""
        uri = Uri.parse(request.uri)
        if uri.user is not None and self._own(uri):
            return self._domains.key(f"sip:{uri.user}@{self._domains.sip}")
        return self._domains.key(request.uri)

    async def _sender(self, request: Request) -> WVAddress | None:
        """Give the asserted sender, anonymous if he wants so, None without any."""
        privacy = {
            word.strip().lower()
            for value in request.headers.all("Privacy")
            for word in value.split(";")
        }
        if privacy & {"id", "user", "header"}:
            return WVAddress("anonymous", self._domains.home)
        uris = [
            str(NameAddr.parse(value).uri)
            for value in request.headers.values("P-Asserted-Identity")
        ]
        uris.sort(key=lambda uri: not uri.startswith("sip"))
        for uri in uris:
            try:
                sender = self._domains.wv(uri)
            except Malformed:
                continue  # a local number, say; the other one may do
            if sender.is_msisdn and sender.domain == self._domains.home:
                known = await self._store.subscriber_by_msisdn(sender.user)
                if known is not None:
                    return WVAddress.parse(known.user_id, self._domains.home)
            return sender
        return None

    def _pass_on(self, transaction: ServerTransaction, request: Request) -> None:
        """Give back to the core what is not ours, if it left a Route for that."""
        first = first_route(request)
        following = next_route(request)
        if first is None or following is None or not self._own(first):
            self._ua.answer(transaction, request, 404)
            return
        self._proxy.forward(transaction, request, hop_of(following), drop_route=True)


def _scheme(uri: str) -> str:
    return uri.partition(":")[0].lower()


def _unsupported(request: Request) -> list[str]:
    """Give the option tags that are required and not known here (RFC 3261 8.2.2.3)."""
    if "Require" not in request.headers:
        return []
    return [
        tag for tag in request.headers.values("Require") if tag.lower() not in SUPPORTED
    ]
