"""Messages from handsets: SendMessage and ForwardMessage towards the core.

A message is answered with what the core says, or, when that takes longer than ``hold``,
with 200 once it is committed; then it goes on by itself from the outbox until its
validity is over (docs/semantics.md 1 and 2). Per sender and recipient one MESSAGE is in
flight, so that order is kept.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime
from functools import lru_cache

from twisted.internet import defer
from twisted.internet.interfaces import IReactorTime

from gateway.config import Config
from gateway.csp.common import DetailedResult, Recipient, Result
from gateway.csp.messaging import SendMessageRequest, SendMessageResponse
from gateway.csp.schema import Primitive
from gateway.csp.session import Session
from gateway.errors import Malformed, Refused, Unreachable
from gateway.identity import Domains
from gateway.log import Complaints, Logger, transaction
from gateway.services.deadlines import LATE, Deadlines
from gateway.services.ledger import TO_SIP, Ledger
from gateway.services.outbox import Line, Outbox
from gateway.services.reports import SENT_AS
from gateway.services.ua import NoAnswer
from gateway.store import StoredMessage, Subscriber
from gateway.translation import status
from gateway.translation.messaging import (
    Content,
    content_of,
    microseconds,
)

RECIPIENTS = 50
"""Users that one SendMessage may name."""
WAITING = 32
"""Messages of one sender to one recipient that wait for their turn in memory."""

_NOBODY: deque[defer.Deferred[None]] = deque(maxlen=0)


class Sending:
    """Takes messages over from handsets and gives them to the core."""

    _log = Logger()

    def __init__(
        self,
        clock: IReactorTime,
        config: Config,
        outbox: Outbox,
        ledger: Ledger,
        domains: Domains,
        token: Callable[[], str],
        numbers: Callable[[str], Awaitable[Subscriber | None]],
    ) -> None:
        self._clock = clock
        self._config = config
        self._outbox = outbox
        self._ledger = ledger
        self._domains = domains
        self._token = token
        self._numbers = numbers
        self._deadlines = Deadlines(clock, config.gateway.hold)
        self._complaints = Complaints(self._log, clock)
        self._latest = 0
        # Who is in flight on a line, and who waits for his turn behind him.
        self._turns: dict[Line, deque[defer.Deferred[None]]] = {}

    def apply(self, config: Config) -> None:
        """Take the sizes and ages of a new configuration."""
        self._config = config

    # -- SendMessage -------------------------------------------------------------

    async def send(self, session: Session, request: SendMessageRequest) -> Primitive:
        """Send one message to all its recipients; the handler of SendMessage."""
        info = request.message_info
        content = content_of(info, request.content_data)
        if len(content.body) > self._config.offline.max_size:
            raise Refused(432, "The message is too large")
        result, message_id = await self.deliver(
            session, info.recipient, content, info.validity, info.date_time
        )
        return SendMessageResponse(result=result, message_id=message_id)

    async def deliver(
        self,
        session: Session,
        recipient: Recipient,
        content: Content,
        validity: int | None,
        date_time: datetime | None,
    ) -> tuple[Result, str | None]:
        """Send a content to each recipient; the result as one and by recipient."""
        if len(recipient.user) == 1 and not recipient.group:
            if not recipient.contact_list:
                return await self._to_one(
                    session, recipient.user[0].user_id, content, validity, date_time
                )
        users = [user.user_id for user in recipient.user]
        if len(users) > RECIPIENTS:
            raise Refused(403, f"more than {RECIPIENTS} recipients")
        others = _unserved(recipient)
        if not users and not others:
            raise Refused(400, "Recipient is empty")
        refused: dict[int, list[str]] = {}
        drafts: list[tuple[str, StoredMessage]] = []
        for user_id in users:
            try:
                aor = await self._aor(user_id)
            except Malformed:
                refused.setdefault(901, []).append(user_id)
            else:
                draft = self._draft(session, aor, content, validity, date_time)
                if drafts:
                    # The handset knows one id for all: the first's.
                    draft.headers[SENT_AS] = drafts[0][1].id
                drafts.append((user_id, draft))
        codes = await self._all([draft for _, draft in drafts], session)
        for (user_id, _), code in zip(drafts, codes, strict=True):
            if code not in (200, 202):
                refused.setdefault(code, []).append(user_id)
        good = [code for code in codes if code in (200, 202)]
        details = [
            DetailedResult(code=code, user_id=tuple(names))
            for code, names in refused.items()
        ]
        message_id = drafts[0][1].id if good else None
        return _summary(good, details + others), message_id

    async def _to_one(
        self,
        session: Session,
        user_id: str,
        content: Content,
        validity: int | None,
        date_time: datetime | None,
    ) -> tuple[Result, str | None]:
        """Send to the one recipient that nearly every message has."""
        try:
            aor = await self._aor(user_id)
        except Malformed as error:
            raise Refused(901, str(error)) from None
        draft = self._draft(session, aor, content, validity, date_time)
        code = await self._one(draft, session, several=False)
        good = code in (200, 202)
        return _plain(code), draft.id if good else None

    def _draft(
        self,
        session: Session,
        aor: str,
        content: Content,
        validity: int | None,
        date_time: datetime | None,
    ) -> StoredMessage:
        """Make the message for one recipient, as it is kept if it has to be."""
        # Later than the one before, whatever the clock: what waits is kept in order.
        at = self._latest = max(int(self._clock.seconds() * 1e6), self._latest + 1)
        headers: dict[str, str] = {}
        if validity is not None:
            headers["validity"] = str(validity)
        if date_time is not None:
            headers["dated"] = "T"
        return StoredMessage(
            id=self._token(),
            recipient=aor,
            sender=session.aor,
            content_type=content.type,
            content=content.body,
            sent_at=at if date_time is None else microseconds(date_time),
            accepted_at=at,
            expires_at=at + self._age(validity) * 1_000_000,
            direction="to_sip",
            headers=headers,
        )

    async def _aor(self, user_id: str) -> str:
        """Give the AoR of a recipient; a number of a subscriber of ours is his name.

        Raises Malformed.
        """
        aor, number = _named(self._domains, user_id)
        if number:
            known = await self._numbers(number)
            if known is not None:
                return known.aor
        return aor

    async def _all(
        self, drafts: Sequence[StoredMessage], session: Session
    ) -> list[int]:
        work = [defer.ensureDeferred(self._code(d, session)) for d in drafts]
        return await defer.gatherResults(work, consumeErrors=True)

    async def _code(self, draft: StoredMessage, session: Session) -> int:
        """Send to one of several: what one is refused with is no matter of the rest."""
        try:
            return await self._one(draft, session, several=True)
        except Refused as refusal:
            return refusal.code
        except Unreachable as error:
            text = "a message was not kept: {cause}"
            self._complaints.about("store", text, cause=str(error))
            return 503

    def _age(self, validity: int | None) -> int:
        """Give the seconds for which delivery is tried (seed 004 12.2.2.3's rule)."""
        offline = self._config.offline
        if validity is None or validity > offline.max_age:
            return offline.default_age
        return validity

    # -- one recipient -----------------------------------------------------------

    async def _one(self, draft: StoredMessage, session: Session, several: bool) -> int:
        """Send to one recipient and give the CSP code; see the module."""
        if self._log.debugging:
            text = "message={message} begins: transaction={transaction}"
            self._log.debug(text, message=draft.id, transaction=transaction.get())
        line = (draft.sender, draft.recipient)
        since = self._deadlines.begin()
        if line in self._outbox:
            return await self._outbox.take(draft)
        queue = self._turns.get(line)
        if queue is None:
            self._turns[line] = _NOBODY
        elif len(queue) >= WAITING:
            raise Refused(503, "Too many messages under way", try_again=10)
        elif await self._late(line, queue, since):
            return await self._outbox.take(draft)
        try:
            if line in self._outbox:
                return await self._outbox.take(draft)
            work = self._outbox.attempt(draft)
            response = await self._deadlines.first(work, since)
            if response is LATE:
                return await self._outbox.take(draft, work)
            code = response.status
            self._ledger.begun(
                draft,
                "sent" if code < 300 else "refused",
                reason="" if code == 200 else f"SIP {code}",
            )
            return status.to_csp(code, "MESSAGE", session.version, several=several)
        except Unreachable as error:
            text = "a message was not sent: {cause}"
            self._complaints.about("core", text, cause=str(error))
            self._ledger.turned_away(TO_SIP, "unreachable")
            return 504 if isinstance(error, NoAnswer) else 503
        finally:
            self._next(line)

    async def _late(
        self, line: Line, queue: deque[defer.Deferred[None]], since: float
    ) -> bool:
        """Wait for one's turn on a line; True when time was up before."""
        turn: defer.Deferred[None] = defer.Deferred()
        if queue is _NOBODY:
            queue = self._turns[line] = deque()
        queue.append(turn)
        if await self._deadlines.first(turn, since) is not LATE:
            return False
        if turn in queue:
            queue.remove(turn)
        return True

    def _next(self, line: Line) -> None:
        """Give the line to the one who has waited longest."""
        queue = self._turns[line]
        if queue:
            queue.popleft().callback(None)
        else:
            del self._turns[line]

    def stop(self) -> None:
        """Hold what is in flight now, so that it is committed and answered."""
        self._deadlines.stop()
        self._complaints.stop()


@lru_cache(maxsize=8192)
def _named(domains: Domains, user_id: str) -> tuple[str, str]:
    """Give the AoR of an address, and the number if it is one of the home domain.

    Raises Malformed.
    """
    address = domains.address(user_id)
    home = address.is_msisdn and address.domain == domains.home
    return domains.aor(address), address.user if home else ""


def _unserved(recipient: Recipient) -> list[DetailedResult]:
    """Answer for the recipients that this release cannot reach: groups and lists."""
    details = []
    groups = tuple(g.group_id for g in recipient.group if g.group_id is not None)
    names = tuple(g.screen_name for g in recipient.group if g.screen_name is not None)
    if groups or names:
        details.append(DetailedResult(code=800, group_id=groups, screen_name=names))
    if recipient.contact_list:
        lists = recipient.contact_list
        details.append(DetailedResult(code=700, contact_list=lists))
    return details


@lru_cache(maxsize=64)
def _plain(code: int) -> Result:
    return Result(code=code)


def _summary(good: list[int], details: list[DetailedResult]) -> Result:
    """Say it in one Result: all, some (201), none (900)."""
    if not details:
        return _plain(max(good))
    code = 201 if good else 900
    return Result(code=code, detailed_result=tuple(details))
