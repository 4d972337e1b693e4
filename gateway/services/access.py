"""Access to the service: login, logout, keep-alive, negotiation, look-ups.

CSP fundamental primitives; session rules in the transport binding 1.3 chapter 6 and
docs/semantics.md 2 and 5. The directory of subscribers alone decides a login.
"""

from __future__ import annotations

import hmac
from collections import Counter, OrderedDict
from collections.abc import Callable

from twisted.internet.interfaces import IReactorTime

from gateway.config import Config
from gateway.config import Session as Settings
from gateway.csp import negotiation
from gateway.csp.common import (
    AllFunctions,
    ClientCapabilityRequest,
    ClientCapabilityResponse,
    ClientID,
    Functions,
    KeepAliveRequest,
    KeepAliveResponse,
    LoginRequest,
    LoginResponse,
    Result,
    ServiceRequest,
    ServiceResponse,
)
from gateway.csp.digest import HASHES, digest_bytes
from gateway.csp.schema import Primitive, Version
from gateway.csp.session import Session
from gateway.errors import Malformed, Refused
from gateway.identity import Domains, WVAddress
from gateway.igateway import Peer
from gateway.log import Logger
from gateway.services.sessions import FORCED, Sessions, re_established
from gateway.services.throttle import Throttle
from gateway.store import Store, Subscriber

AVAILABLE = frozenset(
    {"GETSPI", "VRID", "FWMSG", "SETD", "GETLM", "GETM", "REJCM", "NOTIF", "NEWM"}
)
"""The functions that this release offers; anything else gets 405."""
NONCE_LIFE = 60.0
_NONCES = 10_000
_LONG = 512
_CAUSES = {409: "password", 503: "throttled", 531: "unknown", 604: "session"}
_SCHEMAS = (*HASHES, "PWD")  # in order of preference


class Access:
    """Who may come in, and on which terms."""

    _log = Logger()

    def __init__(
        self,
        clock: IReactorTime,
        config: Config,
        store: Store,
        sessions: Sessions,
        domains: Domains,
        token: Callable[[], str],
        *,
        bearers: tuple[str, ...] = ("HTTP",),
        available: frozenset[str] = AVAILABLE,
    ) -> None:
        self._clock = clock
        self._store = store
        self._sessions = sessions
        self._domains = domains
        self._token = token
        self.available = available
        self.outcomes: Counter[int] = Counter()
        self._bearers = bearers
        self.apply(config.session)
        self._nonces: OrderedDict[tuple[str, str], tuple[str, str, float]]
        self._nonces = OrderedDict()

    def apply(self, settings: Settings) -> None:
        """Take limits for what is settled from now on; failures count anew."""
        self._settings = settings
        self._server = negotiation.Server(
            bearers=self._bearers,
            poll_min=settings.poll_min,
            multi_trans=settings.multi_trans,
            session_limit=settings.per_user,
        )
        self._by_account = Throttle(settings.login_failures)
        self._by_address = Throttle(settings.login_failures_per_address)

    # -- login -------------------------------------------------------------------

    async def login(
        self, request: LoginRequest, version: Version, peer: Peer
    ) -> tuple[LoginResponse, Session | None]:
        """Answer one step of a login; the session when it is open now.

        Raises Refused with 409, 531, 543, 501, 604 or 605, and with 503 when this
        account or address has failed too often.
        """
        try:
            response, session = await self._throttled(request, version, peer)
        except Refused as refusal:
            self.outcomes[refusal.code] += 1
            self._failed(request, peer, refusal)
            raise
        self.outcomes[response.result.code] += 1
        return response, session

    async def _throttled(
        self, request: LoginRequest, version: Version, peer: Peer
    ) -> tuple[LoginResponse, Session | None]:
        now = self._clock.seconds()
        account = request.user_id.strip().casefold()
        wait = self._by_account.wait(account, now)
        if not peer.shared:
            wait = max(wait, self._by_address.wait(peer.address, now))
        if wait:
            raise Refused(503, "Too many failed logins", try_again=wait)
        try:
            answer = await self._checked(request, version, peer)
        except Refused as refusal:
            if refusal.code in (409, 531, 604):
                self._by_account.failed(account, now)
                if not peer.shared:
                    self._by_address.failed(peer.address, now)
            raise
        if answer[1] is not None:
            self._by_account.passed(account)
        return answer

    async def _checked(
        self, request: LoginRequest, version: Version, peer: Peer
    ) -> tuple[LoginResponse, Session | None]:
        if request.session_id:
            if not self._settings.re_establish:
                raise Refused(501, "Session re-establishment is not supported")
            try:
                return await self._login(request, version, peer)
            except Refused as refusal:
                if refusal.code in (409, 531):  # whichever of the three is wrong
                    raise Refused(604, "Invalid session") from refusal
                raise
        return await self._login(request, version, peer)

    async def _login(
        self, request: LoginRequest, version: Version, peer: Peer
    ) -> tuple[LoginResponse, Session | None]:
        user, subscriber = await self._known(request.user_id, peer)
        client = client_key(request.client_id)
        if max(len(client), len(request.session_cookie)) > _LONG:
            raise Refused(402, "ClientID or SessionCookie is too long")
        if request.password is None and request.digest_bytes is None:
            return self._challenge(request, version, user, client), None
        if not self._authentic(request, user, client, subscriber):
            raise Refused(409, "Invalid password")
        if request.session_id:
            session, fresh = await self._again(request, subscriber, client, version)
        else:
            session, fresh = self._new(request, subscriber, client, version), True
        session.bearer = peer.bearer
        response = self._negotiated_at_login(session, request, fresh)
        await self._sessions.open(session)
        # Afterwards, so that of several logins at a time the last one stays alone.
        await self._make_room(session)
        return response, session

    async def _known(self, user_id: str, peer: Peer) -> tuple[WVAddress, Subscriber]:
        """Find who wants to come in. Raises Refused(531)."""
        try:
            user = self._domains.address(user_id)
        except Malformed as error:
            raise Refused(531, str(error)) from None
        if user.is_msisdn:
            subscriber = await self._store.subscriber_by_msisdn(user.user)
        else:
            subscriber = await self._store.subscriber_by_user(user.key)
        if subscriber is None or not subscriber.enabled:
            raise Refused(531, "Unknown user")
        return user, subscriber

    def _failed(self, request: LoginRequest, peer: Peer, refusal: Refused) -> None:
        """Log a login that failed for want of the right words, in one line to parse."""
        first = refusal.__cause__ if isinstance(refusal.__cause__, Refused) else refusal
        cause = _CAUSES.get(first.code)
        if cause is not None:
            # A value ends at a blank, so that nobody can write further ones into it.
            user = "%20".join(request.user_id.casefold().split())[:_LONG]
            self._log.info(
                "login failed: user={user} address={address} cause={cause}",
                user=user,
                address=peer.address,
                cause=cause,
            )

    def _challenge(
        self, request: LoginRequest, version: Version, user: WVAddress, client: str
    ) -> LoginResponse:
        """Begin a login in four steps (CSP 1.1 sends 200 with it, later ones 401)."""
        offered = {
            name.strip().upper()
            for item in request.digest_schema
            for name in item.split(",")
        }
        schema = next((s for s in _SCHEMAS if s in offered), None)
        if schema is None:
            raise Refused(543, "No matching digest scheme supported")
        nonce = self._token()
        self._nonces[user.key, client] = (nonce, schema, self._clock.seconds())
        self._nonces.move_to_end((user.key, client))
        while len(self._nonces) > _NONCES:
            self._nonces.popitem(last=False)
        code = 200 if version is Version.V1_1 else 401
        return LoginResponse(
            client_id=request.client_id,
            result=Result(code=code),
            nonce=nonce,
            digest_schema=schema,
        )

    def _authentic(
        self,
        request: LoginRequest,
        user: WVAddress,
        client: str,
        subscriber: Subscriber,
    ) -> bool:
        """Check a password, or the digest over the nonce given last (single use)."""
        if request.digest_bytes is None:
            given = (request.password or "").encode()
            return hmac.compare_digest(given, subscriber.password.encode())
        nonce, schema, at = self._nonces.pop((user.key, client), ("", "", 0.0))
        if not nonce or self._clock.seconds() - at > NONCE_LIFE:
            return False
        if schema not in HASHES:
            return False
        right = digest_bytes(schema, nonce, subscriber.password).encode()
        given = "".join(request.digest_bytes.split()).encode()
        return hmac.compare_digest(given, right)

    def _new(
        self,
        request: LoginRequest,
        subscriber: Subscriber,
        client: str,
        version: Version,
    ) -> Session:
        return Session(
            id=self._token(),
            aor=subscriber.aor,
            user=request.user_id.strip(),
            client_id=client,
            version=version,
            cookie=request.session_cookie,
            keep_alive=self._granted(request.time_to_live),
            queue_limit=self._settings.queue,
        )

    async def _again(
        self,
        request: LoginRequest,
        subscriber: Subscriber,
        client: str,
        version: Version,
    ) -> tuple[Session, bool]:
        """Take up a session that is over, or move one (T-6-10 to T-6-19).

        Tells whether the client must negotiate. Raises Refused(501, 604 or 605).
        """
        assert request.session_id is not None
        living = await self._sessions.find(request.session_id)
        if living is not None:
            if living.aor != subscriber.aor:
                raise Refused(604, "Invalid session")
            await self._sessions.close(living, FORCED)
        ended = await self._sessions.ended(request.session_id)
        if ended is None or ended.record.aor != subscriber.aor:
            raise Refused(604, "Invalid session")
        session = re_established(ended.record, self._settings.queue)
        if session.services is not None and not session.services <= self.available:
            raise Refused(605, "The services of the session cannot be given again")
        session.version = version
        session.cookie = request.session_cookie
        session.user = request.user_id.strip()
        if request.time_to_live is not None:
            session.keep_alive = self._granted(request.time_to_live)
        other = session.client_id != client
        session.client_id = client
        if other:
            session.ready = False
        return session, other or not session.agreed.negotiated

    def _negotiated_at_login(
        self, session: Session, request: LoginRequest, fresh: bool
    ) -> LoginResponse:
        """Write the answer; 1.3 may settle everything in it (Login-Response)."""
        lacking, agreed_list = None, None
        if request.functions is not None:
            lacking = self._services(session, request.functions)
        if request.capability_list is not None:
            agreed = negotiation.agree(
                request.capability_list, self._server, session.version
            )
            session.agreed, session.ready, fresh = agreed, True, False
            agreed_list = negotiation.capability_answer(
                request.capability_list, agreed, self._server
            )
        return LoginResponse(
            client_id=request.client_id,
            result=Result(code=200),
            session_id=session.id,
            keep_alive_time=session.keep_alive,
            capability_request=fresh,
            functions=lacking,
            agreed_capability_list=agreed_list,
        )

    async def _make_room(self, session: Session) -> None:
        """End what the new session replaces: same client, or one too many."""
        if self._sessions.restoring:
            await self._sessions.recall(session.aor)
        others = [s for s in self._sessions.of(session.aor) if s is not session]
        gone = [s for s in others if s.client_id == session.client_id]
        left = [s for s in others if s.client_id != session.client_id]
        left.sort(key=lambda s: s.last_activity)
        gone += left[: max(0, len(left) + 1 - self._settings.per_user)]
        for other in gone:
            await self._sessions.close(other, FORCED)

    def _granted(self, wanted: int | None) -> int:
        """Give KeepAliveTime for a TimeToLive, within the operator's bounds."""
        low, high = self._settings.keep_alive_min, self._settings.keep_alive_max
        return min(max(wanted or self._settings.keep_alive, low), high)

    # -- within a session --------------------------------------------------------

    async def keep_alive(
        self, session: Session, request: KeepAliveRequest
    ) -> Primitive:
        """Answer a KeepAlive-Request; it may ask for another interval."""
        if request.time_to_live is not None:
            granted = self._granted(request.time_to_live)
            if granted != session.keep_alive:
                session.keep_alive = granted
                await self._sessions.save(session)
        return KeepAliveResponse(
            result=Result(code=200), keep_alive_time=session.keep_alive
        )

    async def capability(
        self, session: Session, request: ClientCapabilityRequest
    ) -> Primitive:
        """Settle the capabilities anew; what waits may be offered from now on."""
        offered = request.capability_list
        if offered is None:
            raise Refused(400, "CapabilityList is missing")
        agreed = negotiation.agree(offered, self._server, session.version)
        session.agreed, session.ready = agreed, True
        await self._sessions.save(session)
        if session.version is Version.V1_1:
            return ClientCapabilityResponse(
                client_id=request.client_id or _client_of(session),
                capability_list=negotiation.capability_copy(offered, agreed),
            )
        return ClientCapabilityResponse(
            agreed_capability_list=negotiation.capability_answer(
                offered, agreed, self._server
            )
        )

    async def service(self, session: Session, request: ServiceRequest) -> Primitive:
        """Settle the services; what is not agreed is refused with 506 from now on."""
        lacking = self._services(session, request.functions)
        await self._sessions.save(session)
        every = None
        if request.all_functions_request:
            tree = negotiation.tree_of(self.available, session.version)
            assert tree is not None
            every = AllFunctions(wvcsp_feat=tree)
        return ServiceResponse(
            client_id=request.client_id or _client_of(session),
            functions=lacking,
            all_functions=every,
        )

    def _services(
        self, session: Session, functions: Functions | None
    ) -> Functions | None:
        wanted = negotiation.asked(functions, session.version)
        session.services = wanted & self.available
        lacking = negotiation.tree_of(wanted - self.available, session.version)
        return None if lacking is None else Functions(wvcsp_feat=lacking)


def client_key(client: ClientID) -> str:
    """Give the text by which two ClientIDs are compared."""
    return f"{client.url or ''}|{client.msisdn or ''}"


def _client_of(session: Session) -> ClientID:
    """Give the ClientID of the login, for a client of 1.1 that leaves it out later."""
    url, _, msisdn = session.client_id.rpartition("|")
    return ClientID(url=url or None, msisdn=msisdn or None)
