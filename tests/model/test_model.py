"""Whatever happens in whatever order, the promises of docs/semantics.md are kept.

Hypothesis plays two users with three handsets each, the core and the operator: it
sends, polls, confirms, loses replies, kills the node, closes the store and lets time go
by. After each step what the store holds and what was offered is compared with the
plainest account of it (``ledger``). ``MODEL_EXAMPLES`` sets how many lives are played.
"""

from __future__ import annotations

import os
from collections import Counter
from typing import Any

from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from twisted.internet.defer import Deferred

from gateway.csp.common import Disconnect
from gateway.csp.envelope import Message, Mode, Transaction
from gateway.csp.messaging import (
    DeliveryReportRequest,
    GetMessageResponse,
    NewMessage,
)
from gateway.csp.schema import Version
from gateway.errors import Unreachable
from gateway.igateway import Peer, Reply
from gateway.sip.message import Request, Response, parse
from tests.model.ledger import (
    VERSIONS,
    Account,
    Came,
    Inbound,
    Post,
    Seen,
    Sent,
    Slot,
    offers,
)
from tests.model.world import USERS, World, aor_of
from tests.services.doubles import (
    Handset,
    delivered,
    message_to,
    result_of,
    send_message,
    status,
)

EXAMPLES = int(os.environ.get("MODEL_EXAMPLES", "250"))
STEPS = int(os.environ.get("MODEL_STEPS", "50"))
KEEP_ALIVE = 600
HOLD = 8
POLL = "<Polling-Request/>"
ANY = st.integers(0, 30)
PASSING = 503
REFUSED = 403


def pick(things: list[Any], n: int) -> Any:
    """Choose one of several."""
    return things[n % len(things)]


class Machine(RuleBasedStateMachine):
    """What can happen, and what must be true then."""

    @initialize(
        queue=st.sampled_from([2, 5, 255]), most=st.sampled_from([6, 255]), age=ANY
    )
    def begin(self, queue: int, most: int, age: int) -> None:
        """Start the first node."""
        self.most = max(most, queue)
        self.least = most
        self.calm = 0
        self.queue = queue
        self.answer = 200
        self.unanswered: list[tuple[Any, Request]] = []
        self.world = World(
            self.core, session={"queue": queue}, offline={"max_messages": most}
        )
        self.account = Account(self.world)
        self.world.on_time = self.account.scan  # before what is new can expire
        self.first_puts: dict[tuple[str, str], list[str]] = {}
        self.first_gone: dict[tuple[str, str], list[str]] = {}
        self.happened: Counter[str] = Counter()
        self.opened: dict[str, set[str]] = {}
        self.slots: dict[tuple[str, int], Slot] = {}
        for user in USERS:
            self.log_in(user, 0, Version.V1_2, 1, "P", 0)

    # -- the core ----------------------------------------------------------------

    def core(self, request: Request) -> Response | int | None:
        """Answer as a core does: it knows Bob only as one that is served here."""
        if request.method != "MESSAGE":
            return 200
        sent = self.account.sent[request.body.decode()]
        if not sent.call_ids:
            line = (sent.slot.user, sent.to)
            self.first_gone.setdefault(line, []).append(sent.text)
        if request.call_id not in sent.call_ids:
            sent.call_ids.append(request.call_id)
        if self.answer == 0:
            self.unanswered.append((self.world.link, request))
            return None
        return self.decided(sent, self.answer)

    def decided(self, sent: Sent, code: int) -> int:
        """Note what the core decides on a message."""
        if code == 200 and sent.to == "bob":
            return 404  # nobody of that name but where he is served
        sent.taken |= code == 200
        sent.refused |= code == REFUSED
        return code

    @rule(code=st.sampled_from([200, 0, 0, 0, PASSING, REFUSED]))
    def core_answers_so(self, code: int) -> None:
        """Change how the core answers; 0 is not at all."""
        self.answer = code

    @precondition(lambda self: self.unanswered)
    @rule(n=ANY, code=st.sampled_from([200, PASSING, REFUSED]), held=st.booleans())
    def core_answers_late(self, n: int, code: int, held: bool) -> None:
        """Answer what was left unanswered, perhaps when its sender has his answer."""
        if held:
            self.world.wait(HOLD + 1)
        link, request = self.unanswered.pop(n % len(self.unanswered))
        sent = self.account.sent[request.body.decode()]
        code = self.decided(sent, code)
        if link is self.world.link:
            link.receive(request.response(code, tag="core"))

    # -- SIP → handset -----------------------------------------------------------

    @rule(
        user=st.sampled_from(USERS),
        sender=st.sampled_from(["dave", "erin"]),
        expires=st.sampled_from([None, None, None, 40, 400]),
        count=st.integers(1, 4),
    )
    def messages_come(
        self, user: str, sender: str, expires: int | None, count: int
    ) -> None:
        """Have the core put new MESSAGEs."""
        headers = {} if expires is None else {"Expires": str(expires)}
        for _ in range(count):
            text = f"in {len(self.account.came)}"
            request = message_to(user, text, sender=sender, **headers)
            self.put(Came(request, user, text))

    def put(self, came: Came) -> None:
        """Put a MESSAGE that was not accepted before."""
        world, user = self.world, came.user
        if came not in self.account.came:
            self.account.came.append(came)
        expected = 200 if world.node.sessions.of(aor_of(user)) else 202
        full = self.most if expected == 200 else self.least
        if not world.gate.open:
            expected = 503
        elif len(world.waiting(user)) >= full:
            expected = 480
        response = world.link.ask(came.request)
        assert response is not None
        assert response.status == expected
        came.status = expected
        self.account.scan()
        ours = [m for m in self.account.inbound.values() if m.text == came.text]
        assert len(ours) == (expected < 300)
        self.happened[f"in {expected}"] += 1

    @precondition(lambda self: self.account.came)
    @rule(n=ANY, merged=st.booleans())
    def message_comes_again(self, n: int, merged: bool) -> None:
        """Have the core put the same MESSAGE again, perhaps on another branch."""
        came = pick(self.account.came, -1 - n)
        copy = parse(came.request.encode())
        assert isinstance(copy, Request)
        if merged:
            via = copy.headers.get("Via")
            copy.headers.set("Via", f"{via}m{self.happened['merged']}")
            self.happened["merged"] += 1
        if came.status < 300:
            response = self.world.link.ask(copy)
            assert response is not None
            if response.status == 503 and not self.world.gate.open:
                came.away_at = self.world.now
            elif response.status == 503 and not merged:
                assert self.world.now - came.away_at <= 33  # the transaction's answer
            else:
                assert response.status == came.status
        elif merged:
            self.put(Came(copy, came.user, came.text))
            self.account.came.remove(came)

    # -- sessions ----------------------------------------------------------------

    @rule(
        user=st.sampled_from(USERS),
        n=st.integers(0, 2),
        version=st.sampled_from(VERSIONS),
        multi=st.sampled_from([None, 1, 3]),
        method=st.sampled_from("PPN"),
        priority=st.sampled_from([0, 0, 5, 9]),
    )
    def log_in(
        self,
        user: str,
        n: int,
        version: Version,
        multi: int | None,
        method: str,
        priority: int,
    ) -> None:
        """Log in and negotiate; an earlier session of the handset ends."""
        handset = Handset(
            self.world.node,
            user=f"wv:{user}@example.com",
            version=version,
            client=f"http://{user}/{n}",
        )
        response = handset.login()
        if response.result.code != 200:
            assert not self.world.gate.open
            assert response.result.code == 503
            return
        extra = ""
        if version is Version.V1_3 and priority:
            extra = f"<SessionPriority>{priority}</SessionPriority>"
        else:
            priority = 0
        slot = Slot(handset, user, multi or 1, method == "P", priority, self.world.now)
        if (user, n) in self.slots:  # a login with its Client-ID replaces it
            self.slots[user, n].handset.session = None
        self.slots[user, n] = slot
        handset.negotiate(method=method, multi=multi, extra=extra)
        assert handset.reply.body
        self.read(slot, handset.reply)
        self.happened["login"] += 1

    def open_slot(self, n: int) -> Slot:
        """Choose a handset that has a session."""
        slot: Slot = pick([s for s in self.slots.values() if s.open], n)
        return slot

    def post(
        self, slot: Slot, *transactions: str, lost: bool = False
    ) -> Message | None:
        """Post what is answered at once; None when the exchange failed."""
        handset = slot.handset
        try:
            reply = result_of(handset.begin(handset.body(*transactions)))
        except Unreachable:
            assert not self.world.gate.open
            self.heard(slot)
            return None
        return self.read(slot, reply, lost=lost)

    def heard(self, slot: Slot) -> None:
        slot.last = self.world.now

    def read(self, slot: Slot, reply: Reply, *, lost: bool = False) -> Message | None:
        """Check a reply, and take what it offers unless it is lost on its way."""
        empty = Message(version=slot.handset.version, session_id="", transactions=())
        message = slot.handset.read(reply) or empty
        self.account.scan()
        answers = [t for t in message.transactions if t.mode is Mode.RESPONSE]
        shown = offers(message)
        assert len(shown) <= max(0, slot.multi - len(answers)), "more than agreed"
        was_open = self.certainly_open(slot)
        for other in message.transactions:
            if isinstance(other.primitive, Disconnect):
                assert other.primitive.result.code == 600
                assert not was_open, "the session ended too soon"
                slot.handset.session = None
        if any(code_of(t) in (600, 604) for t in answers):
            assert not was_open, "the session ended too soon"
            slot.handset.session = None
        if slot.open:
            assert not self.certainly_over(slot), "the session has outlived its time"
            self.heard(slot)
        if lost:
            self.world.node.sap.unwritten(reply)
        if slot.more and not lost and not answers and slot.open:
            assert shown, "Poll said that there is more"
        for offer in shown:
            self.account.offered(slot, offer, lost=lost)
        slot.more = False
        return message

    def certainly_open(self, slot: Slot) -> bool:
        return slot.sure and self.world.now < slot.last + KEEP_ALIVE * 0.9 - 1

    def certainly_over(self, slot: Slot) -> bool:
        return slot.sure and self.world.now > slot.last + KEEP_ALIVE + 1

    def anybody(self) -> bool:
        return any(s.open for s in self.slots.values())

    @precondition(anybody)
    @rule(n=ANY, lost=st.sampled_from([False, False, True]))
    def poll(self, n: int, lost: bool) -> None:
        """Poll once."""
        slot = self.open_slot(n)
        self.post(slot, slot.handset.transaction(POLL), lost=lost)

    @precondition(anybody)
    @rule(n=ANY)
    def poll_for_all(self, n: int) -> None:
        """Poll as long as Poll says that there is more; then all was offered."""
        slot = self.open_slot(n)
        for _ in range(100):
            message = self.post(slot, slot.handset.transaction(POLL))
            if message is None or not slot.open:
                return
            slot.more = bool(message.poll)
            if not slot.more:
                break
        else:
            raise AssertionError("Poll never ends")
        self.happened["drained"] += 1
        others = self.world.node.sessions.of(aor_of(slot.user))
        top = max(s.agreed.priority for s in others)
        if self.queue < 255 or slot.priority < top or not self.world.gate.open:
            return
        for waiting in self.account.waiting_for(slot):
            assert waiting.id in slot.ever, f"{waiting.text!r} was not offered"

    @precondition(anybody)
    @rule(n=ANY)
    def log_out(self, n: int) -> None:
        """Log out; what the session leaves is for the others."""
        slot = self.open_slot(n)
        message = self.post(slot, slot.handset.transaction("<Logout-Request/>"))
        if message is not None and slot.open:
            codes = [code_of(t) for t in message.transactions]
            if 200 in codes:
                slot.handset.session = None
            else:
                assert codes == [503] and not self.world.gate.open

    # -- what handsets do with messages ------------------------------------------

    def anything_seen(self) -> bool:
        return any(s.open and s.seen for s in self.slots.values())

    def shown(self, n: int, k: int) -> tuple[Slot, str, Seen]:
        """Choose a message that a handset has seen."""
        slot = pick([s for s in self.slots.values() if s.open and s.seen], n)
        name = pick(list(slot.seen), k)
        return slot, name, slot.seen[name]

    @precondition(anything_seen)
    @rule(
        n=ANY,
        k=ANY,
        how=st.sampled_from(["answer", "answer", "request", "status", "failure"]),
        lost=st.sampled_from([False, False, True]),
        polling=st.booleans(),
    )
    def confirm(self, n: int, k: int, how: str, lost: bool, polling: bool) -> None:
        """Confirm an offer in one of the ways there are, or refuse it."""
        slot, name, seen = self.shown(n, k)
        message, offer = self.account.inbound[name], seen.offer
        assert offer is not None
        report = isinstance(offer.primitive, DeliveryReportRequest)
        transaction = slot.handset.transaction
        if how in ("status", "failure") or report:
            content = status(500 if how == "failure" else 200)
        else:
            content = delivered(name)
        current = self.current(seen)
        if how == "request" and not report:
            transactions = [transaction(content)]
        else:
            transactions = [transaction(content, "Response", offer.id)]
        if polling:
            transactions.append(transaction(POLL))
        counts = content == delivered(name) or (
            current and (report or (how == "status" and pushed(offer)))
        )
        over = seen.over
        reply = self.confirmed(slot, message, seen, transactions, counts, lost)
        if how == "request" and not report:
            seen.over = over or message.confirmed  # 503 leaves the offer open
        if reply is not None and how == "request" and not report:
            codes = [code_of(t) for t in reply.transactions]
            away = not self.world.gate.open
            assert 200 in codes or away or not slot.open
        self.happened[f"confirm {how}"] += 1

    def current(self, seen: Seen) -> bool:
        """Tell whether an offer still waits for its answer."""
        return not seen.over and not (
            seen.times >= 3 and self.world.now - seen.at >= 30
        )

    def confirmed(
        self,
        slot: Slot,
        message: Inbound,
        seen: Seen,
        transactions: list[str],
        counts: bool,
        lost: bool,
    ) -> Message | None:
        """Post a confirmation; what it settles must not be offered any more."""
        row = self.world.row(message.id)
        if row is not None and row.state is None and counts and self.world.gate.open:
            # Before the reply, which must not offer it again; undone if it is no yes.
            message.confirmed = self.session_is_open(slot)
        over, seen.over = seen.over, True
        reply = self.post(slot, *transactions, lost=lost)
        if reply is None:
            seen.over = over
        return reply

    def session_is_open(self, slot: Slot) -> bool:
        """Tell whether a session is open, in memory or to be claimed."""
        assert slot.handset.session is not None
        return self.world.node.sessions.get(slot.handset.session) is not None

    @precondition(anything_seen)
    @rule(n=ANY, k=ANY)
    def fetch(self, n: int, k: int) -> None:
        """Ask for a message that was announced, or pushed."""
        slot, name, _ = self.shown(n, k)
        row = self.world.row(name)
        content = (
            f"<GetMessage-Request><MessageID>{name}</MessageID></GetMessage-Request>"
        )
        reply = self.post(slot, slot.handset.transaction(content))
        if reply is None or not slot.open or self.account.inbound[name].report:
            return
        [answer] = [t for t in reply.transactions if t.mode is Mode.RESPONSE]
        if isinstance(answer.primitive, GetMessageResponse):
            assert row is not None and row.state is None
            assert answer.primitive.content_data == self.account.inbound[name].text
        elif self.world.gate.open:
            assert code_of(answer) in (426, 542)
            assert row is None or row.state is not None

    @precondition(anything_seen)
    @rule(n=ANY, k=ANY)
    def reject(self, n: int, k: int) -> None:
        """Reject a message unread."""
        slot, name, seen = self.shown(n, k)
        message = self.account.inbound[name]
        row = self.world.row(name)
        waits = row is not None and row.state is None and not message.report
        if waits and self.world.gate.open:
            message.rejected = self.session_is_open(slot)
        content = (
            f"<RejectMessage-Request><MessageID>{name}</MessageID>"
            "</RejectMessage-Request>"
        )
        reply = self.post(slot, slot.handset.transaction(content))
        if message.rejected and waits and reply is not None:
            assert 200 in [code_of(t) for t in reply.transactions]

    # -- handset → SIP -----------------------------------------------------------

    @precondition(anybody)
    @rule(
        n=ANY,
        to=st.sampled_from(["dave", "dave", "erin", "bob"]),
        validity=st.sampled_from([None, None, 60]),
        lost=st.sampled_from([False, False, True]),
        slow=st.booleans(),
    )
    def send(
        self, n: int, to: str, validity: int | None, lost: bool, slow: bool
    ) -> None:
        """Send a message, perhaps while the core takes its time."""
        slot = self.open_slot(n)
        text = f"out {len(self.account.sent)}"
        age = 3 * 86400 if validity is None else validity
        assert slot.handset.session is not None
        sent = Sent(
            text,
            to,
            slot,
            slot.handset.session,
            self.world.life,
            self.world.now + age + 0.1,
        )
        self.account.sent[text] = sent
        extra = "" if validity is None else f"<Validity>{validity}</Validity>"
        self.content(sent, extra)
        answer, self.answer = self.answer, 0 if slow else self.answer
        self.send_once(sent, None, lost)
        self.answer = answer

    def content(self, sent: Sent, extra: str = "") -> str:
        """Write a SendMessage, each time the same."""
        known = self.__dict__.setdefault("contents", {})
        return known.setdefault(
            sent.text, send_message(sent.text, f"wv:{sent.to}@example.com", extra)
        )

    def send_once(self, sent: Sent, number: str | None, lost: bool) -> Post:
        """Put a SendMessage; its answer may take its time."""
        slot, handset = sent.slot, sent.slot.handset
        if number is None:
            number = str(next(handset._ids))
            slot.requests += 1
        post = Post(number, Peer("192.0.2.1", 4), self.world.now, slot.requests)
        post.peer.gone = lost
        sent.posts.append(post)
        line = self.first_puts.setdefault((slot.user, sent.to), [])
        if not sent.call_ids:
            if sent.text in line:
                line.remove(sent.text)
            line.append(sent.text)
        body = handset.body(handset.transaction(self.content(sent), number=number))
        life = self.world.life
        d = Deferred.fromCoroutine(
            self.world.node.sap.exchange(handset.content_type, body, post.peer)
        )
        if not d.called:
            self.heard(slot)

        def replied(reply: Reply) -> None:
            if life == self.world.life:
                self.answered(sent, post, reply)

        def unreached(failure: Any) -> None:
            failure.trap(Unreachable)
            post.failed = True

        d.addCallbacks(replied, unreached)
        d.addErrback(self.failed)
        return post

    def failed(self, failure: Any) -> None:
        """Keep what went wrong in a reply that came later."""
        self.broken = failure

    def answered(self, sent: Sent, post: Post, reply: Reply) -> None:
        """Take the answer to a SendMessage."""
        post.lost = post.peer.gone
        last, slot = sent.slot.last, sent.slot
        if slot.handset.session != sent.session:
            if post.lost:
                self.world.node.sap.unwritten(reply)
            return
        message = self.read(slot, reply, lost=post.lost)
        slot.last = max(last, post.at) if slot.open else slot.last
        if message is None or not slot.open:
            return
        [answer] = [t for t in message.transactions if t.mode is Mode.RESPONSE]
        post.answer = answer.primitive
        name = getattr(answer.primitive, "message_id", None)
        if code_of(answer) == 200 and name is not None:
            self.happened["sent"] += 1
            assert sent.accepted in (None, name) or len(sent.call_ids) > 1
            sent.accepted = name
            if not sent.taken:
                row = self.world.row(name)
                assert row is not None, f"{sent.text!r} is not ours"
        for earlier in sent.posts:
            same = earlier.answer is not None and earlier.number == post.number
            assert not same or earlier.answer == post.answer, "another answer"

    def can_repeat(self) -> list[Sent]:
        return [
            sent
            for sent in self.account.__dict__.get("sent", {}).values()
            if sent.life == self.world.life
            and sent.slot.open
            and sent.slot.sure
            and not sent.slot.lapsed
            and not any(post.failed for post in sent.posts)
            and sent.slot.handset.session == sent.session
            and self.world.now - sent.posts[-1].at < 59
            and sent.slot.requests - sent.posts[-1].index < 25
        ]

    @precondition(lambda self: bool(self.can_repeat()))
    @rule(n=ANY, lost=st.booleans())
    def repeat(self, n: int, lost: bool) -> None:
        """Put the same request again under its own id: nothing is sent twice."""
        sent = pick(self.can_repeat(), -1 - n)
        known = list(sent.call_ids)
        post = self.send_once(sent, sent.posts[-1].number, lost)
        post.at = sent.posts[-2].at
        assert sent.call_ids == known
        self.happened["repeat"] += 1

    @precondition(lambda self: bool(self.can_repeat()))
    @rule(n=ANY, lost=st.booleans())
    def retry(self, n: int, lost: bool) -> None:
        """Put a request whose reply is lost again under a new id: it gets that one."""
        lost_ones = [
            s
            for s in self.can_repeat()
            if all(post.peer.gone for post in s.posts)
            and self.world.now - s.posts[0].at < 59
        ]
        if not lost_ones:
            return
        sent = pick(lost_ones, -1 - n)
        before, known = sent.posts[-1], list(sent.call_ids)
        post = self.send_once(sent, None, lost)
        assert sent.call_ids == known, "a retry was sent as a message of its own"
        assert post.answer == before.answer
        self.happened["retry"] += 1

    @precondition(
        lambda self: any(
            p.answer is None and not p.peer.gone and s.life == self.world.life
            for s in self.account.sent.values()
            for p in s.posts
        )
    )
    @rule(n=ANY)
    def connection_breaks(self, n: int) -> None:
        """Lose a connection on which an answer is waited for."""
        waiting = [
            p
            for s in self.account.sent.values()
            if s.life == self.world.life
            for p in s.posts
            if p.answer is None
        ]
        pick(waiting, n).peer.gone = True

    # -- what befalls the node ---------------------------------------------------

    @rule(seconds=st.sampled_from([1, 2, 5, 9, 31, 31, 65, 300, 700]))
    def time_goes_by(self, seconds: int) -> None:
        """Let time go by."""
        self.world.wait(seconds)
        for slot in self.slots.values():
            slot.more = False

    @precondition(lambda self: self.calm > 12)
    @rule()
    def store_goes(self) -> None:
        """Close the store."""
        self.calm = 0
        self.world.gate.open = False
        for slot in self.slots.values():
            slot.sure = False

    @precondition(lambda self: not self.world.gate.open)
    @rule()
    def store_comes(self) -> None:
        """Open it again."""
        self.world.gate.open = True
        for slot in self.slots.values():
            slot.sure = slot.open and self.session_is_open(slot)
            slot.shaken = True

    @precondition(lambda self: self.calm > 8)
    @rule()
    def kill(self) -> None:
        """Kill the node and start it on what it had stored."""
        self.calm = 0
        self.world.kill()
        for slot in self.slots.values():
            slot.handset.node = self.world.node
            slot.begun_anew()
            slot.more = False
            slot.sure = slot.sure and not slot.shaken
        self.happened["kill"] += 1

    # -- what must hold ----------------------------------------------------------

    @invariant()
    def account_is_right(self) -> None:
        """Every acknowledged message waits or has ended, once, as it should."""
        broken = self.__dict__.pop("broken", None)
        if broken is not None:
            broken.raiseException()
        assert not self.world.defects, [
            event["log_failure"].getTraceback() for event in self.world.defects
        ]
        self.account.scan()
        self.account.check()
        self.calm += 1
        self.others_have_ended()
        for slot in self.slots.values():
            if slot.open and not self.session_is_open(slot):
                slot.begun_anew()  # if it is claimed again, then without its offers
                slot.lapsed = True

    def others_have_ended(self) -> None:
        """What is left is read anew then: also what was answered, but not confirmed."""
        for user in USERS:
            now_open = {s.id for s in self.world.node.sessions.of(aor_of(user))}
            gone = self.opened.get(user, set()) - now_open
            self.opened[user] = now_open
            for slot in self.slots.values() if gone else ():
                if slot.user == user:
                    slot.read_anew()

    @invariant()
    def queues_are_bounded(self) -> None:
        """No session holds more than it may."""
        for session in self.world.node.sessions.all():
            assert session.open_offers <= self.queue
            assert len(session._answers or ()) <= 32
            assert len(session._lost or ()) <= 32

    @invariant()
    def order_is_kept(self) -> None:
        """What goes to the core goes in the order in which it was put."""
        for line, put in self.first_puts.items():
            gone = self.first_gone.get(line, [])
            assert gone == [text for text in put if text in gone]

    def teardown(self) -> None:
        """Bring it all to its end: everything acknowledged arrives."""
        if hasattr(self, "world"):
            try:
                self.settle()
            finally:
                self.world.end()

    def settle(self) -> None:
        """Let the store and the core come back, and every handset take what waits."""
        self.world.gate.open = True
        self.answer = 200
        self.world.wait(99)
        self.account_is_right()
        for sent in self.account.sent.values():
            assert sent.accepted is None or sent.final or sent.taken
        for user in USERS:
            self.log_in(user, 3, Version.V1_3, 3, "P", 9)
            slot = self.slots[user, 3]
            for _ in range(300):
                assert self.post(slot, slot.handset.transaction(POLL)) is not None
                for name, seen in list(slot.seen.items()):
                    if not seen.over:
                        self.take(slot, self.account.inbound[name], seen)
                self.account_is_right()
                if not self.account.waiting_for(slot):
                    break
            assert not self.account.waiting_for(slot), "what waits is not offered"
        self.account_is_right()

    def take(self, slot: Slot, message: Inbound, seen: Seen) -> None:
        """Confirm what was offered."""
        assert seen.offer is not None
        report = isinstance(seen.offer.primitive, DeliveryReportRequest)
        content = status() if report else delivered(message.id)
        answer = slot.handset.transaction(content, "Response", seen.offer.id)
        self.confirmed(slot, message, seen, [answer], True, False)


def code_of(transaction: Transaction) -> int | None:
    """Give the code of an answer's Result."""
    result = getattr(transaction.primitive, "result", None)
    code: int | None = getattr(result, "code", None)
    return code


def pushed(offer: Transaction) -> bool:
    """Tell whether an offer carries the content itself."""
    return isinstance(offer.primitive, NewMessage)


def test_the_promises_hold_whatever_happens() -> None:
    """Two users, six handsets, one core, and an operator with bad luck."""
    run_state_machine_as_test(
        Machine,
        settings=settings(
            max_examples=EXAMPLES,
            stateful_step_count=STEPS,
            deadline=None,
            # The same lives each time, but where more are asked for.
            derandomize="MODEL_EXAMPLES" not in os.environ,
            suppress_health_check=list(HealthCheck),
            # To shrink a life takes minutes; MODEL_SHRINK asks for it.
            phases=[Phase.explicit, Phase.reuse, Phase.generate]
            + [Phase.shrink] * ("MODEL_SHRINK" in os.environ),
            print_blob=True,
        ),
    )
