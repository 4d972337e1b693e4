"""Messages to handsets: taken over from SIP, offered, confirmed.

A message is committed before its SIP sender hears 200 or 202, is offered to the open
sessions of its recipient, and ends with the first confirmation; what no session
confirms stays in the store for the next one (docs/semantics.md 1, 3 and 4).
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

from twisted.internet import defer
from twisted.internet.interfaces import IReactorTime

from gateway.config import Config
from gateway.csp.common import DetailedResult, Result, Status
from gateway.csp.messaging import (
    DeliveryReportRequest,
    GetMessageListRequest,
    GetMessageListResponse,
    GetMessageRequest,
    GetMessageResponse,
    MessageDelivered,
    MessageInfo,
    MessageInfoList,
    MessageNotification,
    NewMessage,
    RejectMessageRequest,
    SetDeliveryMethodRequest,
)
from gateway.csp.negotiation import ENVELOPE
from gateway.csp.schema import Primitive, Version
from gateway.csp.session import Offer, Session
from gateway.errors import Malformed, Refused, Unreachable
from gateway.identity import Domains
from gateway.log import Logger
from gateway.services.ledger import TO_HANDSET, Ledger
from gateway.services.reports import is_report, primitive, report_of
from gateway.services.sessions import Sessions
from gateway.sip.message import Request
from gateway.store import (
    Added,
    Duplicate,
    FinalState,
    Full,
    Limits,
    Store,
    StoredMessage,
)
from gateway.translation.messaging import (
    Content,
    accepted,
    data_for,
    from_sip,
    info_for,
    is_content_type,
    media_type,
    microseconds,
    moment,
)

COMPOSING = "application/im-iscomposing+xml"
LISTED = 100
"""MessageInfo entries that one GetMessageList-Response holds at most."""
_INFO_SIZE = 700
_PAGE = 100
_TYPES = 64
_BEGINNING = (-(2**62), "")
_NO_ROOM = Limits(max_messages=0, max_bytes=0)


class Outcome(NamedTuple):
    """The SIP answer to a MESSAGE, with what goes into its header."""

    status: int
    headers: tuple[tuple[str, str], ...] = ()


@dataclass(slots=True)
class _Flush:
    """What happens for a session while its stored messages are being read."""

    later: list[StoredMessage] = field(default_factory=list)
    gone: set[str] = field(default_factory=set)
    """Ids that were settled: a page read before that may still name them."""


class Delivery:
    """Brings messages to their handsets and keeps account of them."""

    _log = Logger()

    def __init__(
        self,
        clock: IReactorTime,
        config: Config,
        store: Store,
        ledger: Ledger,
        sessions: Sessions,
        domains: Domains,
        token: Callable[[], str],
    ) -> None:
        self._clock = clock
        self._store = store
        self._ledger = ledger
        self._sessions = sessions
        self._domains = domains
        self._token = token
        self._flushing: dict[str, _Flush] = {}
        self.apply(config)
        self._latest = 0
        sessions.on_opened.append(self._opened)
        sessions.on_closed.append(self._closed)

    def apply(self, config: Config) -> None:
        """Take the limits of a new configuration for what comes from now on."""
        self._offline = config.offline
        self._queue = config.session.queue

    # -- from SIP ----------------------------------------------------------------

    async def accept(self, request: Request, aor: str, sender: str) -> Outcome:
        """Take a MESSAGE over for a subscriber; give the answer for its sender.

        Raises Malformed for a faulty one, Unreachable when nothing can be committed.
        """
        incoming = from_sip(request)
        if media_type(incoming.content.type) == COMPOSING or not request.body:
            return Outcome(200)  # nothing to show: swallowed, never stored
        if len(request.body) > self._offline.max_size:
            return Outcome(513)
        if self._sessions.restoring:
            await self._sessions.recall(aor)
        targets = self._targets(aor)
        limits, refusal = self._limits(bool(targets)), Outcome(480)
        if targets and not any(accepted(incoming.content, s.agreed) for s in targets):
            limits, refusal = _NO_ROOM, Outcome(415, (("Accept", _accept(targets)),))
        elif not targets and incoming.validity == 0:
            limits = _NO_ROOM
        now = self._clock.seconds()
        at = self._latest = max(int(now * 1e6), self._latest + 1)  # in order of arrival
        message = StoredMessage(
            id=self._token(),
            recipient=aor,
            sender=sender,
            content_type=incoming.content.type,
            content=incoming.content.body,
            sent_at=at if incoming.sent_at is None else microseconds(incoming.sent_at),
            accepted_at=at,
            expires_at=int((now + self._age(incoming.validity)) * 1e6),
            direction="to_handset",
            inbound_key=inbound_key(request, aor),
            headers=_kept(request, incoming.validity),
            answer=200 if targets else 202,
        )
        # Asked even when it is to be refused: a repeat gets the answer of the first.
        added = await self._store.add_message(message, limits)
        if isinstance(added, Duplicate):
            return Outcome(added.answer)
        if isinstance(added, Full):
            self._ledger.turned_away(TO_HANDSET, f"SIP {refusal.status}")
            return refusal
        self._ledger.begun(
            message, "accepted" if targets else "stored", call_id=request.call_id
        )
        self._offer_all(message)
        return Outcome(message.answer)

    def _age(self, validity: int | None) -> int:
        """Give the seconds a message is kept (seed 004 12.2.2.3): its own, if fair."""
        if validity is None or validity > self._offline.max_age:
            return self._offline.default_age
        return validity

    def _limits(self, online: bool) -> Limits:
        most = self._offline.max_messages
        if online:
            most = max(most, self._queue)
        return Limits(max_messages=most, max_bytes=self._offline.max_bytes)

    # -- offering ----------------------------------------------------------------

    def _targets(self, aor: str) -> list[Session]:
        """Give the sessions that messages go to: those of the highest priority."""
        sessions = self._sessions.of(aor)
        if len(sessions) < 2:
            return sessions
        top = max(s.agreed.priority for s in sessions)
        return [s for s in sessions if s.agreed.priority == top]

    def _offer_all(self, message: StoredMessage) -> None:
        for session in self._targets(message.recipient):
            flush = self._flushing.get(session.id)
            if flush is None:
                self._queue_up(session, message)
            else:
                flush.later.append(message)

    def _queue_up(self, session: Session, message: StoredMessage) -> None:
        """Queue one message, or leave it and all that follow for ``refill``."""
        if session.behind is None:
            offer = Offer(message.id, lambda: self._form(session, message))
            if not session.offer(offer):
                session.behind = (message.accepted_at, "")

    def _form(self, session: Session, message: StoredMessage) -> tuple[Primitive, int]:
        """Make the server transaction: pushed if agreed and short enough."""
        if is_report(message):
            return primitive(message, session.user), ENVELOPE
        content = Content(message.content_type, message.content)
        info, data = self._described(session, message)
        push = session.agreed.pushes(data, text=info.content_encoding is None)
        if session.services is not None:
            if "NEWM" not in session.services:
                push = push and "NOTIF" not in session.services
            elif "NOTIF" not in session.services:
                push = True
        push = push and accepted(content, session.agreed)
        how = "pushed" if push else "announced"
        self._ledger.noted(message.id, how, TO_HANDSET, session=session.id[:6])
        if push:
            pushed = NewMessage(message_info=info, content_data=data)
            return pushed, session.agreed.size(data)
        return MessageNotification(message_info=info), ENVELOPE

    def _described(
        self, session: Session, message: StoredMessage
    ) -> tuple[MessageInfo, str]:
        content = Content(message.content_type, message.content)
        content_type, encoding, data = data_for(content)
        validity = message.headers.get("validity")
        info = info_for(
            message_id=message.id,
            content=content,
            encoding=encoding,
            content_type=content_type,
            sender=message.sender,
            recipient=session.user,
            sent_at=moment(message.sent_at),
            validity=None if validity is None else int(validity),
        )
        return info, data

    def _opened(self, session: Session) -> None:
        if session in self._targets(session.aor):
            self._flush(session)
        else:
            session.behind = _BEGINNING  # until its priority is the highest

    def _closed(self, session: Session, code: int) -> None:
        """Give what the ended session leaves to those that come next in priority."""
        self._flushing.pop(session.id, None)
        for other in self._targets(session.aor):
            other.behind = None
            self._flush(other)

    def _flush(self, session: Session) -> None:
        if session.id in self._flushing:
            return
        self._flushing[session.id] = _Flush()
        d = defer.ensureDeferred(self._read(session))
        d.addErrback(self._unread)

    def _unread(self, failure: Any) -> None:
        if failure.check(Unreachable):
            self._log.warn("stored messages wait: {cause}", cause=str(failure.value))
        else:
            self._log.failure("stored messages were not offered", failure)

    async def _read(self, session: Session) -> None:
        """Offer what is stored, then what came meanwhile: in order, each once."""
        flush = self._flushing[session.id]
        after, session.behind = session.behind, None
        known = {offer.key for offer in session.offers()}
        try:
            while session.behind is None and (
                page := await self._store.messages(session.aor, after, _PAGE)
            ):
                for message in page:
                    if message.id not in known and message.id not in flush.gone:
                        known.add(message.id)
                        self._queue_up(session, message)
                after = (page[-1].accepted_at, page[-1].id)
        except Unreachable:
            session.behind = after or _BEGINNING  # read on when the handset polls
            raise
        finally:
            self._flushing.pop(session.id, None)
            for message in flush.later:
                if message.id not in known and message.id not in flush.gone:
                    self._queue_up(session, message)

    async def refill(self, session: Session) -> None:
        """Go on with what the queue of a session had no room for, once it has."""
        room = session.queue_limit - session.open_offers
        if 2 * room < session.queue_limit or session.id in self._flushing:
            return
        if session not in self._targets(session.aor):
            return
        self._flushing[session.id] = _Flush()
        await self._read(session)

    # -- confirmations -----------------------------------------------------------

    async def confirmed(
        self, session: Session, offer: Offer | None, answer: Primitive
    ) -> None:
        """Take a handset's answer to an offer; done once it is committed.

        MessageDelivered counts by its MessageID, whatever the transaction; a Status
        counts where it answers pushed content, or a report.
        """
        if isinstance(answer, MessageDelivered):
            message_id = answer.message_id
            if offer is not None and offer.key == message_id:
                await self._finish(message_id, session.aor, "delivered")
            else:
                await self._delivered(session, message_id)
        elif (
            offer is not None
            and isinstance(answer, Status)
            and (
                isinstance(offer.primitive, DeliveryReportRequest)
                or isinstance(offer.primitive, NewMessage)
                and answer.result.code // 100 == 2
            )
        ):
            await self._finish(offer.key, session.aor, "delivered")

    async def delivered(self, session: Session, request: MessageDelivered) -> Primitive:
        """Handle MessageDelivered as a request of its own, after GetMessage."""
        if not await self._delivered(session, request.message_id):
            raise Refused(426, "Invalid Message-ID")
        return _OK

    async def _delivered(self, session: Session, message_id: str) -> bool:
        message = await self._own(session, message_id)
        if message is None:
            return False
        if message.state is None:
            await self._finish(message.id, session.aor, "delivered")
        return True

    async def _finish(
        self, message_id: str, aor: str, state: FinalState, reason: str = ""
    ) -> None:
        """End a message of a user and offer it to nobody any more."""
        await self._ledger.finish(message_id, TO_HANDSET, state, reason)
        self._withdraw(message_id, aor)

    def _withdraw(self, message_id: str, aor: str) -> None:
        for session in self._sessions.of(aor):
            session.withdraw(message_id)
            if (flush := self._flushing.get(session.id)) is not None:
                flush.gone.add(message_id)

    async def _own(self, session: Session, message_id: str) -> StoredMessage | None:
        """Find a message of this very user; others' ids are as good as unknown."""
        message = await self._store.message(message_id)
        if message is None or message.recipient != session.aor or is_report(message):
            return None
        return message if message.direction == "to_handset" else None

    # -- what handsets ask -------------------------------------------------------

    async def get(self, session: Session, request: GetMessageRequest) -> Primitive:
        """Give a message that waits (GetMessage)."""
        message = await self.waiting(session, request.message_id)
        info, data = self._described(session, message)
        if not session.agreed.gives(data):
            raise Refused(432, "The message is larger than agreed")
        self._ledger.noted(message.id, "fetched", TO_HANDSET, session=session.id[:6])
        return GetMessageResponse(message_info=info, content_data=data)

    async def waiting(self, session: Session, message_id: str) -> StoredMessage:
        """Find a message of the user that has not ended. Raises Refused(426, 542)."""
        message = await self._own(session, message_id)
        if message is None or message.state in ("delivered", "rejected", "failed"):
            raise Refused(426, "Invalid Message-ID")
        if message.state == "expired":
            raise Refused(542, "Message has expired")
        return message

    async def list(self, session: Session, request: GetMessageListRequest) -> Primitive:
        """List what waits (GetMessageList)."""
        if request.group_id is not None:
            raise Refused(800, "Group does not exist")
        most = LISTED
        if request.message_count is not None:
            most = min(most, max(request.message_count, 0))
        if session.agreed.parser_size is not None:
            room = (session.agreed.parser_size - ENVELOPE) // _INFO_SIZE
            most = min(most, max(room, 1))
        stored = await self._store.messages(session.aor, None, self._queue + LISTED)
        messages = [message for message in stored if not is_report(message)]
        infos = tuple(self._described(session, m)[0] for m in messages[:most])
        if session.version is Version.V1_3:
            return GetMessageListResponse(
                message_info_list=MessageInfoList(message_info=infos),
                message_total_count=len(messages),
            )
        return GetMessageListResponse(message_info=infos)

    async def reject(
        self, session: Session, request: RejectMessageRequest
    ) -> Primitive:
        """Remove messages unread (RejectMessage): 200, 201 or 426."""
        bad = []
        for message_id in request.message_id:
            try:
                await self.waiting(session, message_id)
                await self._finish(message_id, session.aor, "rejected")
            except Refused:
                bad.append(message_id)
        if not bad:
            return _OK
        if len(bad) == len(request.message_id):
            raise Refused(426, "Invalid Message-ID")
        detail = DetailedResult(code=426, message_id=tuple(bad))
        return Status(result=Result(code=201, detailed_result=(detail,)))

    async def set_method(
        self, session: Session, request: SetDeliveryMethodRequest
    ) -> Primitive:
        """Choose push or notify from now on (SetDeliveryMethod)."""
        if request.group_id is not None:
            raise Refused(800, "Group does not exist")
        method = request.delivery_method.strip().upper()
        if method not in ("P", "N"):
            raise Refused(402, "DeliveryMethod is P or N")
        agreed = replace(session.agreed, push=method == "P")
        if request.accepted_content_length is not None:
            agreed = replace(agreed, push_length=request.accepted_content_length)
        session.agreed = agreed
        await self._sessions.save(session)
        return _OK

    async def forwarded(self, message: StoredMessage) -> None:
        """End a message that its recipient sent on to others."""
        await self._finish(message.id, message.recipient, "delivered", "forwarded")

    # -- failures and time -------------------------------------------------------

    async def report(self, message: StoredMessage, code: int) -> None:
        """Tell a sender that a message he was told is ours does not arrive.

        Done once the report is committed; raises Unreachable. May be repeated.
        """
        try:
            recipient = str(self._domains.wv(message.recipient))
        except Malformed:
            recipient = message.recipient
        at = int(self._clock.seconds() * 1e6)
        report = report_of(message, code, recipient, at, self._offline.max_age)
        if isinstance(await self._store.add_message(report), Added):
            self._offer_all(report)

    async def expire(self) -> int:
        """End what is past its time before a handset had it; how many."""
        now = int(self._clock.seconds() * 1e6)
        gone = await self._store.expire_messages(now, _PAGE)
        for message in gone:
            self._ledger.finished(message.id, TO_HANDSET, "expired")
            self._withdraw(message.id, message.recipient)
        return len(gone)


_OK = Status(result=Result(code=200, description="Successful"))


def inbound_key(request: Request, aor: str) -> str:
    """Give what two copies of one MESSAGE have in common (semantics 3)."""
    cseq = request.cseq.number
    text = f"{request.call_id}\n{cseq}\n{request.from_.tag or ''}\n{aor}"
    return hashlib.sha256(text.encode()).hexdigest()


def _kept(request: Request, validity: int | None) -> dict[str, str]:
    """Keep the headers that a deferred message goes on with (seed 004 12.2.2.3)."""
    kept = {
        name: value
        for name in ("From", "To", "Call-ID", "CSeq", "Subject", "Date")
        if (value := request.headers.get(name)) is not None
    }
    if validity is not None:
        kept["validity"] = str(validity)
    return kept


def _accept(sessions: list[Session]) -> str:
    types = {
        kind
        for session in sessions
        for kind in session.agreed.content_types
        if is_content_type(kind)
    }
    return ", ".join(sorted(types | {"text/plain"})[:_TYPES])
