"""What a person reads of a message: who sent it, and its text (CSP, MessageInfo)."""

from __future__ import annotations

import base64
import binascii

from gateway.csp.common import Sender
from gateway.csp.messaging import MessageInfo


def sender_name(sender: Sender) -> str:
    """Name a sender: the user, or a group with the member's screen name."""
    if sender.user is not None:
        return sender.user.user_id
    group = sender.group
    if group is None:
        return ""
    if group.screen_name is not None:
        return f"{group.screen_name.group_id} ({group.screen_name.sname})"
    return group.group_id or ""


def text_of(info: MessageInfo, content: str) -> str:
    """Give the text of a message, whether it came in BASE64 or not."""
    if (info.content_encoding or "").upper() != "BASE64":
        return content
    try:
        return base64.b64decode(content).decode("utf-8", "replace")
    except binascii.Error:
        return content
