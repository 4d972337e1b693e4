"""Instant messages, delivery reports and blocking (CSP, instant messaging features)."""

from __future__ import annotations

import datetime
from typing import Annotated

from gateway.csp.schema import (
    ALWAYS,
    Primitive,
    Structure,
    Version,
    element,
    primitive,
    structure,
)
from gateway.csp.shared import (
    AddList,
    ClientID,
    EntityList,
    Recipient,
    RemoveList,
    Result,
    ScreenName,
    Sender,
    UserIDList,
    WelcomeNote,
)

V1_1 = Version.V1_1
V1_2 = Version.V1_2
V1_3 = Version.V1_3


@structure()
class Font(Structure):
    """How the text of a message is to look."""

    size: Annotated[str | None, element("Size")] = None
    style: Annotated[tuple[str, ...], element("Style")] = ()
    color: Annotated[str | None, element("Color")] = None


@structure()
class MessageInfo(Structure):
    """The headers of a message."""

    message_id: Annotated[str | None, element("MessageID")] = None
    message_uri: Annotated[str | None, element("MessageURI")] = None
    content_type: Annotated[str | None, element("ContentType")] = None
    content_encoding: Annotated[str | None, element("ContentEncoding")] = None
    content_size: Annotated[int, element("ContentSize")]
    content_name: Annotated[str | None, element("ContentName", since=V1_3)] = None
    recipient: Annotated[Recipient, element("Recipient")]
    sender: Annotated[Sender, element("Sender")]
    date_time: Annotated[datetime.datetime | None, element("DateTime")] = None
    font: Annotated[Font | None, element("Font", since=V1_3)] = None
    validity: Annotated[int | None, element("Validity")] = None
    ext_block_etem: Annotated[
        tuple[str, ...], element("ExtBlockETEM", since=V1_3, foreign=True)
    ] = ()


@structure()
class MessageInfoList(Structure):
    """Headers of several messages."""

    message_info: Annotated[tuple[MessageInfo, ...], element("MessageInfo")] = ()


@primitive("SendMessage-Request")
class SendMessageRequest(Primitive):
    """Send a message."""

    delivery_report: Annotated[
        bool | None, element("DeliveryReport", mandatory=(V1_2, V1_3), lenient=True)
    ] = None
    message_info: Annotated[MessageInfo, element("MessageInfo")]
    content_data: Annotated[
        str | None, element("ContentData", mandatory=(V1_1,), lenient=True, pts="MC")
    ] = None


@primitive("SendMessage-Response")
class SendMessageResponse(Primitive):
    """Tell whether the server took a message over, and its ID."""

    result: Annotated[Result, element("Result", pts="ST")]
    message_id: Annotated[str | None, element("MessageID")] = None


@primitive("NewMessage", pts="NM")
class NewMessage(Primitive):
    """Push a message to the client."""

    message_info: Annotated[MessageInfo, element("MessageInfo")]
    content_data: Annotated[
        str | None, element("ContentData", mandatory=(V1_1,), lenient=True, pts="MC")
    ] = None


@primitive("MessageDelivered")
class MessageDelivered(Primitive):
    """Confirm that a message has arrived."""

    message_id: Annotated[str, element("MessageID")]


@primitive("MessageNotification")
class MessageNotification(Primitive):
    """Tell that a message waits to be got."""

    message_info: Annotated[MessageInfo, element("MessageInfo")]


@primitive("GetMessage-Request")
class GetMessageRequest(Primitive):
    """Ask for a message that waits."""

    message_id: Annotated[str, element("MessageID")]


@primitive("GetMessage-Response")
class GetMessageResponse(Primitive):
    """Give a message that waits."""

    message_info: Annotated[MessageInfo, element("MessageInfo")]
    content_data: Annotated[str | None, element("ContentData", pts="MC")] = None


@primitive("GetMessageList-Request")
class GetMessageListRequest(Primitive):
    """Ask for the messages that wait, or for the history of a group."""

    group_id: Annotated[str | None, element("GroupID")] = None
    message_count: Annotated[int | None, element("MessageCount")] = None


@primitive("GetMessageList-Response")
class GetMessageListResponse(Primitive):
    """Give the headers of the messages that wait."""

    message_info: Annotated[
        tuple[MessageInfo, ...], element("MessageInfo", until=V1_2)
    ] = ()
    message_info_list: Annotated[
        MessageInfoList | None,
        element("MessageInfoList", since=V1_3, mandatory=(V1_3,), lenient=True),
    ] = None
    message_total_count: Annotated[
        int | None, element("MessageTotalCount", since=V1_3)
    ] = None


@primitive("RejectMessage-Request")
class RejectMessageRequest(Primitive):
    """Remove messages that wait, unread."""

    message_id: Annotated[tuple[str, ...], element("MessageID", mandatory=ALWAYS)] = ()


@primitive("SetDeliveryMethod-Request")
class SetDeliveryMethodRequest(Primitive):
    """Choose between push and notify."""

    delivery_method: Annotated[str, element("DeliveryMethod")]
    accepted_content_length: Annotated[
        int | None, element("AcceptedContentLength", until=V1_2)
    ] = None
    group_id: Annotated[str | None, element("GroupID")] = None
    group_content_limit: Annotated[
        int | None, element("GroupContentLimit", since=V1_3)
    ] = None


@primitive("DeliveryReport-Request")
class DeliveryReportRequest(Primitive):
    """Tell the sender what became of a message."""

    result: Annotated[Result, element("Result", pts="ST")]
    delivery_time: Annotated[datetime.datetime | None, element("DeliveryTime")] = None
    message_info: Annotated[MessageInfo, element("MessageInfo")]


@primitive("ForwardMessage-Request")
class ForwardMessageRequest(Primitive):
    """Send a message that waits on to others, unread."""

    message_id: Annotated[str, element("MessageID")]
    sender: Annotated[Sender | None, element("Sender", since=V1_3)] = None
    recipient: Annotated[Recipient, element("Recipient")]


@primitive("ForwardMessage-Response", since=V1_3)
class ForwardMessageResponse(Primitive):
    """Tell the ID of the message that was sent on."""

    message_id: Annotated[str, element("MessageID")]


@structure()
class ExtendConversationUser(Structure):
    """The user that a conversation is extended with."""

    user_id: Annotated[str, element("UserID")]
    client_id: Annotated[ClientID | None, element("ClientID")] = None


@primitive("ExtendConversation-Request", since=V1_3)
class ExtendConversationRequest(Primitive):
    """Make a conversation of two a group."""

    extend_conversation_id: Annotated[str | None, element("ExtendConversationID")] = (
        None
    )
    user_id_list: Annotated[UserIDList | None, element("UserIDList")] = None
    extend_conversation_user: Annotated[
        ExtendConversationUser | None, element("ExtendConversationUser")
    ] = None
    subscribe_notification: Annotated[bool | None, element("SubscribeNotification")] = (
        None
    )
    welcome_note: Annotated[WelcomeNote | None, element("WelcomeNote")] = None
    screen_name: Annotated[ScreenName | None, element("ScreenName")] = None


@primitive("ExtendConversation-Response", since=V1_3)
class ExtendConversationResponse(Primitive):
    """Tell the group that a conversation became."""

    extend_conversation_id: Annotated[str | None, element("ExtendConversationID")] = (
        None
    )
    group_id: Annotated[str | None, element("GroupID")] = None
    response_note: Annotated[str | None, element("ResponseNote")] = None
    result: Annotated[Result | None, element("Result", pts="ST")] = None


@structure()
class BlockList(Structure):
    """Who is blocked, or a change of that."""

    in_use: Annotated[bool | None, element("InUse", until=V1_2)] = None
    entity_list: Annotated[EntityList | None, element("EntityList")] = None
    add_list: Annotated[AddList | None, element("AddList")] = None
    remove_list: Annotated[RemoveList | None, element("RemoveList")] = None


@structure()
class GrantList(Structure):
    """Who is granted access, or a change of that."""

    in_use: Annotated[bool | None, element("InUse", until=V1_2)] = None
    entity_list: Annotated[EntityList | None, element("EntityList")] = None
    add_list: Annotated[AddList | None, element("AddList")] = None
    remove_list: Annotated[RemoveList | None, element("RemoveList")] = None


@primitive("GetBlockedList-Request", pts="GB")
class GetBlockedListRequest(Primitive):
    """Ask for the block and grant lists."""


@primitive("GetBlockedList-Response")
class GetBlockedListResponse(Primitive):
    """Give the block and grant lists."""

    block_list: Annotated[BlockList | None, element("BlockList")] = None
    block_list_in_use: Annotated[bool | None, element("BlockListInUse", since=V1_3)] = (
        None
    )
    grant_list: Annotated[GrantList | None, element("GrantList")] = None
    grant_list_in_use: Annotated[bool | None, element("GrantListInUse", since=V1_3)] = (
        None
    )


@primitive("BlockEntity-Request", names={V1_1: "BlockUser-Request"})
class BlockEntityRequest(Primitive):
    """Change the block and grant lists."""

    block_list: Annotated[BlockList | None, element("BlockList")] = None
    block_list_in_use: Annotated[bool | None, element("BlockListInUse", since=V1_3)] = (
        None
    )
    grant_list: Annotated[GrantList | None, element("GrantList")] = None
    grant_list_in_use: Annotated[bool | None, element("GrantListInUse", since=V1_3)] = (
        None
    )
