"""A CSP server for one handset, as small as one can be: what the tests talk to.

It answers in the version it is asked in, takes every text, and pushes what the test
puts into ``inbox``. With ``ended`` it answers the next text with that status, as of a
session that is no more; with ``login_code`` it refuses logins.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from gateway.csp.common import (
    AgreedCapabilityList,
    AllFunctions,
    CapabilityList,
    ClientCapabilityRequest,
    ClientCapabilityResponse,
    ClientID,
    LoginRequest,
    LoginResponse,
    Recipient,
    Result,
    Sender,
    ServiceRequest,
    ServiceResponse,
    Status,
    User,
    WVCSPFeat,
)
from gateway.csp.digest import digest_bytes
from gateway.csp.envelope import Message, Mode, Transaction, Version
from gateway.csp.messaging import (
    MessageDelivered,
    MessageInfo,
    NewMessage,
    SendMessageRequest,
    SendMessageResponse,
)
from gateway.csp.schema import Primitive
from gateway.csp.syntax import syntax_for

NONCE = "n0nce"
CLIENT = ClientID(url="imps-gateway:handset")


def result(code: int) -> Result:
    return Result(code=code)


@dataclass
class CspServer:
    """Takes bodies and gives bodies; ``texts`` are those that the handset sent."""

    password: str = "secret"
    send_code: int = 200
    login_code: int = 200
    ended: int = 0
    on_text: Callable[[CspServer, str], None] | None = None
    inbox: deque[str] = field(default_factory=deque)
    texts: list[str] = field(default_factory=list)
    heard: list[str] = field(default_factory=list)
    delivered: list[str] = field(default_factory=list)

    def exchange(self, content_type: str, body: bytes) -> tuple[str, bytes]:
        """Answer one body."""
        syntax, charset = syntax_for(content_type)
        message = syntax.decode(body, charset)
        (asked,) = message.transactions
        self.heard.append(asked.primitive.NAME)
        transactions = []
        if asked.mode is Mode.REQUEST:
            answer = self.answer(asked.primitive, message.version)
            if answer is not None:
                transactions = [
                    Transaction(id=asked.id, mode=Mode.RESPONSE, primitive=answer)
                ]
        elif isinstance(asked.primitive, MessageDelivered):
            self.delivered.append(asked.primitive.message_id)
        if not transactions and self.inbox:
            transactions = [self.push(self.inbox.popleft())]
        if not transactions:
            return "", b""
        reply = Message(
            version=message.version,
            session_id=message.session_id,
            transactions=tuple(transactions),
            poll=bool(self.inbox) or None,
        )
        return syntax.content_type(message.version), syntax.encode(reply)

    def push(self, text: str) -> Transaction:
        """Make a NewMessage from bob."""
        number = str(len(self.heard))
        info = MessageInfo(
            message_id=f"m{number}",
            content_type="text/plain",
            content_size=len(text),
            recipient=Recipient(user=(User(user_id="wv:alice@example.com"),)),
            sender=Sender(user=User(user_id="wv:bob@example.com")),
        )
        message = NewMessage(message_info=info, content_data=text)
        return Transaction(id=number, mode=Mode.REQUEST, primitive=message)

    def answer(self, asked: Primitive, version: Version) -> Primitive | None:
        """Answer one request; None for a poll."""
        if isinstance(asked, LoginRequest):
            return self.login(asked, version)
        if isinstance(asked, ClientCapabilityRequest):
            return capabilities(version)
        client_id = CLIENT if version is Version.V1_1 else None
        if isinstance(asked, ServiceRequest):
            everything = AllFunctions(wvcsp_feat=WVCSPFeat())
            return ServiceResponse(client_id=client_id, all_functions=everything)
        if isinstance(asked, SendMessageRequest) and self.ended:
            code, self.ended = self.ended, 0
            return Status(result=result(code))
        if isinstance(asked, SendMessageRequest):
            self.texts.append(asked.content_data or "")
            if self.on_text is not None:
                self.on_text(self, asked.content_data or "")
            return SendMessageResponse(result=result(self.send_code), message_id="s1")
        if asked.NAME == "Polling-Request":
            return None
        return Status(result=result(200))

    def login(self, asked: LoginRequest, version: Version) -> LoginResponse:
        """Challenge with SHA, or check the answer."""
        fields: dict[str, Any] = {"client_id": CLIENT}
        if self.login_code != 200:
            return LoginResponse(result=result(self.login_code), **fields)
        digest = digest_bytes("SHA", NONCE, self.password)
        if asked.digest_bytes == digest or asked.password == self.password:
            return LoginResponse(
                result=result(200), session_id="sess1", keep_alive_time=600, **fields
            )
        if asked.digest_schema:
            code = 200 if version is Version.V1_1 else 401
            return LoginResponse(
                result=result(code), nonce=NONCE, digest_schema="SHA", **fields
            )
        return LoginResponse(result=result(409), **fields)


def capabilities(version: Version) -> ClientCapabilityResponse:
    """Agree to nothing in particular, in the shape of the version."""
    if version is Version.V1_1:
        return ClientCapabilityResponse(
            client_id=CLIENT,
            capability_list=CapabilityList(
                client_type="COMPUTER",
                initial_delivery_method="P",
                accepted_content_length=1000,
                multi_trans=1,
                parser_size=1000,
            ),
        )
    return ClientCapabilityResponse(agreed_capability_list=AgreedCapabilityList())
