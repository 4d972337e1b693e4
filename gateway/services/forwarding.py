"""ForwardMessage: a message that waits is sent on to others, unread.

Once a next hop has taken it over it is the recipient's no more (status-map 541).
"""

from __future__ import annotations

from gateway.csp.common import Result, Status
from gateway.csp.messaging import ForwardMessageRequest, ForwardMessageResponse
from gateway.csp.schema import Primitive, Version
from gateway.csp.session import Session
from gateway.services.delivery import Delivery
from gateway.services.sending import Sending
from gateway.translation.messaging import Content, moment


class Forwarding:
    """Joins the two directions: from the store back towards the core."""

    def __init__(self, sending: Sending, delivery: Delivery) -> None:
        self._sending = sending
        self._delivery = delivery

    async def forward(
        self, session: Session, request: ForwardMessageRequest
    ) -> Primitive:
        """Send a stored message on; the handler of ForwardMessage."""
        message = await self._delivery.waiting(session, request.message_id)
        content = Content(message.content_type, message.content)
        result, message_id = await self._sending.deliver(
            session, request.recipient, content, None, moment(message.sent_at)
        )
        if message_id is not None:
            await self._delivery.forwarded(message)
            if session.version is Version.V1_3 and result.code == 200:
                return ForwardMessageResponse(message_id=message_id)
        return Status(
            result=Result(code=result.code, detailed_result=result.detailed_result)
        )
