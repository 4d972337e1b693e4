"""The handset's half of the Client-Server Protocol, without I/O.

Logs in (in two steps or four), negotiates, sends, polls, and answers what the server
offers. The caller posts what `Client.data_to_send` gives, hands the reply to
`Client.receive` and takes events; one exchange is under way at a time and carries one
transaction, as with real handsets (CSP 1.1 to 1.3: login, service and capability
negotiation, messaging; transport binding 1.3: polling).
"""

from __future__ import annotations

import enum
from collections import deque
from dataclasses import dataclass

from gateway.csp.common import (
    CapabilityList,
    ClientCapabilityRequest,
    ClientCapabilityResponse,
    ClientID,
    Disconnect,
    Functions,
    FundamentalFeat,
    GroupFeat,
    IMFeat,
    LoginRequest,
    LoginResponse,
    LogoutRequest,
    PollingRequest,
    PresenceFeat,
    Recipient,
    Result,
    Sender,
    ServiceRequest,
    Status,
    User,
    WVCSPFeat,
)
from gateway.csp.digest import HASHES, digest_bytes
from gateway.csp.envelope import Faulty, Message, Mode, Transaction, Version
from gateway.csp.messaging import (
    GetMessageRequest,
    GetMessageResponse,
    MessageDelivered,
    MessageInfo,
    MessageNotification,
    NewMessage,
    SendMessageRequest,
)
from gateway.csp.reading import sender_name, text_of
from gateway.csp.schema import Primitive

LAST_ID = 999
"""Ids wrap there, so that they also fit the Plain Text Syntax."""
_OK = 200
# Session expired, forced log-out, invalid session.
_SESSION_ENDS = frozenset({600, 601, 604})
_KEPT_MESSAGE_IDS = 256
_UTF8_MIB = 106
_SIZE = 262144


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """Who logs in and how.

    ``schemas`` are the digests offered in a login of four steps, in order of
    preference; without any, the password itself goes out in two steps. ``time_to_live``
    is the keep-alive time asked for, in seconds.
    """

    user_id: str
    password: str
    client_id: str = "imps-gateway:handset"
    cookie: str = "handset"
    schemas: tuple[str, ...] = ("SHA", "MD5")
    time_to_live: int = 600

    def __repr__(self) -> str:
        return f"Account({self.user_id!r})"


@dataclass(frozen=True, slots=True)
class Opened:
    """The session is open and negotiated; ``keep_alive`` is in seconds."""

    session_id: str
    keep_alive: int


@dataclass(frozen=True, slots=True)
class Answered:
    """A request made by ``request`` or ``send_text`` got its answer.

    ``code`` is that of its Result, and 200 for answers that carry none.
    """

    transaction_id: str
    primitive: Primitive
    code: int
    description: str


@dataclass(frozen=True, slots=True)
class Arrived:
    """A message came in, and its delivery is being confirmed."""

    message_id: str
    sender: str
    text: str
    content_type: str


@dataclass(frozen=True, slots=True)
class Notified:
    """The server asked for something else (a report, a notification); it got 200."""

    primitive: Primitive


@dataclass(frozen=True, slots=True)
class Closed:
    """There is no session (any more): refused, disconnected, expired or logged out.

    ``refused`` tells a login that was not let in from a session that ended.
    """

    code: int
    description: str
    refused: bool = False


Event = Opened | Answered | Arrived | Notified | Closed


class State(enum.Enum):
    """How far a client has come."""

    IDLE = "idle"
    LOGIN = "logging in"
    CAPABILITY = "negotiating capabilities"
    SERVICE = "negotiating services"
    OPEN = "open"
    CLOSED = "closed"


class Client:
    """One handset: queues what to say, understands what comes back.

    Times are seconds of any clock that goes forward. ``poll_interval`` is the pause
    between polls while nothing else goes on; a longer one that the server asks for
    (ServerPollMin) wins.
    """

    def __init__(
        self,
        account: Account,
        *,
        version: Version = Version.V1_2,
        poll_interval: float = 2.0,
    ) -> None:
        self.version = version
        self.state = State.IDLE
        self.session_id: str | None = None
        self.keep_alive = 0
        self._account = account
        self._poll_interval = poll_interval
        # Answers first: what the server offers next waits for them.
        self._answers: deque[Transaction] = deque()
        self._requests: deque[Transaction] = deque()
        self._in_flight: Transaction | None = None
        self._open: dict[str, Primitive] = {}
        self._events: deque[Event] = deque()
        self._seen: dict[str, None] = {}
        self._last_id = 0
        self._quiet_since: float | None = None

    @property
    def user_id(self) -> str:
        """Who logs in."""
        return self._account.user_id

    # -- what the user wants -----------------------------------------------------

    def login(self) -> None:
        """Begin to log in, also after a `Closed`; `Opened` or `Closed` follows.

        What the session before it left unsaid is gone.
        """
        account = self._account
        if account.schemas:
            self._ask(self._login_request(schemas=account.schemas))
        else:
            self._ask(self._login_request(password=account.password))
        self.state = State.LOGIN

    def logout(self) -> None:
        """End the session; `Closed` follows whatever the server answers."""
        self._ask(LogoutRequest())

    def poll(self) -> None:
        """Ask for what waits, unless that is about to be done."""
        if not any(isinstance(t.primitive, PollingRequest) for t in self._requests):
            self._requests.append(_request(self._new_id(), PollingRequest()))

    def request(self, primitive: Primitive) -> str:
        """Queue a request; `Answered` follows with the id that is returned."""
        return self._ask(primitive)

    def send_text(self, to: str, text: str, *, delivery_report: bool = False) -> str:
        """Queue a text message to one user (``wv:bob@example.com``)."""
        info = MessageInfo(
            content_type="text/plain",
            content_size=len(text),
            recipient=Recipient(user=(User(user_id=to),)),
            sender=Sender(user=User(user_id=self._account.user_id)),
        )
        return self._ask(
            SendMessageRequest(
                delivery_report=delivery_report, message_info=info, content_data=text
            )
        )

    # -- the line ----------------------------------------------------------------

    def data_to_send(self) -> Message | None:
        """Give the next message to post; None while one is under way or none waits."""
        queue = self._answers or self._requests
        if self._in_flight is not None or not queue:
            return None
        self._in_flight = queue.popleft()
        return Message(
            version=self.version,
            session_id=self.session_id,
            transactions=(self._in_flight,),
        )

    def receive(self, message: Message | None, now: float) -> None:
        """Take the reply to what was posted; None stands for an empty body."""
        self._in_flight = None
        self._quiet_since = now
        for transaction in message.transactions if message is not None else ():
            if transaction.mode is Mode.RESPONSE:
                self._answered(transaction)
            else:
                self._asked(transaction)
        if message is not None and message.poll and self.state is State.OPEN:
            self.poll()

    def failed(self) -> None:
        """Learn that the exchange under way got no reply: it is posted once more.

        It keeps its transaction id, by which the server knows a repeat.
        """
        transaction, self._in_flight = self._in_flight, None
        if transaction is not None:
            request = transaction.mode is Mode.REQUEST
            (self._requests if request else self._answers).appendleft(transaction)

    def next_event(self) -> Event | None:
        """Give the next event, in order of arrival."""
        return self._events.popleft() if self._events else None

    def next_timer(self) -> float | None:
        """Give the time at which `handle_timer` wants to be called."""
        busy = self._in_flight or self._answers or self._requests
        if self.state is not State.OPEN or self._quiet_since is None or busy:
            return None
        return self._quiet_since + self._poll_interval

    def handle_timer(self, now: float) -> None:
        """Poll, when nothing was said for the interval."""
        due = self.next_timer()
        if due is not None and due <= now:
            self.poll()

    # -- requests of ours --------------------------------------------------------

    def _login_request(
        self,
        *,
        schemas: tuple[str, ...] = (),
        password: str | None = None,
        digest: str | None = None,
    ) -> LoginRequest:
        if self.version is Version.V1_1 and schemas:
            # One element there; several schemas are parted by commas.
            schemas = (",".join(schemas),)
        return LoginRequest(
            user_id=self._account.user_id,
            client_id=ClientID(url=self._account.client_id),
            password=password,
            digest_schema=schemas,
            digest_bytes=digest,
            time_to_live=self._account.time_to_live,
            session_cookie=self._account.cookie,
        )

    def _ask(self, primitive: Primitive) -> str:
        transaction_id = self._new_id()
        self._open[transaction_id] = primitive
        self._requests.append(_request(transaction_id, primitive))
        return transaction_id

    def _answer(self, transaction: Transaction, primitive: Primitive) -> None:
        self._answers.append(
            Transaction(id=transaction.id, mode=Mode.RESPONSE, primitive=primitive)
        )

    def _new_id(self) -> str:
        for _ in range(LAST_ID):
            self._last_id = self._last_id % LAST_ID + 1
            if str(self._last_id) not in self._open:
                break
        return str(self._last_id)

    def _answered(self, transaction: Transaction) -> None:
        """Take an answer; one to nothing we asked is a late repeat, and dropped."""
        request = self._open.pop(transaction.id or "", None)
        answer = transaction.primitive
        if request is None:
            return
        code, description = _outcome(answer)
        if isinstance(request, LoginRequest):
            self._login_answered(request, answer, code, description)
        elif isinstance(request, LogoutRequest) or code in _SESSION_ENDS:
            self._close(code, description)
        elif isinstance(request, ClientCapabilityRequest):
            self._capabilities_agreed(answer)
        elif isinstance(request, ServiceRequest):
            self.state = State.OPEN
            self._events.append(Opened(self.session_id or "", self.keep_alive))
        elif isinstance(request, GetMessageRequest):
            self._got(answer)
        elif not isinstance(request, MessageDelivered):
            answered = Answered(transaction.id or "", answer, code, description)
            self._events.append(answered)

    # -- opening -----------------------------------------------------------------

    def _login_answered(
        self, request: LoginRequest, answer: Primitive, code: int, description: str
    ) -> None:
        """Go on after a login answer: with a session, a challenge, or not at all."""
        if not isinstance(answer, LoginResponse):
            self._close(code, description)
        elif answer.session_id:
            self.session_id = answer.session_id
            self.keep_alive = answer.keep_alive_time or self._account.time_to_live
            self._negotiate_capabilities()
        elif answer.nonce and request.digest_bytes is None:
            self._meet_challenge(answer.nonce, answer.digest_schema or "")
        else:
            self._close(code, description)

    def _meet_challenge(self, nonce: str, schema: str) -> None:
        """Answer the challenge with the schema that the server chose."""
        password = self._account.password
        if schema == "PWD" and schema in self._account.schemas:
            self._ask(self._login_request(password=password))
        elif schema in HASHES and schema in self._account.schemas:
            digest = digest_bytes(schema, nonce, password)
            self._ask(self._login_request(digest=digest))
        else:
            # 543: no digest schema that both sides have.
            self._close(543, f"the server chose a schema not offered: {schema}")

    def _negotiate_capabilities(self) -> None:
        wanted = CapabilityList(
            client_type="COMPUTER",
            initial_delivery_method="P",
            any_content=True,
            accepted_charset=(_UTF8_MIB,),
            plain_text_charset=(_UTF8_MIB,),
            accepted_content_length=_SIZE,
            accepted_text_content_length=_SIZE,
            accepted_push_length=_SIZE,
            accepted_pull_length=_SIZE,
            accepted_transfer_encoding=("BASE64",),
            supported_bearer=("HTTP",),
            multi_trans=1,
            parser_size=_SIZE,
            server_poll_min=max(1, int(self._poll_interval)),
        )
        self._ask(
            ClientCapabilityRequest(
                client_id=ClientID(url=self._account.client_id), capability_list=wanted
            )
        )
        self.state = State.CAPABILITY

    def _capabilities_agreed(self, answer: Primitive) -> None:
        """Mind the server's pace, and go on to the services (also when refused)."""
        if isinstance(answer, ClientCapabilityResponse):
            agreed = answer.agreed_capability_list or answer.capability_list
            if agreed is not None and agreed.server_poll_min is not None:
                self._poll_interval = max(self._poll_interval, agreed.server_poll_min)
        everything = WVCSPFeat(
            fundamental_feat=FundamentalFeat(),
            presence_feat=PresenceFeat(),
            im_feat=IMFeat(),
            group_feat=GroupFeat(),
        )
        self._ask(
            ServiceRequest(
                client_id=ClientID(url=self._account.client_id),
                functions=Functions(wvcsp_feat=everything),
                all_functions_request=True,
            )
        )
        self.state = State.SERVICE

    def _close(self, code: int, description: str) -> None:
        if self.state is not State.CLOSED:
            refused = self.state is State.LOGIN
            self._events.append(Closed(code, description, refused))
        self.state = State.CLOSED
        self.session_id = None
        self._answers.clear()
        self._requests.clear()
        self._open.clear()

    # -- requests of the server --------------------------------------------------

    def _asked(self, transaction: Transaction) -> None:
        """Answer a request of the server, and tell the user of it."""
        primitive = transaction.primitive
        if isinstance(primitive, NewMessage):
            message_id = primitive.message_info.message_id or ""
            self._answer(transaction, MessageDelivered(message_id=message_id))
            self._arrived(primitive.message_info, primitive.content_data)
            return
        self._answer(transaction, Status(result=Result(code=_OK)))
        if isinstance(primitive, MessageNotification):
            message_id = primitive.message_info.message_id or ""
            if message_id not in self._seen:
                self._ask(GetMessageRequest(message_id=message_id))
        elif isinstance(primitive, Disconnect):
            # Nothing is answered any more: the session is gone.
            result = primitive.result
            self._close(result.code, result.description or "")
        else:
            self._events.append(Notified(primitive))

    def _got(self, answer: Primitive) -> None:
        """Take a message that was asked for, and confirm it (a Status: it is gone)."""
        if isinstance(answer, GetMessageResponse):
            self._arrived(answer.message_info, answer.content_data)
            message_id = answer.message_info.message_id or ""
            self._ask(MessageDelivered(message_id=message_id))

    def _arrived(self, info: MessageInfo, content: str | None) -> None:
        """Show a message once, however often it is offered."""
        message_id = info.message_id or ""
        if message_id in self._seen:
            return
        self._seen[message_id] = None
        if len(self._seen) > _KEPT_MESSAGE_IDS:
            del self._seen[next(iter(self._seen))]
        self._events.append(
            Arrived(
                message_id,
                sender_name(info.sender),
                text_of(info, content or ""),
                info.content_type or "text/plain",
            )
        )


def _request(transaction_id: str, primitive: Primitive) -> Transaction:
    return Transaction(id=transaction_id, mode=Mode.REQUEST, primitive=primitive)


def _outcome(answer: Primitive) -> tuple[int, str]:
    """Give code and description of an answer; one without a Result says 200."""
    if isinstance(answer, Faulty):
        return answer.code, answer.description
    result = getattr(answer, "result", None)
    if not isinstance(result, Result):
        return _OK, ""
    return result.code, result.description or ""
