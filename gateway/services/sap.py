"""The service access point: one body of the data channel in, one reply out.

Transactions are matched by id and direction and not by the exchange that carries them
(transport binding 1.3 chapter 7.2); every client request is answered in its own reply,
what waits for the handset rides along as far as was agreed (docs/semantics.md 2, 4).
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass, field
from typing import Any

from twisted.internet import defer
from twisted.internet.interfaces import IReactorTime
from zope.interface import implementer

from gateway.csp.common import (
    Disconnect,
    GetSPInfoRequest,
    LoginRequest,
    LoginResponse,
    LogoutRequest,
    PollingRequest,
    Result,
    Status,
    VersionDiscoveryRequest,
)
from gateway.csp.envelope import Faulty, Message, Mode, Transaction
from gateway.csp.messaging import (
    ForwardMessageRequest,
    MessageDelivered,
    SendMessageRequest,
)
from gateway.csp.negotiation import FUNCTIONS
from gateway.csp.schema import Primitive, Version
from gateway.csp.session import Answer, Offer, Session
from gateway.csp.syntax import Syntax, syntax_for
from gateway.errors import Malformed, Refused, Unreachable
from gateway.igateway import ISap, Peer, Reply
from gateway.log import Complaints, Logger
from gateway.services.access import Access
from gateway.services.lookups import Lookups
from gateway.services.pressure import TRY_AGAIN, Pressure
from gateway.services.sessions import LOGGED_OUT, Sessions

Handler = Callable[[Session, Any], Coroutine[Any, Any, Primitive]]
Confirmed = Callable[[Session, Offer | None, Primitive], Coroutine[Any, Any, None]]
Refill = Callable[[Session], Coroutine[Any, Any, None]]

_MUCH = 1 << 30
_NEW_WORK = frozenset({SendMessageRequest, ForwardMessageRequest})
"""What is put off under overload; all else is little work, or relieves."""


@dataclass(slots=True)
class Exchange:
    """One exchange of a session while it is worked on."""

    session: Session
    message: Message
    peer: Peer
    answers: list[Transaction] = field(default_factory=list)
    given: list[tuple[Primitive, Answer]] = field(default_factory=list)
    offered: list[str] = field(default_factory=list)

    def abandoned(self) -> bool:
        """Tell whether nobody waits for the reply any more."""
        return self.peer.gone


@implementer(ISap)
class Sap:
    """The IMPS server towards its handsets."""

    _log = Logger()

    def __init__(
        self,
        clock: IReactorTime,
        sessions: Sessions,
        access: Access,
        lookups: Lookups,
        handlers: Mapping[type[Primitive], Handler],
        confirmed: Confirmed,
        refill: Refill,
        pressure: Pressure,
    ) -> None:
        self._clock = clock
        self._sessions = sessions
        self._access = access
        self._lookups = lookups
        self._handlers = dict(handlers)
        self._confirmed = confirmed
        self._refill = refill
        self._complaints = Complaints(self._log, clock)
        self._pressure = pressure
        self._working = 0
        self.stopping = False

    # -- the data channel --------------------------------------------------------

    async def exchange(self, content_type: str, body: bytes, peer: Peer) -> Reply:
        """Answer one body; see ``ISap``."""
        syntax, charset = syntax_for(content_type)
        message = syntax.decode(body, charset)
        if message.session_id is None:
            return await self._outband(syntax, message, peer)
        session = self._sessions.get(message.session_id)
        if session is None:
            session = await self._sessions.find(message.session_id)
            if session is None:
                return await self._without(syntax, message)
        if self._pressure.spent(session, len(body)):
            return self._too_much(syntax, session, message)
        return await self._inband(syntax, Exchange(session, message, peer))

    def _busy(self) -> bool:
        """Tell whether new work of a handset is to be put off now."""
        if self._working < self._pressure.limits.requests:
            return self._pressure.busy("csp")
        self._pressure.put_off("csp")
        return True

    def _too_much(self, syntax: Syntax, session: Session, message: Message) -> Reply:
        """Put off all that a session asks which has used up its share.

        Raises Unreachable (HTTP 503) when there is nothing that could be answered.
        """
        answers = [
            _response(t, _refusal(t.primitive, _later(), session.version))
            for t in message.transactions
            if t.mode is Mode.REQUEST
        ]
        if not answers:
            raise Unreachable("a session asks for more than its share")
        reply = Message(
            version=session.version,
            session_id=session.id,
            transactions=tuple(answers),
            poll=False,
        )
        return _reply(syntax, reply, session.agreed.charset)

    def opens_session(self, content_type: str, body: bytes) -> bool:
        """Tell whether a body is a login; a body that cannot be read is none."""
        try:
            syntax, charset = syntax_for(content_type)
            message = syntax.decode(body, charset)
        except Malformed:
            return False
        return message.session_id is None and any(
            isinstance(t.primitive, LoginRequest) for t in message.transactions
        )

    def unwritten(self, reply: Reply) -> None:
        """Take back what a reply carried that never reached its handset."""
        exchange = reply.context
        if not isinstance(exchange, Exchange):
            return
        exchange.session.take_back(exchange.offered)
        for request, answer in exchange.given:
            if isinstance(request, SendMessageRequest):
                exchange.session.lose(content_key(request), answer)

    # -- outside of a session ----------------------------------------------------

    async def _outband(self, syntax: Syntax, message: Message, peer: Peer) -> Reply:
        answers: list[Transaction] = []
        session = None
        for transaction in message.transactions:
            if transaction.mode is Mode.RESPONSE:
                continue
            try:
                answer, opened = await self._stranger(
                    transaction.primitive, message.version, peer
                )
                session = opened or session
            except Refused as refusal:
                answer = _refusal(transaction.primitive, refusal, message.version)
            except Unreachable as error:
                text = "login not decided: {cause}"
                self._complaints.about("login", text, cause=str(error))
                answer = _status(503, "Service unavailable")
            answers.append(_response(transaction, answer))
        reply = Message(
            version=message.version,
            session_id=None,
            transactions=tuple(answers),
            poll=False if answers else None,
        )
        return _reply(syntax, reply, "utf-8") if answers else Reply()

    async def _stranger(
        self, primitive: Primitive, version: Version, peer: Peer
    ) -> tuple[Primitive, Session | None]:
        if isinstance(primitive, LoginRequest):
            if self.stopping:
                raise Refused(503, "Service unavailable")
            if self._busy():
                raise _later()
            return await self._access.login(primitive, version, peer)
        if isinstance(primitive, GetSPInfoRequest):
            return await self._lookups.provider(None, primitive), None
        if isinstance(primitive, VersionDiscoveryRequest):
            return self._lookups.discovery(primitive), None
        if isinstance(primitive, Faulty):
            return _status(primitive.code, primitive.description), None
        return _status(604, "Invalid session"), None

    async def _without(self, syntax: Syntax, message: Message) -> Reply:
        """Answer for a session that is over or never was: Disconnect once, then 604."""
        assert message.session_id is not None
        answers: list[Transaction] = []
        ended = await self._sessions.ended(message.session_id)
        requests = [t for t in message.transactions if t.mode is Mode.REQUEST]
        polls = [t for t in requests if isinstance(t.primitive, PollingRequest)]
        if ended is not None and ended.farewell is not None:
            await self._sessions.told(ended)
            for transaction in requests:
                if transaction not in polls:
                    answer = _status(ended.farewell, _ENDED[ended.farewell])
                    answers.append(_response(transaction, answer))
            if polls or not requests:
                goodbye = Disconnect(result=_result(ended.farewell))
                answers.append(
                    Transaction(id="0", mode=Mode.REQUEST, primitive=goodbye)
                )
        else:
            answers = [_response(t, _status(604, "Invalid session")) for t in requests]
        if not answers:
            return Reply()
        reply = Message(
            version=message.version,
            session_id=message.session_id,
            transactions=tuple(answers),
            poll=False,
        )
        return _reply(syntax, reply, "utf-8")

    # -- inside of a session -----------------------------------------------------

    async def _inband(self, syntax: Syntax, exchange: Exchange) -> Reply:
        session, message = exchange.session, exchange.message
        self._sessions.touch(session)
        requests: list[Transaction] = []
        for transaction in message.transactions:
            if transaction.mode is Mode.RESPONSE:
                await self._response(session, transaction)
            elif isinstance(transaction.primitive, PollingRequest):
                session.ready = True  # who polls wants to be given what waits
            else:
                requests.append(transaction)
        if len(requests) == 1:
            exchange.answers.append(await self._answer(exchange, requests[0]))
        elif requests:
            work = [
                defer.ensureDeferred(self._answer(exchange, request))
                for request in requests
            ]
            exchange.answers += await defer.gatherResults(work, consumeErrors=True)
        if session.behind is not None:
            await self._more(session)
        return self._compose(syntax, exchange)

    async def _response(self, session: Session, transaction: Transaction) -> None:
        """Take the handset's answer to an offer; it counts once it is committed.

        Raises Unreachable when it cannot be: the reply must not look like a yes.
        """
        primitive = transaction.primitive
        message_id = None
        if isinstance(primitive, MessageDelivered):
            message_id = primitive.message_id
        if self._log.debugging:
            self._log.begins(session.id, transaction.id, primitive.NAME)
        offer = session.confirmed(transaction.id, message_id)
        try:
            await self._confirmed(session, offer, primitive)
        except Unreachable as error:
            # There is no CSP answer to a response that could say so: the exchange
            # fails as a whole (HTTP 503), and the message is offered once more.
            text = "a confirmation is not kept: {cause}"
            self._complaints.about("confirmation", text, cause=str(error))
            if offer is not None:
                session.keep(offer)
            raise

    async def _more(self, session: Session) -> None:
        """Read on what the queue of a session had no room for."""
        try:
            await self._refill(session)
        except Unreachable as error:
            text = "stored messages wait: {cause}"
            self._complaints.about("stored", text, cause=str(error))

    async def _answer(self, exchange: Exchange, request: Transaction) -> Transaction:
        """Answer one client request, or give the answer it got before."""
        session, primitive = exchange.session, request.primitive
        if self._log.debugging:
            self._log.begins(session.id, request.id, primitive.NAME)
        answer: Answer
        if request.id is None:
            answer, repeated = Answer(0, 0.0), False
        else:
            # Alike by their fields are GetMessage and MessageDelivered, by name not.
            key, now = hash((type(primitive), primitive)), self._clock.seconds()
            if type(primitive) in _NEW_WORK and self._busy():
                # Not kept as its answer: tried again, it shall be done.
                if not session.knows(request.id, key, now):
                    refusal = _refusal(primitive, _later(), session.version)
                    return _response(request, refusal)
            answer, repeated = session.begin(request.id, key, now)
            if not repeated and session.may_retry:
                repeated = self._retried(session, primitive, answer)
        exchange.given.append((primitive, answer))
        if answer.primitive is None and answer.request is None:
            answer.request, answer.abandoned = primitive, exchange.abandoned
        if not repeated:
            session.working += 1
            self._working += 1
            try:
                answer.give(await self._decide(session, primitive))
            finally:
                session.working -= 1
                self._working -= 1
        elif answer.primitive is None:
            await _given(answer)
        assert answer.primitive is not None
        if self._log.debugging:
            self._log.ends(answer.primitive)
        return _response(request, answer.primitive)

    def _retried(self, session: Session, request: Primitive, answer: Answer) -> bool:
        """Take the lost answer of a message that comes again under a new id."""
        if not isinstance(request, SendMessageRequest):
            return False
        now = self._clock.seconds()
        known = session.found_again(request, content_key, now)
        if known is not None:
            answer.follow(known)
        return known is not None

    async def _decide(self, session: Session, primitive: Primitive) -> Primitive:
        """Let the service answer that the request is for."""
        try:
            if isinstance(primitive, Faulty):
                return _status(primitive.code, primitive.description)
            if isinstance(primitive, LogoutRequest):
                return await self._logout(session)
            handler = self._handlers.get(type(primitive))
            function = FUNCTIONS.get(primitive.NAME)
            if handler is None:
                raise Refused(405, "Service not supported")
            if (
                session.services is not None
                and function in self._access.available
                and function not in session.services
            ):
                raise Refused(506, "Service not agreed")
            return await handler(session, primitive)
        except Refused as refusal:
            return _refusal(primitive, refusal, session.version)
        except Unreachable as error:
            text, name = "{primitive} not done: {cause}", primitive.NAME
            self._complaints.about(name, text, primitive=name, cause=str(error))
            return _status(503, "Service unavailable")
        except Exception:
            self._log.failure("{primitive} failed", primitive=primitive.NAME)
            return _status(500, "Internal error")

    async def _logout(self, session: Session) -> Primitive:
        await self._sessions.close(session, LOGGED_OUT)
        if session.version is Version.V1_1:
            return Disconnect(result=Result(code=200))
        return _status(200, "Successful")

    def _compose(self, syntax: Syntax, exchange: Exchange) -> Reply:
        """Put answers and what waits into one message."""
        session, answers = exchange.session, exchange.answers
        transactions = answers
        live = session.ready and self._sessions.get(session.id) is session
        poll = False
        if live and session.open_offers:
            room, space = _room(session, answers)
            now = self._clock.seconds()
            due = session.due(room, space, now, alone=not answers)
            if due:
                exchange.offered = [t.id or "" for t in due]
                transactions = answers + due
            poll = session.waiting > 0
        if not transactions:
            return Reply()
        # In the session's version, even should one of its messages come in another:
        # every primitive here was made for it.
        message = Message(
            version=session.version,
            session_id=session.id,
            transactions=tuple(transactions),
            poll=poll,
        )
        reply = _reply(syntax, message, session.agreed.charset)
        reply.context = exchange
        return reply


_ENDED = {600: "Session expired", 601: "Forced logout"}


def _room(session: Session, answers: list[Transaction]) -> tuple[int, int]:
    """Give how many server transactions, and bytes of them, a reply still takes."""
    agreed = session.agreed
    room = max(agreed.multi - len(answers), 0)
    if agreed.parser_size is None:
        return room, _MUCH
    taken = sum(
        agreed.size(getattr(t.primitive, "content_data", None) or "") for t in answers
    )
    return room, agreed.parser_size - taken


def content_key(request: Primitive) -> int:
    """Give the key by which a message is known when it comes again under a new id."""
    assert isinstance(request, SendMessageRequest)
    info = request.message_info
    return hash((info.recipient, info.content_type, request.content_data))


def _given(answer: Answer) -> defer.Deferred[Primitive]:
    """Wait for an answer that is still being worked out."""
    d: defer.Deferred[Primitive] = defer.Deferred()
    answer.waiting = answer.waiting or []
    answer.waiting.append(d.callback)
    return d


def _response(request: Transaction, primitive: Primitive) -> Transaction:
    return Transaction(id=request.id, mode=Mode.RESPONSE, primitive=primitive)


def _later() -> Refused:
    return Refused(503, "Too busy, try again later", try_again=TRY_AGAIN)


def _result(code: int, description: str = "") -> Result:
    return Result(code=code, description=description or _ENDED.get(code))


def _status(code: int, description: str) -> Status:
    return Status(result=Result(code=code, description=description))


def _refusal(primitive: Primitive, refusal: Refused, version: Version) -> Primitive:
    """Write a refusal: Login-Response for a login, Status for all else."""
    result = Result(
        code=refusal.code,
        description=refusal.description or None,
        try_again_timeout=refusal.try_again if version >= Version.V1_3 else None,
    )
    if isinstance(primitive, LoginRequest):
        return LoginResponse(client_id=primitive.client_id, result=result)
    return Status(result=result)


def _reply(syntax: Syntax, message: Message, charset: str) -> Reply:
    kind = syntax.content_type(message.version)
    if charset != "utf-8":
        kind = f"{kind}; charset={charset}"
    return Reply(content_type=kind, body=syntax.encode(message, charset))
