"""Registrations: one binding at the core for each subscriber with an open session.

Seed 003 6.1.1 (feature tag, Require: pref, User-Agent), RFC 3261 10, RFC 3327 and 3608
(Path and Service-Route), docs/semantics.md 3. REGISTER runs beside the login and never
delays it; a refusal ends the sessions with 601.
"""

from __future__ import annotations

import random
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from twisted.internet import defer
from twisted.internet.interfaces import IDelayedCall, IReactorTime

from gateway.csp.session import Session
from gateway.errors import Malformed, Unreachable
from gateway.log import Logger
from gateway.services.account import Account
from gateway.services.sessions import FORCED, Sessions
from gateway.services.ua import UserAgent
from gateway.sip.message import Headers, Request, Response
from gateway.sip.uri import NameAddr
from gateway.store import Registration, Store
from gateway.translation.messaging import ALLOW, FEATURE, PRODUCT

BACK_OFF = (2.0, 5.0, 15.0, 60.0, 300.0)
SHORTEST = 5.0
"""Seconds between two REGISTER of one user at least, whatever the core grants."""
LONGEST = 7 * 86400
STRIDE = 8
"""CSeq numbers that one REGISTER may use up in answering challenges: they are taken
beforehand, so that after a crash none is used again."""


@dataclass(slots=True)
class Binding:
    """The state of one subscriber's registration."""

    account: Account
    record: Registration | None = None
    read: bool = False
    wanted: bool = True
    busy: bool = False
    registered: bool = False
    expires: int = 0
    tries: int = 0
    call: IDelayedCall | None = field(default=None, repr=False)


class Registrations:
    """Keeps the core told who can be reached here."""

    _log = Logger()

    def __init__(
        self,
        clock: IReactorTime,
        store: Store,
        ua: UserAgent,
        sessions: Sessions,
        *,
        contact: Callable[[str], str],
        registrar: str,
        expires: int,
        token: Callable[[], str],
        rate: int = 200,
        spread: Callable[[float, float], float] = random.uniform,
    ) -> None:
        self._clock = clock
        self._store = store
        self._ua = ua
        self._sessions = sessions
        self._contact = contact
        self._registrar = registrar
        self._expires = expires
        self._token = token
        self.rate = rate
        """REGISTER requests a second, at most about, after a start or an outage."""
        self._spread = spread
        self._bindings: dict[str, Binding] = {}
        self._stopped = False
        sessions.on_opened.append(self._opened)
        sessions.on_closed.append(self._closed)

    def __len__(self) -> int:
        return sum(1 for binding in self._bindings.values() if binding.registered)

    def known(self, aor: str) -> Account | None:
        """Give the account of a user with an open session, if it was read already."""
        binding = self._bindings.get(aor)
        return binding.account if binding is not None and binding.read else None

    async def account(self, aor: str) -> Account:
        """Give the credentials and the route of a user, registered or not."""
        known = self.known(aor)
        if known is not None:
            return known
        binding = self._bindings.get(aor)
        subscriber = await self._store.subscriber(aor)
        if subscriber is None:
            return Account(aor)
        account = Account(aor, subscriber.sip_user, subscriber.sip_password)
        if binding is not None:
            binding.account, binding.read = account, True
        return account

    # -- sessions come and go ----------------------------------------------------

    def _opened(self, session: Session) -> None:
        binding = self._bindings.get(session.aor)
        if binding is None:
            binding = self._bindings[session.aor] = Binding(Account(session.aor))
            within = self._sessions.restoring / self.rate
            if within > 1 and self._sessions.returns(session) and not self._stopped:
                # The core still has the registration of before.
                self._soon(binding, within)
                return
        elif binding.wanted:
            return
        binding.wanted = True
        self._go_on(binding)

    def _closed(self, session: Session, code: int) -> None:
        binding = self._bindings.get(session.aor)
        if binding is None or self._sessions.of(session.aor):
            return
        binding.wanted = False
        self._go_on(binding)

    def renew(self) -> None:
        """Register everyone again, soon: the core was away and may have forgotten."""
        within = max(len(self._bindings) / self.rate, 1.0)
        for binding in self._bindings.values():
            if binding.wanted and not binding.busy and not self._stopped:
                _cancel(binding)
                self._soon(binding, within)

    def _soon(self, binding: Binding, within: float) -> None:
        delay = self._spread(0.0, within)
        binding.call = self._clock.callLater(delay, self._refresh, binding)

    def _go_on(self, binding: Binding) -> None:
        """Do what the binding needs next, unless that is under way."""
        if binding.busy or self._stopped:
            return
        _cancel(binding)
        binding.busy = True
        d = defer.ensureDeferred(self._converge(binding))
        d.addErrback(lambda f: self._log.failure("a registration stopped", f))

    async def _converge(self, binding: Binding) -> None:
        """Register or de-register, until it is as wanted."""
        wanted = binding.wanted
        try:
            delay = await self._register(binding)
        except Unreachable as error:
            text = "REGISTER of {aor} not done: {cause}"
            self._log.warn(text, cause=str(error), aor=binding.account.aor)
            delay = self._later(binding)
        except Exception:
            self._log.failure("REGISTER failed", aor=binding.account.aor)
            delay = self._later(binding)
        finally:
            binding.busy = False
        if self._stopped:
            return
        if binding.wanted != wanted:
            self._go_on(binding)
        elif not wanted:
            self._bindings.pop(binding.account.aor, None)
        elif delay is not None:
            binding.call = self._clock.callLater(delay, self._refresh, binding)

    def _refresh(self, binding: Binding) -> None:
        binding.call = None
        self._go_on(binding)

    # -- REGISTER ----------------------------------------------------------------

    async def _register(self, binding: Binding) -> float | None:
        """Send one REGISTER; the seconds until the next, None for never."""
        aor = binding.account.aor
        expires = (binding.expires or self._expires) if binding.wanted else 0
        try:
            account = binding.account = await self.account(aor)
            record = await self._next(binding)
            request = self._request(record, expires)
            response = await self._ua.request(request, replace_route(account))
            await self._spent(binding, request)
        except Unreachable as error:
            text = "REGISTER of {aor} not done: {cause}"
            self._log.warn(text, cause=str(error), aor=aor)
            return self._later(binding)
        if response.status == 423 and binding.wanted:
            least = _seconds(response.headers.get("Min-Expires"))
            if least is not None and expires < least <= LONGEST:
                binding.expires = least
                return 0.0
        if response.status < 300:
            return self._registered(binding, response, expires)
        self._log.warn(
            "REGISTER of {aor} refused with {status}{cause}",
            aor=aor,
            status=response.status,
            cause=_cause(account, response),
        )
        if response.status in (401, 403, 407) and binding.wanted:
            if await self._changed(binding):
                return 0.0
            await self._rejected(aor)
            return None
        return self._later(binding)

    async def _changed(self, binding: Binding) -> bool:
        """Read the credentials again; tell whether the operator gave others."""
        old = binding.account
        subscriber = await self._store.subscriber(old.aor)
        if subscriber is None:
            return False
        given = (subscriber.sip_user, subscriber.sip_password)
        if given == (old.user, old.password):
            return False
        binding.account = Account(old.aor, *given)
        return True

    async def _next(self, binding: Binding) -> Registration:
        """Give the binding's ids with the next CSeq, committed before it is used."""
        aor = binding.account.aor
        record = binding.record
        if record is None:
            fresh = Registration(
                aor=aor,
                instance=uuid.uuid4().urn,
                call_id=f"{self._token()}{uuid.uuid4().hex}",
                cseq=0,
            )
            record = await self._store.registration(fresh)
        taken = replace(record, cseq=record.cseq + STRIDE)
        await self._store.save_registration(taken)
        binding.record = taken
        return replace(record, cseq=record.cseq + 1)

    async def _spent(self, binding: Binding, request: Request) -> None:
        """Keep the CSeq that answering challenges used up."""
        assert binding.record is not None
        if request.cseq.number > binding.record.cseq:
            binding.record = replace(binding.record, cseq=request.cseq.number)
            await self._store.save_registration(binding.record)

    def _request(self, record: Registration, expires: int) -> Request:
        contact = (
            f'<{self._contact(record.aor)}>;{FEATURE};+sip.instance="'
            f'<{record.instance}>"'
        )
        fields: dict[str, str | tuple[str, ...]] = {
            "Max-Forwards": "70",
            "From": f"<{record.aor}>;tag={self._token()}",
            "To": f"<{record.aor}>",
            "Call-ID": record.call_id,
            "CSeq": f"{record.cseq} REGISTER",
            "Contact": contact,
            "Expires": str(expires),
            "Require": "pref",
            "Supported": "path, gruu",
            "Allow": ALLOW,
            "User-Agent": PRODUCT,
        }
        return Request(method="REGISTER", uri=self._registrar, headers=Headers(fields))

    def _registered(
        self, binding: Binding, response: Response, expires: int
    ) -> float | None:
        binding.tries = 0
        account = binding.account
        account.route = tuple(response.headers.values("Service-Route"))
        if expires == 0:
            binding.registered = False
            return None
        if not binding.registered:
            self._log.info("registered {aor}", aor=account.aor)
        binding.registered = True
        granted = self._granted(binding, response, expires)
        return max(granted * self._spread(0.5, 0.8), SHORTEST)

    def _granted(self, binding: Binding, response: Response, asked: int) -> int:
        """Read the seconds granted to our own contact (RFC 3261 10.2.4)."""
        ours = self._contact(binding.account.aor)
        for value in response.headers.values("Contact"):
            try:
                contact = NameAddr.parse(value)
            except Malformed:
                continue
            seconds = _seconds(contact.params.get("expires"))
            if str(contact.uri) == ours and seconds is not None:
                return min(seconds, asked)
        overall = _seconds(response.headers.get("Expires"))
        return asked if overall is None else min(overall, asked)

    async def _rejected(self, aor: str) -> None:
        """The core knows the user no more: his sessions end (semantics 2)."""
        for session in list(self._sessions.of(aor)):
            await self._sessions.close(session, FORCED)

    def _later(self, binding: Binding) -> float | None:
        if not binding.wanted:
            return None  # what is left of it expires by itself
        delay = BACK_OFF[min(binding.tries, len(BACK_OFF) - 1)]
        binding.tries += 1
        return delay * self._spread(0.75, 1.25)

    def stop(self) -> None:
        """Cancel every timer; the bindings stay, for sessions outlive the process."""
        self._stopped = True
        for binding in self._bindings.values():
            _cancel(binding)


def _cause(account: Account, response: Response) -> str:
    """Say what the operator can mend, where it is that."""
    if response.status in (401, 407) and not account.password:
        return ": the core asks for a password, and the subscriber has no sip-password"
    return ""


def _cancel(binding: Binding) -> None:
    if binding.call is not None:
        binding.call.cancel()
        binding.call = None


def _seconds(text: str | None) -> int | None:
    """Read delta-seconds (RFC 3261 25.1), None for anything else."""
    if text is None or not (text.isascii() and text.isdecimal() and len(text) <= 10):
        return None
    return int(text)


def replace_route(account: Account) -> Account:
    """Give the account without its Service-Route, which REGISTER does not take."""
    if not account.route:
        return account
    return replace(account, route=())
