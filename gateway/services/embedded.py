"""The embedded core: a small registrar and proxy, so that a trial needs nothing else.

RFC 3261 10.3 and 16, RFC 3325 5. It lives on the gateway's own SIP listeners, and the
gateway speaks to it over them as to any other core. It challenges every method, strips
asserted identities from users and sets its own; one contact is tried, the newest.
Contacts are in memory: after a restart users register anew. Meant for trials.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from twisted.internet import defer
from twisted.internet.interfaces import IReactorTime

from gateway.errors import Malformed, Unreachable
from gateway.identity import Domains
from gateway.log import Logger
from gateway.services.directory import served
from gateway.services.proxy import Proxy, first_route
from gateway.services.ua import UserAgent
from gateway.sip.digest import Challenger
from gateway.sip.message import NameAddr, Request, Uri
from gateway.sip.transaction import Hop, ServerTransaction
from gateway.store import Store, Subscriber

LONGEST = 3600
SHORTEST = 10
CONTACTS = 8
_ASSERTED = ("P-Asserted-Identity", "P-Preferred-Identity")
Own = Callable[[Uri], bool]


@dataclass(slots=True)
class Contact:
    """One binding of an AoR; ``hop`` is whence it came, for what NAT hides."""

    uri: str
    text: str
    hop: Hop
    expires_at: float
    call_id: str
    cseq: int


class EmbeddedCore:
    """Registrar and proxy of the home domain."""

    _log = Logger()

    def __init__(
        self,
        clock: IReactorTime,
        ua: UserAgent,
        proxy: Proxy,
        store: Store,
        domains: Domains,
        *,
        own: Own,
        own_hop: Hop,
        secret: bytes,
        token: Callable[[], str],
    ) -> None:
        self._clock = clock
        self._ua = ua
        self._proxy = proxy
        self._store = store
        self._domains = domains
        self._own = own
        self._own_hop = own_hop
        self._token = token
        self._challenger = Challenger(domains.sip, secret, 300.0)
        self._contacts: dict[str, dict[str, Contact]] = {}

    def take(
        self, transaction: ServerTransaction, request: Request, source: Hop
    ) -> None:
        """Serve one request."""
        d = defer.ensureDeferred(self._serve(transaction, request, source))
        d.addErrback(self._failed, transaction, request)

    def _failed(
        self, failure: Any, transaction: ServerTransaction, request: Request
    ) -> None:
        if failure.check(Malformed):
            self._ua.answer(transaction, request, 400)
        elif failure.check(Unreachable):
            self._ua.answer(transaction, request, 503, (("Retry-After", "5"),))
        else:
            self._log.failure("the embedded core failed", failure)
            self._ua.answer(transaction, request, 500)

    async def _serve(
        self, transaction: ServerTransaction, request: Request, source: Hop
    ) -> None:
        register = request.method == "REGISTER"
        uri = Uri.parse(request.uri)
        if request.method == "OPTIONS" and uri.user is None:
            self._ua.answer(transaction, request, 200)
            return
        named = request.to if register else request.from_
        user = await self._authentic(transaction, request, named.uri, register)
        if user is None:
            return
        if register:
            self._register(transaction, request, source, user)
        else:
            await self._route(transaction, request, user, uri)

    # -- who asks ----------------------------------------------------------------

    async def _authentic(
        self,
        transaction: ServerTransaction,
        request: Request,
        named: Uri,
        register: bool,
    ) -> Subscriber | None:
        """Challenge until the named user has proved to be himself; None: answered."""
        aor = self._domains.key(str(named))
        user = await self._store.subscriber(aor)
        credentials = "Authorization" if register else "Proxy-Authorization"
        stale = False
        for header in request.headers.all(credentials):
            verdict = self._challenger.check(
                header,
                request.method,
                lambda name: _password(user, name),
                request.body,
                self._clock.seconds(),
                uri=request.uri,
            )
            if verdict.ok:
                return user
            stale = stale or verdict.stale
        status, name = (401, "WWW-") if register else (407, "Proxy-")
        now = self._clock.seconds()
        challenge = self._challenger.challenge(now, self._token(), stale)
        headers = ((f"{name}Authenticate", challenge),)
        self._ua.answer(transaction, request, status, headers)
        return None

    # -- registrar ---------------------------------------------------------------

    def _register(
        self,
        transaction: ServerTransaction,
        request: Request,
        source: Hop,
        user: Subscriber,
    ) -> None:
        contacts = self._live(user.aor)
        given = request.headers.values("Contact")
        overall = _seconds(request.headers.get("Expires"), LONGEST)
        if given == ["*"]:
            if overall:
                raise Malformed("Contact: * needs Expires: 0")
            contacts.clear()
            given = []
        for value in given:
            address = NameAddr.parse(value)
            expires = _seconds(address.params.get("expires"), overall)
            if 0 < expires < SHORTEST:
                brief = (("Min-Expires", str(SHORTEST)),)
                self._ua.answer(transaction, request, 423, brief)
                return
            self._bind(contacts, address, value, request, source, expires)
        self._contacts[user.aor] = contacts
        if not contacts:
            del self._contacts[user.aor]
        now = self._clock.seconds()
        response = request.response(200, tag=self._token())
        response.headers.set_all(
            "Contact",
            [f"{c.text};expires={int(c.expires_at - now)}" for c in contacts.values()],
        )
        self._ua.respond(transaction, response)

    def _bind(
        self,
        contacts: dict[str, Contact],
        address: NameAddr,
        value: str,
        request: Request,
        source: Hop,
        expires: int,
    ) -> None:
        uri = str(address.uri)
        known = contacts.pop(uri, None)
        call_id, cseq = request.call_id, request.cseq.number
        if known is not None and known.call_id == call_id and cseq <= known.cseq:
            contacts[uri] = known  # an older request that came late
            return
        if not expires:
            return
        kept = NameAddr(address.uri, address.display, dict(address.params))
        kept.params.pop("expires", None)
        until = self._clock.seconds() + min(expires, LONGEST)
        contacts[uri] = Contact(uri, str(kept), source, until, call_id, cseq)
        while len(contacts) > CONTACTS:
            del contacts[next(iter(contacts))]

    def _live(self, aor: str) -> dict[str, Contact]:
        now = self._clock.seconds()
        known = self._contacts.get(aor, {})
        return {uri: c for uri, c in known.items() if c.expires_at > now}

    # -- proxy -------------------------------------------------------------------

    async def _route(
        self,
        transaction: ServerTransaction,
        request: Request,
        user: Subscriber,
        uri: Uri,
    ) -> None:
        headers = request.headers
        headers.remove("Route")  # it routes within its own domain alone
        headers.remove("Proxy-Authorization")
        for name in _ASSERTED:
            headers.remove(name)
        headers.set("P-Asserted-Identity", f"<{user.aor}>")
        if uri.host.lower() != self._domains.sip:
            self._ua.answer(transaction, request, 404)
            return
        aor = self._domains.key(request.uri)
        called = await served(self._store, aor, self._domains.sip)
        contacts = self._live(aor if called is None else called.aor)
        if contacts:
            newest = next(reversed(contacts.values()))
            hop = newest.hop
            if self._own(Uri.parse(newest.uri)):
                hop = self._own_hop
            self._proxy.forward(transaction, request, hop, uri=newest.uri)
        elif called is None:
            self._ua.answer(transaction, request, 404)
        else:
            # Nobody is there: the gateway is the application server that stores.
            host = f"{self._own_hop.host}:{self._own_hop.port}"
            headers.prepend("Route", f"<sip:{host};lr>")
            self._proxy.forward(transaction, request, self._own_hop)

    def __len__(self) -> int:
        return len(self._contacts)


def targets_gateway(request: Request, own: Own) -> bool:
    """Tell whether a request is for the user agent and not for the embedded core."""
    first = first_route(request)
    if first is not None:
        return own(first)
    uri = Uri.parse(request.uri)
    return uri.user is not None and own(uri)


def _password(user: Subscriber | None, name: str) -> str | None:
    if user is None or not user.enabled or not user.sip_user or name != user.sip_user:
        return None
    return user.sip_password


def _seconds(text: str | None, default: int) -> int:
    if text is None or not (text.isascii() and text.isdecimal()):
        return default
    return min(int(text[:10]), LONGEST)
