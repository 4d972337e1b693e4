"""A small IMPS handset over ``http.client``, independent of the gateway's own codec.

It is the outside judge of the data channel (CSP 1.1 to 1.3): what it sends is written
by hand from the content models, what it gets is read by the standard library's XML
parser. It keeps one transaction in a message, as most clients of the time do.
"""

from __future__ import annotations

import base64
import hashlib
import http.client
import itertools
import ssl
import time
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Self
from xml.etree import ElementTree
from xml.sax.saxutils import escape

_NAMESPACES = {
    "1.1": (
        "http://www.wireless-village.org/CSP1.1",
        "http://www.wireless-village.org/TRC1.1",
    ),
    "1.2": (
        "http://www.openmobilealliance.org/DTD/WV-CSP1.2",
        "http://www.openmobilealliance.org/DTD/WV-TRC1.2",
    ),
    "1.3": (
        "http://www.openmobilealliance.org/DTD/IMPS-CSP1.3",
        "http://www.openmobilealliance.org/DTD/IMPS-TRC1.3",
    ),
}
CONTENT_TYPES = {
    "1.1": "application/vnd.wv.csp.xml",
    "1.2": "application/vnd.wv.csp.xml",
    "1.3": "application/vnd.wv.csp+xml",
}
_FEATURES = "<FundamentalFeat/><PresenceFeat/><IMFeat/><GroupFeat/>"


def _local(element: ElementTree.Element) -> str:
    return element.tag.rpartition("}")[2]


@dataclass(frozen=True, slots=True)
class Transaction:
    """One transaction that came: its id, ``Request`` or ``Response``, its primitive."""

    id: str
    mode: str
    primitive: ElementTree.Element

    @property
    def name(self) -> str:
        """The primitive's name."""
        return _local(self.primitive)

    @property
    def code(self) -> str:
        """The status code of the result, as text."""
        return self.text("Code")

    def text(self, name: str) -> str:
        """Return the text of the first element of that name, "" when absent."""
        return next(self.texts(name), "")

    def texts(self, name: str) -> Iterator[str]:
        """Give the text of every element of that name, in document order."""
        return (e.text or "" for e in self.primitive.iter() if _local(e) == name)

    def has(self, name: str) -> bool:
        """Tell whether there is an element of that name."""
        return next(self.texts(name), None) is not None


class Answer:
    """One body from the gateway; an empty one has no transactions."""

    def __init__(self, body: bytes) -> None:
        self.body = body
        self.transactions: list[Transaction] = []
        self.poll = False
        self.namespace = ""
        if body:
            self._read(ElementTree.fromstring(body))

    def _read(self, root: ElementTree.Element) -> None:
        assert _local(root) == "WV-CSP-Message", self.body
        self.namespace = root.tag[1:].partition("}")[0]
        for element in root.iter():
            if _local(element) == "Poll":
                self.poll = element.text == "T"
            if _local(element) == "Transaction":
                self.transactions.append(_transaction(element))

    @property
    def only(self) -> Transaction:
        """The one transaction; anything else fails the test."""
        assert len(self.transactions) == 1, self.body
        return self.transactions[0]


def _transaction(element: ElementTree.Element) -> Transaction:
    fields = {_local(e): e for e in element.iter()}
    (primitive,) = fields["TransactionContent"]
    number = fields.get("TransactionID")
    return Transaction(
        (number.text or "") if number is not None else "",
        fields["TransactionMode"].text or "",
        primitive,
    )


class Handset:
    """One IMPS client on one keep-alive connection.

    ``user`` is the full User-ID, ``version`` the CSP version that it speaks. With
    ``tls`` the connection is HTTPS.
    """

    def __init__(
        self,
        port: int,
        user: str,
        password: str,
        *,
        version: str = "1.2",
        path: str = "/csp",
        client: str = "http://handset.example.test/1",
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self.user = user
        self.password = password
        self.version = version
        self.path = path
        self.client = f"<ClientID><URL>{escape(client)}</URL></ClientID>"
        self.session = ""
        self._offers: deque[Transaction] = deque()
        self._ids = itertools.count(1)
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
        if tls is not None:
            self._connection = http.client.HTTPSConnection(
                "127.0.0.1", port, timeout=30, context=tls
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.disconnect()

    def disconnect(self) -> None:
        """Close the connection; the next POST opens another."""
        self._connection.close()

    # -- the envelope

    def post(
        self, body: bytes, content_type: str | None = None
    ) -> tuple[http.client.HTTPResponse, bytes]:
        """Post a body; return the HTTP response and its body."""
        headers = {"Content-Type": content_type or CONTENT_TYPES[self.version]}
        try:
            self._connection.request("POST", self.path, body, headers)
            response = self._connection.getresponse()
        except (http.client.RemoteDisconnected, BrokenPipeError):
            # The gateway closed the idle connection: once more on a new one.
            self._connection.close()
            self._connection.request("POST", self.path, body, headers)
            response = self._connection.getresponse()
        return response, response.read()

    def message(self, content: str, mode: str, number: str) -> bytes:
        """Return the message around one primitive."""
        outer, inner = _NAMESPACES[self.version]
        session = f"<SessionID>{self.session}</SessionID>" if self.session else ""
        kind = "Inband" if self.session else "Outband"
        return (
            f'<WV-CSP-Message xmlns="{outer}"><Session><SessionDescriptor>'
            f"<SessionType>{kind}</SessionType>{session}</SessionDescriptor>"
            f"<Transaction><TransactionDescriptor>"
            f"<TransactionMode>{mode}</TransactionMode>"
            f"<TransactionID>{number}</TransactionID></TransactionDescriptor>"
            f'<TransactionContent xmlns="{inner}">{content}</TransactionContent>'
            f"</Transaction></Session></WV-CSP-Message>"
        ).encode()

    def exchange(self, content: str, mode: str, number: str) -> Answer:
        """Send one primitive in one message; return what came back in its POST."""
        response, body = self.post(self.message(content, mode, number))
        assert response.status == 200, (response.status, body)
        answer = Answer(body)
        if body:
            expected = CONTENT_TYPES[self.version]
            assert response.headers.get_content_type() == expected
            assert answer.namespace == _NAMESPACES[self.version][0]
        # A server's request may ride in any reply.
        self._offers += (t for t in answer.transactions if t.mode == "Request")
        return answer

    def request(self, content: str) -> Transaction:
        """Send a request; return its response, which comes in the same POST."""
        number = str(next(self._ids))
        answer = self.exchange(content, "Request", number)
        (response,) = (t for t in answer.transactions if t.mode == "Response")
        assert response.id == number, answer.body
        return response

    # -- the session

    def login(self) -> Transaction:
        """Log in with the password (2-way); keep the session when there is one."""
        return self._login(f"<Password>{escape(self.password)}</Password>")

    def login_by_digest(self, schema: str = "MD5") -> Transaction:
        """Log in by a digest of nonce and password (4-way), or get the refusal."""
        challenge = self._login(f"<DigestSchema>{schema}</DigestSchema>")
        if not challenge.has("Nonce"):
            return challenge
        secret = challenge.text("Nonce") + self.password
        name = {"MD5": "md5", "SHA": "sha1"}[challenge.text("DigestSchema")]
        proof = hashlib.new(name, secret.encode("latin-1")).digest()
        return self._login(
            f"<DigestBytes>{base64.b64encode(proof).decode()}</DigestBytes>"
        )

    def _login(self, proof: str) -> Transaction:
        self.session = ""
        response = self.request(
            f"<Login-Request><UserID>{escape(self.user)}</UserID>{self.client}{proof}"
            "<TimeToLive>600</TimeToLive><SessionCookie>cookie-1</SessionCookie>"
            "</Login-Request>"
        )
        self.session = response.text("SessionID")
        return response

    def negotiate(self, delivery: str = "P") -> Transaction:
        """Offer this client's capabilities; ``delivery`` is P (push) or N (notify)."""
        length = (
            ""
            if self.version == "1.3"
            else "<AcceptedContentLength>32767" + ("</AcceptedContentLength>")
        )
        client = self.client if self.version == "1.1" else ""
        return self.request(
            f"<ClientCapability-Request>{client}<CapabilityList>"
            "<ClientType>MOBILE_PHONE</ClientType>"
            f"<InitialDeliveryMethod>{delivery}</InitialDeliveryMethod>"
            f"<AnyContent>T</AnyContent>{length}"
            "<SupportedBearer>HTTP</SupportedBearer><MultiTrans>1</MultiTrans>"
            "<ParserSize>32767</ParserSize><ServerPollMin>2</ServerPollMin>"
            "</CapabilityList></ClientCapability-Request>"
        )

    def services(self) -> Transaction:
        """Ask for every service, and for what there is."""
        client = self.client if self.version == "1.1" else ""
        return self.request(
            f"<Service-Request>{client}<Functions><WVCSPFeat>{_FEATURES}</WVCSPFeat>"
            "</Functions><AllFunctionsRequest>T</AllFunctionsRequest></Service-Request>"
        )

    def open(self, delivery: str = "P") -> None:
        """Log in, negotiate and get the services, as a client does at its start."""
        accepted = self.login()
        assert accepted.code == "200", ElementTree.tostring(accepted.primitive)
        self.negotiate(delivery)
        self.services()

    def keep_alive(self) -> Transaction:
        """Ask for more time."""
        return self.request(
            "<KeepAlive-Request><TimeToLive>600</TimeToLive></KeepAlive-Request>"
        )

    def logout(self) -> Transaction:
        """End the session."""
        return self.request("<Logout-Request/>")

    # -- messages

    def send(self, to: str, text: str, *, report: bool = False) -> Transaction:
        """Send a text to a User-ID; return the response."""
        return self.request(
            "<SendMessage-Request>"
            f"<DeliveryReport>{'T' if report else 'F'}</DeliveryReport><MessageInfo>"
            "<ContentType>text/plain</ContentType>"
            f"<ContentSize>{len(text)}</ContentSize>"
            f"<Recipient><User><UserID>{escape(to)}</UserID></User></Recipient>"
            f"<Sender><User><UserID>{escape(self.user)}</UserID></User></Sender>"
            f"</MessageInfo><ContentData>{escape(text)}</ContentData>"
            "</SendMessage-Request>"
        )

    def poll(self) -> Answer:
        """Ask once for what the gateway has."""
        return self.exchange("<Polling-Request/>", "Request", str(next(self._ids)))

    def confirm(self, offer: Transaction) -> Answer:
        """Answer a NewMessage or a GetMessage-Response: the message is here."""
        message = escape(offer.text("MessageID"))
        return self.exchange(
            f"<MessageDelivered><MessageID>{message}</MessageID></MessageDelivered>",
            "Response",
            offer.id,
        )

    def succeed(self, offer: Transaction) -> Answer:
        """Answer a server's request by Status 200."""
        return self.exchange(
            "<Status><Result><Code>200</Code></Result></Status>", "Response", offer.id
        )

    def offered(self, name: str = "NewMessage", timeout: float = 30.0) -> Transaction:
        """Poll until the gateway offers that primitive; it is not answered yet."""
        end = time.monotonic() + timeout
        while not self._offers:
            if time.monotonic() > end:
                raise TimeoutError(f"{self.user} got no {name} in {timeout} s")
            if not self.poll().transactions:
                time.sleep(0.1)
        offer = self._offers.popleft()
        assert offer.name == name, ElementTree.tostring(offer.primitive)
        return offer

    def receive(self, timeout: float = 30.0) -> Transaction:
        """Poll for the next NewMessage and confirm it."""
        offer = self.offered("NewMessage", timeout)
        self.confirm(offer)
        return offer
