"""Reports of failure: a sender who was told 200 hears that it was not so after all.

A report waits, is offered, repeated and confirmed as a message is, and in the same
table: it outlives a restart and a logout (docs/semantics.md, promises).
"""

from __future__ import annotations

from gateway.csp.common import Recipient, Result, Sender, User
from gateway.csp.messaging import DeliveryReportRequest, MessageInfo
from gateway.store import StoredMessage
from gateway.translation.messaging import media_type, moment

_CODE = "report"
SENT_AS = "sent_as"
"""The MessageID by which its sender knows a message, where it is not its own."""


def report_of(
    message: StoredMessage, code: int, recipient: str, at: int, seconds: int
) -> StoredMessage:
    """Make the report on a message from a handset.

    ``recipient`` is its addressee as handsets see him, ``code`` the CSP status, ``at``
    the time in microseconds, ``seconds`` how long the report is kept. Its id follows
    from the message's, so that a repetition after a crash adds nothing.
    """
    return StoredMessage(
        id=f"{message.id}R",
        recipient=message.sender,
        sender=recipient,
        content_type=message.content_type,
        content=b"",
        sent_at=message.sent_at,
        accepted_at=at,
        expires_at=at + seconds * 1_000_000,
        direction="to_handset",
        headers={
            _CODE: str(code),
            SENT_AS: message.headers.get(SENT_AS, message.id),
            "size": str(len(message.content)),
        },
    )


def is_report(message: StoredMessage) -> bool:
    """Tell a report from a message: nobody gets, lists or rejects it."""
    return _CODE in message.headers


def primitive(report: StoredMessage, user: str) -> DeliveryReportRequest:
    """Write a report for the session of ``user``."""
    info = MessageInfo(
        message_id=report.headers.get(SENT_AS, report.id[:-1]),
        content_type=media_type(report.content_type),
        content_size=int(report.headers["size"]),
        recipient=Recipient(user=(User(user_id=report.sender),)),
        sender=Sender(user=User(user_id=user)),
        date_time=moment(report.sent_at),
    )
    return DeliveryReportRequest(
        result=Result(code=int(report.headers[_CODE])), message_info=info
    )
