"""Fundamental primitives that CSP 1.3 added: maps, segments, notices, profiles."""

from __future__ import annotations

from typing import Annotated

from gateway.csp.attributes import (
    PresenceSubList,
)
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
    ContactListIDList,
    Property,
    Result,
    SegmentID,
    SystemMessageList,
    SystemMessageResponseList,
    UserIDList,
    UserList,
)

V1_3 = Version.V1_3


@structure()
class Map(Structure):
    """A map, as content of the message."""

    content_type: Annotated[str, element("ContentType")]
    content_encoding: Annotated[str | None, element("ContentEncoding")] = None
    content_data: Annotated[str, element("ContentData")]


@primitive("GetMap-Request", since=V1_3)
class GetMapRequest(Primitive):
    """Ask for a map of where a user is."""

    user_id: Annotated[str | None, element("UserID", pts="UI")] = None
    presence_sub_list: Annotated[
        PresenceSubList | None, element("PresenceSubList", pts="PS")
    ] = None


@primitive("GetMap-Response", since=V1_3)
class GetMapResponse(Primitive):
    """Give a map, or where to get it."""

    map: Annotated[Map | None, element("Map")] = None
    url: Annotated[str | None, element("URL")] = None


@primitive("GetSegment-Request", since=V1_3)
class GetSegmentRequest(Primitive):
    """Ask for a segment of a long message."""

    segment_id: Annotated[SegmentID, element("SegmentID")]


@primitive("GetSegment-Response", since=V1_3)
class GetSegmentResponse(Primitive):
    """Give a segment of a long message."""

    segment_content: Annotated[str, element("SegmentContent")]


@primitive("DropSegment-Request", since=V1_3)
class DropSegmentRequest(Primitive):
    """Give up the other segments of a long message."""

    segment_id: Annotated[SegmentID, element("SegmentID")]


@primitive("SystemMessage-Request", since=V1_3)
class SystemMessageRequest(Primitive):
    """Bring texts of the operator to the user."""

    system_message_list: Annotated[SystemMessageList, element("SystemMessageList")]


@primitive("SystemMessage-User", since=V1_3)
class SystemMessageUser(Primitive):
    """Bring the answers of the user to texts of the operator."""

    system_message_response_list: Annotated[
        SystemMessageResponseList, element("SystemMessageResponseList")
    ]


@structure()
class NotificationTypeList(Structure):
    """The kinds of notification that are wanted, or no longer."""

    notification_type: Annotated[
        tuple[str, ...], element("NotificationType", mandatory=ALWAYS)
    ] = ()


@primitive("SubscribeNotification-Request", since=V1_3)
class SubscribeNotificationRequest(Primitive):
    """Ask for notifications."""

    notification_type_list: Annotated[
        NotificationTypeList, element("NotificationTypeList")
    ]


@primitive("UnsubscribeNotification-Request", since=V1_3)
class UnsubscribeNotificationRequest(Primitive):
    """Ask for notifications no more."""

    notification_type_list: Annotated[
        NotificationTypeList, element("NotificationTypeList")
    ]


@structure()
class UserIDPair(Structure):
    """An address that nobody knows, and the one that is meant."""

    unrecognized_user_id: Annotated[str, element("UnrecognizedUserID")]
    valid_user_id: Annotated[str, element("ValidUserID")]


@primitive("Notification-Request", since=V1_3)
class NotificationRequest(Primitive):
    """Notify the client of a change."""

    notification_type: Annotated[str, element("NotificationType")]
    block_list_in_use: Annotated[bool | None, element("BlockListInUse")] = None
    grant_list_in_use: Annotated[bool | None, element("GrantListInUse")] = None
    group_id: Annotated[str | None, element("GroupID")] = None
    contact_list_id_list: Annotated[
        ContactListIDList | None, element("ContactListIDList")
    ] = None
    invite_id: Annotated[str | None, element("InviteID")] = None
    online_etem_handling: Annotated[str | None, element("OnlineETEMHandling")] = None
    presence_sub_list: Annotated[
        PresenceSubList | None, element("PresenceSubList", pts="PS")
    ] = None
    user_id_list: Annotated[UserIDList | None, element("UserIDList")] = None
    default_list: Annotated[bool | None, element("DefaultList", pts="DL")] = None
    session_priority: Annotated[int | None, element("SessionPriority")] = None
    user_list: Annotated[UserList | None, element("UserList")] = None
    user_id_pair: Annotated[UserIDPair | None, element("UserIDPair")] = None


@structure()
class PublicProfile(Structure):
    """What a user shows to everyone."""

    user_id: Annotated[str | None, element("UserID")] = None
    property: Annotated[
        tuple[Property, ...], element("Property", mandatory=ALWAYS)
    ] = ()


@primitive("GetPublicProfile-Request", since=V1_3)
class GetPublicProfileRequest(Primitive):
    """Ask for public profiles."""

    user_id: Annotated[
        tuple[str, ...], element("UserID", mandatory=ALWAYS, pts="UI")
    ] = ()


@primitive("GetPublicProfile-Response", since=V1_3)
class GetPublicProfileResponse(Primitive):
    """Give public profiles."""

    result: Annotated[Result, element("Result", pts="ST")]
    public_profile: Annotated[tuple[PublicProfile, ...], element("PublicProfile")] = ()


@primitive("UpdatePublicProfile-Request", since=V1_3)
class UpdatePublicProfileRequest(Primitive):
    """Change or clear the public profile of the user."""

    clear_public_profile: Annotated[bool | None, element("ClearPublicProfile")] = None
    public_profile: Annotated[PublicProfile | None, element("PublicProfile")] = None
