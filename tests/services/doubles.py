"""A whole node without sockets, and the two sides it stands between.

The node is the real one over a store in memory and a clock that the test moves; only
what would be a socket is a double: ``Core`` is the SIP link, ``Handset`` the HTTP one.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Coroutine, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from zope.interface import implementer

from gateway import config
from gateway.csp import xmlsyntax
from gateway.csp.envelope import Message, Mode, Transaction
from gateway.csp.messaging import NewMessage
from gateway.csp.namespaces import NAMESPACES, Space
from gateway.csp.schema import Primitive, Version
from gateway.igateway import ILink, Peer, Reply
from gateway.services.node import Node
from gateway.sip.message import Request, Response, parse
from gateway.sip.transaction import Hop
from gateway.store import Subscriber
from gateway.store.secrets import Secrets
from gateway.store.sql import SqlStore

T = TypeVar("T")
START = 1_700_000_000.0
OURS = ("udp", "127.0.0.1", 5062)
CORE = Hop("udp", "127.0.0.1", 5060)
Script = Callable[[Request], Response | int | None]
NAMES = ("alice", "bob", "carol")


def subscriber(name: str, **changes: Any) -> Subscriber:
    """Make a subscriber whose password is ``NAME-secret``."""
    fields: dict[str, Any] = {
        "aor": f"sip:{name}@example.com",
        "user_id": f"wv:{name}@example.com",
        "password": f"{name}-secret",
        "sip_user": name,
        "sip_password": f"{name}-sip",
    }
    return Subscriber(**fields | changes)


def result_of(awaitable: Coroutine[Any, Any, T] | Deferred[T]) -> T:
    """Return what is there already, or raise it; fail when nothing is."""
    d = awaitable
    if not isinstance(d, Deferred):
        d = Deferred.fromCoroutine(d)
    results: list[Any] = []
    d.addBoth(results.append)
    assert results, "there is no result yet"
    if isinstance(results[0], Failure):
        results[0].raiseException()
    found: T = results[0]
    return found


@implementer(ILink)
class Core:
    """The SIP side of a node: keeps what is sent, answers as ``script`` says.

    A script gives a response, a status for a bare one, or None for no answer.
    """

    def __init__(self, script: Script | None = None) -> None:
        self.script: Script = script or (lambda request: 200)
        self.requests: list[Request] = []
        self.responses: list[Response] = []
        self.node: Node | None = None

    def send(self, hop: Hop, data: bytes) -> None:
        """Take one message of the node, see ``ILink``."""
        message = parse(data)
        if isinstance(message, Response):
            self.responses.append(message)
            return
        self.requests.append(message)
        answer = self.script(message)
        if isinstance(answer, int):
            answer = message.response(answer, tag="core")
        if answer is not None:
            self.receive(answer, hop)

    def sent_by(self, hop: Hop) -> str:
        """Name the node's own listener."""
        return f"{OURS[1]}:{OURS[2]}"

    def receive(self, message: Request | Response, source: Hop = CORE) -> None:
        """Have the node receive a message."""
        assert self.node is not None
        self.node.ua.received(message, source)

    def ask(self, request: Request, source: Hop = CORE) -> Response | None:
        """Have the node receive a request; its final answer, if there is one now.

        A millisecond passes first: what comes at one time has no order.
        """
        assert self.node is not None
        self.node.clock.advance(0.001)
        known = len(self.responses)
        self.receive(request, source)
        finals = [r for r in self.responses[known:] if r.status >= 200]
        return finals[-1] if finals else None

    def of(self, method: str) -> list[Request]:
        """Give the requests of one method that were sent."""
        return [r for r in self.requests if r.method == method]


_numbers = itertools.count(1)


def message_to(
    user: str, text: str = "hello", *, sender: str = "dave", **headers: str
) -> Request:
    """Make a MESSAGE to a handset as the core sends it, with an asserted identity."""
    number = next(_numbers)
    fields = {
        "Via": f"SIP/2.0/UDP 127.0.0.1:5060;branch=z9hG4bKin{number}",
        "Max-Forwards": "70",
        "From": f"<sip:{sender}@example.com>;tag=f{number}",
        "To": f"<sip:{user}@example.com>",
        "Call-ID": f"in{number}@core.example.com",
        "CSeq": "1 MESSAGE",
        "P-Asserted-Identity": f"<sip:{sender}@example.com>",
        "Content-Type": "text/plain;charset=utf-8",
        **{name.replace("_", "-"): value for name, value in headers.items()},
    }
    body = text.encode()
    lines = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
    head = f"MESSAGE sip:{user}@127.0.0.1:5062 SIP/2.0\r\n{lines}"
    length = f"Content-Length: {len(body)}\r\n\r\n"
    request = parse(head.encode() + length.encode() + body)
    assert isinstance(request, Request)
    return request


def build(
    clock: Clock,
    core: Core,
    *,
    store: SqlStore | None = None,
    name: str = "node-1",
    subscribers: tuple[Subscriber, ...] | None = None,
    **sections: dict[str, Any],
) -> Node:
    """Start a node; ``sections`` are those of the configuration file."""
    document: dict[str, Any] = {
        "gateway": {"domain": "example.com", "name": "Example IM"},
        "sip": {"core": f"sip:{CORE.host}:{CORE.port};transport=udp"},
    }
    for section, keys in sections.items():
        document[section] = {**document.get(section, {}), **keys}
    settings = config.parse(document, Path("/nowhere/gateway.toml"))
    if store is None:
        store = open_store(clock, subscribers)
    node = Node(clock, settings, store, name=name, secret=b"s" * 32)
    core.node = node
    for transport in ("udp", "tcp"):
        node.ua.attach(transport, core)
    node.listening([OURS])
    result_of(node.start())
    return node


def open_store(
    clock: Clock, subscribers: tuple[Subscriber, ...] | None = None
) -> SqlStore:
    """Open a store in memory that knows the subscribers (Alice, Bob and Carol)."""

    def now() -> int:
        return int(clock.seconds() * 1e6)

    store = SqlStore("sqlite://", None, Secrets(b"k" * 32), now)
    result_of(store.open())
    if subscribers is None:
        subscribers = tuple(subscriber(name) for name in NAMES)
    assert not result_of(store.add_subscribers(subscribers))
    return store


@dataclass
class Handset:
    """The data channel of one handset: it writes XML and reads primitives."""

    node: Node
    user: str = "wv:alice@example.com"
    version: Version = Version.V1_2
    client: str = "http://handset.example.com/1"
    session: str | None = None
    address: str = "192.0.2.1"
    reply: Reply = field(default_factory=Reply)
    _ids: Any = field(default_factory=lambda: itertools.count(1))

    @property
    def content_type(self) -> str:
        """The media type that this version posts."""
        mark = "+" if self.version is Version.V1_3 else "."
        return f"application/vnd.wv.csp{mark}xml"

    @property
    def client_id(self) -> str:
        """The ClientID element."""
        return f"<ClientID><URL>{self.client}</URL></ClientID>"

    # -- bodies ------------------------------------------------------------------

    def transaction(
        self, content: str, mode: str = "Request", number: str | None = ""
    ) -> str:
        """Write one transaction; ``number`` "" takes the next, None leaves it out."""
        if number == "":
            number = str(next(self._ids))
        given = "" if number is None else f"<TransactionID>{number}</TransactionID>"
        space = NAMESPACES[self.version, Space.TRANSACTION]
        return (
            f"<Transaction><TransactionDescriptor><TransactionMode>{mode}"
            f"</TransactionMode>{given}</TransactionDescriptor>"
            f'<TransactionContent xmlns="{space}">{content}</TransactionContent>'
            "</Transaction>"
        )

    def body(self, *transactions: str) -> bytes:
        """Write the message around transactions."""
        space = NAMESPACES[self.version, Space.MESSAGE]
        kind = "Outband" if self.session is None else "Inband"
        name = "" if self.session is None else f"<SessionID>{self.session}</SessionID>"
        return (
            f'<WV-CSP-Message xmlns="{space}"><Session><SessionDescriptor>'
            f"<SessionType>{kind}</SessionType>{name}</SessionDescriptor>"
            f"{''.join(transactions)}</Session></WV-CSP-Message>"
        ).encode()

    # -- exchanges ---------------------------------------------------------------

    def begin(self, body: bytes) -> Deferred[Reply]:
        """Post a body; the reply may come later."""
        peer = Peer(self.address, 40000)
        return Deferred.fromCoroutine(
            self.node.sap.exchange(self.content_type, body, peer)
        )

    def post(self, *transactions: str) -> Message | None:
        """Post transactions and read the reply, None when it is empty."""
        self.reply = result_of(self.begin(self.body(*transactions)))
        return self.read(self.reply)

    def read(self, reply: Reply) -> Message | None:
        """Read a reply as the handset does."""
        if not reply.body:
            return None
        _, _, charset = reply.content_type.partition("charset=")
        return xmlsyntax.decode(reply.body, charset or None)

    def ask(self, content: str, number: str | None = "") -> Any:
        """Send one request; give the primitive that answers it in the same reply."""
        message = self.post(self.transaction(content, number=number))
        assert message is not None, "a request got an empty reply"
        found = [t for t in message.transactions if t.mode is Mode.RESPONSE]
        assert len(found) == 1, self.reply.body
        return found[0].primitive

    def code(self, content: str) -> int:
        """Send one request; give the code of its Result."""
        code: int = self.ask(content).result.code
        return code

    def poll(self) -> list[Transaction]:
        """Send Polling-Request; give the server's transactions."""
        message = self.post(self.transaction("<Polling-Request/>"))
        return [] if message is None else list(message.transactions)

    def answer(self, offer: Transaction, content: str) -> Message | None:
        """Answer a server transaction."""
        assert offer.id is not None
        return self.post(self.transaction(content, "Response", offer.id))

    def confirm(self, offer: Transaction) -> Message | None:
        """Answer a NewMessage with MessageDelivered."""
        primitive: Any = offer.primitive
        return self.answer(offer, delivered(primitive.message_info.message_id))

    # -- steps of a client's life ------------------------------------------------

    def login(self, proof: str | None = None, extra: str = "") -> Any:
        """Send Login-Request; a SessionID in the answer is used from now on."""
        if proof is None:
            name = self.user.partition(":")[2].partition("@")[0]
            proof = f"<Password>{name}-secret</Password>"
        self.session = None
        response = self.ask(
            f"<Login-Request><UserID>{self.user}</UserID>{self.client_id}{proof}"
            f"<TimeToLive>600</TimeToLive><SessionCookie>c1</SessionCookie>{extra}"
            "</Login-Request>"
        )
        self.session = getattr(response, "session_id", None)
        return response

    def negotiate(
        self, *, method: str = "P", multi: int | None = 1, extra: str = ""
    ) -> Any:
        """Send ClientCapability-Request with a list that its version knows."""
        client = self.client_id if self.version is Version.V1_1 else ""
        several = "" if multi is None else f"<MultiTrans>{multi}</MultiTrans>"
        if self.version is Version.V1_3 and multi is not None:
            several += f"<MultiTransPerMessage>{multi}</MultiTransPerMessage>"
        return self.ask(
            f"<ClientCapability-Request>{client}<CapabilityList>"
            "<ClientType>MOBILE_PHONE</ClientType>"
            f"<InitialDeliveryMethod>{method}</InitialDeliveryMethod>"
            f"<SupportedBearer>HTTP</SupportedBearer>{several}{extra}"
            "</CapabilityList></ClientCapability-Request>"
        )

    def services(self, tree: str = "", *, every: bool = True) -> Any:
        """Send Service-Request."""
        client = self.client_id if self.version is Version.V1_1 else ""
        flag = "T" if every else "F"
        return self.ask(
            f"<Service-Request>{client}<Functions><WVCSPFeat>{tree or ALL}</WVCSPFeat>"
            f"</Functions><AllFunctionsRequest>{flag}</AllFunctionsRequest>"
            "</Service-Request>"
        )

    def open(self, **capabilities: Any) -> Handset:
        """Log in and negotiate."""
        response = self.login()
        assert response.result.code == 200, response
        self.negotiate(**capabilities)
        return self


ALL = "<FundamentalFeat/><PresenceFeat/><IMFeat/><GroupFeat/>"


def delivered(message_id: str) -> str:
    """Write MessageDelivered."""
    return f"<MessageDelivered><MessageID>{message_id}</MessageID></MessageDelivered>"


def status(code: int = 200) -> str:
    """Write Status."""
    return f"<Status><Result><Code>{code}</Code></Result></Status>"


def send_message(text: str, to: str = "wv:dave@example.com", extra: str = "") -> str:
    """Write SendMessage-Request for one user."""
    return (
        "<SendMessage-Request><DeliveryReport>F</DeliveryReport><MessageInfo>"
        f"<Recipient><User><UserID>{to}</UserID></User></Recipient>"
        "<Sender><User><UserID>wv:alice@example.com</UserID></User></Sender>"
        "<ContentType>text/plain</ContentType>"
        f"<ContentSize>{len(text)}</ContentSize>{extra}</MessageInfo>"
        f"<ContentData>{text}</ContentData></SendMessage-Request>"
    )


def primitives(transactions: list[Transaction]) -> list[Primitive]:
    """Give the primitives alone."""
    return [transaction.primitive for transaction in transactions]


def queue(core: Core, *texts: str) -> None:
    """Have messages come for Alice, who has an open session."""
    for text in texts:
        response = core.ask(message_to("alice", text))
        assert response is not None
        assert response.status == 200


def texts(transactions: Iterable[Transaction]) -> list[str | None]:
    """Tell which texts are pushed."""
    return [
        t.primitive.content_data
        for t in transactions
        if isinstance(t.primitive, NewMessage)
    ]


def message_id_of(offer: Transaction) -> str:
    """Give the MessageID of what is pushed or announced."""
    primitive: Any = offer.primitive
    found: str = primitive.message_info.message_id
    return found
