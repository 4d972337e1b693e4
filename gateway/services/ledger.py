"""The ledger: what happened to every message, for people and for meters.

One call at each point of a message's way writes its history ("where is my message?")
and counts it. A final state is set here and nowhere else, so that exactly one is
(docs/semantics.md, promises).
"""

from __future__ import annotations

from collections import Counter
from typing import Any

from twisted.internet.interfaces import IReactorTime

from gateway.log import Logger
from gateway.services.reports import SENT_AS
from gateway.store import FinalState, HistoryEntry, Store, StoredMessage

TO_SIP = "to_sip"
TO_HANDSET = "to_handset"


class Ledger:
    """Writes the history and counts: ``counts[event, road, reason]``.

    Roads are the directions of messages: "to_sip" and "to_handset".
    """

    _log = Logger()

    def __init__(self, clock: IReactorTime, store: Store) -> None:
        self._clock = clock
        self._store = store
        self.counts: Counter[tuple[str, str, str]] = Counter()

    def begun(
        self, message: StoredMessage, event: str, reason: str = "", **detail: Any
    ) -> None:
        """Write the first line of a message: accepted, sent, stored or refused.

        It is found by the AoR of its handset's user from then on, and names the other
        side. The Call-ID of what goes to SIP is the message's own id.
        """
        self.counts[event, message.direction, reason] += 1
        if reason:
            detail["reason"] = reason
        if message.direction == TO_SIP:
            user = message.sender
            detail["to"] = message.recipient
            if SENT_AS in message.headers:
                detail[SENT_AS] = message.headers[SENT_AS]
        else:
            user = message.recipient
            detail["from"] = message.sender
        self._note(message.id, event, detail, (user,))

    def noted(self, message_id: str, event: str, road: str, **detail: Any) -> None:
        """Write a further line: offered, tried, confirmed by …"""
        self.counts[event, road, ""] += 1
        self._note(message_id, event, detail, ())

    async def finish(
        self, message_id: str, road: str, state: FinalState, reason: str = ""
    ) -> bool:
        """Give a message its one final state; False when it has one already.

        Raises Unreachable when that cannot be committed.
        """
        if not await self._store.finish_message(message_id, state, reason):
            return False
        self.finished(message_id, road, state, reason)
        return True

    def finished(
        self, message_id: str, road: str, state: str, reason: str = ""
    ) -> None:
        """Write and count a final state that the store has set."""
        self.counts[state, road, reason] += 1
        self._note(message_id, state, {"reason": reason} if reason else {}, ())

    def turned_away(self, road: str, reason: str) -> None:
        """Count a message that was not taken over: nothing was promised."""
        self.counts["refused", road, reason] += 1

    def _note(
        self,
        message_id: str,
        event: str,
        detail: dict[str, Any],
        users: tuple[str, ...],
    ) -> None:
        if self._log.debugging:
            text = "message={message} {event}: {detail}"
            shown = ", ".join(f"{key}={value}" for key, value in detail.items())
            ids = {"message": message_id, **detail}
            self._log.debug(text, event=event, detail=shown, **ids)
        at = int(self._clock.seconds() * 1e6)
        self._store.note_history(HistoryEntry(message_id, at, event, detail, users))
