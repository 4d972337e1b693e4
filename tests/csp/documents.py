"""Documents that the tests of the XML syntax are about."""

from __future__ import annotations

from gateway.csp.envelope import Message, Mode, Transaction, Version
from gateway.csp.messaging import (
    MessageInfo,
    SendMessageRequest,
)
from gateway.csp.schema import Primitive
from gateway.csp.shared import Recipient, Sender, User

CSP12 = "http://www.openmobilealliance.org/DTD/WV-CSP1.2"
TRC12 = "http://www.openmobilealliance.org/DTD/WV-TRC1.2"
V1_2 = Version.V1_2

SEND = (
    "<SendMessage-Request>{0}<DeliveryReport>F</DeliveryReport><MessageInfo>"
    "<Sender><User><UserID>wv:a</UserID></User></Sender>"
    "<Recipient><User><UserID>wv:b</UserID></User></Recipient>"
    "<ContentSize>2</ContentSize></MessageInfo><ContentData>{1}</ContentData>"
    "</SendMessage-Request>"
)
"""A SendMessage-Request, with places for something at its start and for its content."""


def document(
    primitive: str, *, csp: str = CSP12, trc: str = TRC12, before: str = ""
) -> bytes:
    """A message of session ``s`` around the XML of one primitive."""
    message, transaction = (f' xmlns="{ns}"' if ns else "" for ns in (csp, trc))
    return (
        f"{before}<WV-CSP-Message{message}><Session><SessionDescriptor>"
        "<SessionType>Inband</SessionType><SessionID>s</SessionID></SessionDescriptor>"
        "<Transaction><TransactionDescriptor><TransactionMode>Request</TransactionMode>"
        "<TransactionID>7</TransactionID></TransactionDescriptor>"
        f"<TransactionContent{transaction}>{primitive}</TransactionContent>"
        "</Transaction></Session></WV-CSP-Message>"
    ).encode()


def wrap(primitive: Primitive, version: Version = V1_2) -> Message:
    """A message with one primitive."""
    transaction = Transaction(id="7", mode=Mode.REQUEST, primitive=primitive)
    return Message(version=version, session_id="s", transactions=(transaction,))


def sent(content: str) -> SendMessageRequest:
    """What `SEND` means, with that content."""
    info = MessageInfo(
        content_size=2,
        sender=Sender(user=User(user_id="wv:a")),
        recipient=Recipient(user=(User(user_id="wv:b"),)),
    )
    return SendMessageRequest(
        delivery_report=False, message_info=info, content_data=content
    )
