"""Presence, its authorization and its attribute lists (CSP, presence features).

Presence attributes and contact lists are exported here too.
"""

from __future__ import annotations

from typing import Annotated

from gateway.csp.attributes import (
    PLMN,
    Address,
    AddrPref,
    Alias,
    ClientInfo,
    CommC,
    CommCap,
    ContactInfo,
    FreeTextLocation,
    GeoLocation,
    InfLink,
    InfoLink,
    OnlineStatus,
    PreferredContacts,
    PreferredLanguage,
    PresenceSubList,
    Registration,
    StatusContent,
    StatusMood,
    StatusText,
    TimeZone,
    UserAvailability,
)
from gateway.csp.contactlists import (
    AddNickList,
    ContactListProperties,
    CreateListRequest,
    CreateListResponse,
    DeleteListRequest,
    GetListRequest,
    GetListResponse,
    ListManageRequest,
    ListManageResponse,
    NickList,
    NickName,
    RemoveNickList,
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
    Result,
    User,
    UserIDList,
)

__all__ = [
    "AddNickList",
    "AddrPref",
    "Address",
    "Alias",
    "CancelAuthRequest",
    "ClientInfo",
    "CommC",
    "CommCap",
    "ContactInfo",
    "ContactListProperties",
    "CreateAttributeListRequest",
    "CreateListRequest",
    "CreateListResponse",
    "DefaultAttributeList",
    "DeleteAttributeListRequest",
    "DeleteListRequest",
    "FreeTextLocation",
    "GeoLocation",
    "GetAttributeListRequest",
    "GetAttributeListResponse",
    "GetListRequest",
    "GetListResponse",
    "GetPresenceRequest",
    "GetPresenceResponse",
    "GetReactiveAuthStatusRequest",
    "GetReactiveAuthStatusResponse",
    "GetWatcherListRequest",
    "GetWatcherListResponse",
    "InfLink",
    "InfoLink",
    "ListManageRequest",
    "ListManageResponse",
    "NickList",
    "NickName",
    "OnlineStatus",
    "PLMN",
    "PreferredContacts",
    "PreferredLanguage",
    "Presence",
    "PresenceAuthRequest",
    "PresenceAuthUser",
    "PresenceNotificationRequest",
    "PresenceSubList",
    "ReactiveAuthStatus",
    "ReactiveAuthStatusList",
    "Registration",
    "RemoveNickList",
    "StatusContent",
    "StatusMood",
    "StatusText",
    "SubscribePresenceRequest",
    "TimeZone",
    "UnsubscribePresenceRequest",
    "UpdatePresenceRequest",
    "UserAvailability",
    "Watcher",
]

V1_1 = Version.V1_1
V1_2 = Version.V1_2
V1_3 = Version.V1_3


@structure()
class Presence(Structure):
    """The presence of one user, or of a contact list."""

    user_id: Annotated[str | None, element("UserID")] = None
    user_notify: Annotated[bool | None, element("UserNotify", since=V1_3)] = None
    contact_list: Annotated[str | None, element("ContactList")] = None
    contact_list_notify: Annotated[
        bool | None, element("ContactListNotify", since=V1_3)
    ] = None
    presence_sub_list: Annotated[
        tuple[PresenceSubList, ...], element("PresenceSubList")
    ] = ()


@primitive("SubscribePresence-Request", pts="SB")
class SubscribePresenceRequest(Primitive):
    """Ask to be told of changes of presence."""

    user: Annotated[tuple[User, ...], element("User", until=V1_2)] = ()
    contact_list: Annotated[
        tuple[str, ...], element("ContactList", until=V1_2, pts="CL")
    ] = ()
    user_id_list: Annotated[UserIDList | None, element("UserIDList", since=V1_3)] = None
    contact_list_id_list: Annotated[
        ContactListIDList | None, element("ContactListIDList", since=V1_3)
    ] = None
    presence_sub_list: Annotated[
        PresenceSubList | None, element("PresenceSubList", pts="PS")
    ] = None
    auto_subscribe: Annotated[
        bool | None,
        element(
            "AutoSubscribe", since=V1_2, mandatory=(V1_2, V1_3), lenient=True, pts="AS"
        ),
    ] = None


@primitive("UnsubscribePresence-Request")
class UnsubscribePresenceRequest(Primitive):
    """Ask to be told of changes of presence no more."""

    user: Annotated[tuple[User, ...], element("User", until=V1_2)] = ()
    contact_list: Annotated[
        tuple[str, ...], element("ContactList", until=V1_2, pts="CL")
    ] = ()
    user_id_list: Annotated[UserIDList | None, element("UserIDList", since=V1_3)] = None
    contact_list_id_list: Annotated[
        ContactListIDList | None, element("ContactListIDList", since=V1_3)
    ] = None


@primitive("PresenceNotification-Request", pts="PN")
class PresenceNotificationRequest(Primitive):
    """Tell the client of presence that changed."""

    presence: Annotated[
        tuple[Presence, ...], element("Presence", mandatory=ALWAYS, pts="PR")
    ] = ()


@structure()
class Watcher(Structure):
    """Someone who watches the user."""

    user: Annotated[
        User | None, element("User", until=V1_2, mandatory=(V1_2,), lenient=True)
    ] = None
    user_id: Annotated[
        str | None, element("UserID", since=V1_3, mandatory=(V1_3,), lenient=True)
    ] = None
    friendly_name: Annotated[str | None, element("FriendlyName", since=V1_3)] = None
    watcher_status: Annotated[str | None, element("WatcherStatus")] = None


@primitive("GetWatcherList-Request")
class GetWatcherListRequest(Primitive):
    """Ask who watches the user."""

    history_period: Annotated[int | None, element("HistoryPeriod", since=V1_2)] = None
    max_watcher_list: Annotated[int | None, element("MaxWatcherList", since=V1_2)] = (
        None
    )


@primitive("GetWatcherList-Response")
class GetWatcherListResponse(Primitive):
    """Tell who watches the user."""

    user: Annotated[tuple[User, ...], element("User", until=V1_1)] = ()
    history_period: Annotated[int | None, element("HistoryPeriod", since=V1_2)] = None
    watcher_count: Annotated[int | None, element("WatcherCount", since=V1_3)] = None
    watcher: Annotated[tuple[Watcher, ...], element("Watcher", since=V1_2)] = ()


@primitive("GetPresence-Request", pts="GP")
class GetPresenceRequest(Primitive):
    """Ask for presence, once."""

    user: Annotated[tuple[User, ...], element("User", until=V1_2)] = ()
    contact_list: Annotated[
        tuple[str, ...], element("ContactList", until=V1_2, pts="CL")
    ] = ()
    user_id_list: Annotated[UserIDList | None, element("UserIDList", since=V1_3)] = None
    contact_list_id_list: Annotated[
        ContactListIDList | None, element("ContactListIDList", since=V1_3)
    ] = None
    presence_sub_list: Annotated[
        PresenceSubList | None, element("PresenceSubList", pts="PS")
    ] = None


@primitive("GetPresence-Response", pts="PG")
class GetPresenceResponse(Primitive):
    """Give presence, once."""

    result: Annotated[Result, element("Result", pts="ST")]
    presence: Annotated[tuple[Presence, ...], element("Presence", pts="PR")] = ()


@primitive("UpdatePresence-Request", pts="UP")
class UpdatePresenceRequest(Primitive):
    """Publish presence of the user."""

    presence_sub_list: Annotated[PresenceSubList, element("PresenceSubList", pts="UV")]


@primitive("PresenceAuth-Request", until=V1_2)
class PresenceAuthRequest(Primitive):
    """Ask the user whether a watcher may see attributes."""

    user_id: Annotated[str, element("UserID", pts="UI")]
    presence_sub_list: Annotated[
        PresenceSubList | None, element("PresenceSubList", pts="PS")
    ] = None


@primitive("PresenceAuth-User", until=V1_2)
class PresenceAuthUser(Primitive):
    """Allow or deny a watcher to see attributes."""

    user_id: Annotated[str, element("UserID", pts="UI")]
    acceptance: Annotated[bool, element("Acceptance")]
    presence_sub_list: Annotated[
        PresenceSubList | None, element("PresenceSubList", since=V1_2, pts="PS")
    ] = None


@primitive("CancelAuth-Request", until=V1_2)
class CancelAuthRequest(Primitive):
    """Take the permission of a watcher back."""

    user_id: Annotated[str, element("UserID", pts="UI")]


@structure()
class ReactiveAuthStatus(Structure):
    """What one watcher is allowed to see."""

    user_id: Annotated[str, element("UserID")]
    reactive_auth_state: Annotated[str, element("ReactiveAuthState")]
    presence_sub_list: Annotated[PresenceSubList | None, element("PresenceSubList")] = (
        None
    )


@structure()
class ReactiveAuthStatusList(Structure):
    """What watchers are allowed to see."""

    reactive_auth_status: Annotated[
        tuple[ReactiveAuthStatus, ...], element("ReactiveAuthStatus")
    ] = ()


@primitive("GetReactiveAuthStatus-Request", since=V1_2, until=V1_2)
class GetReactiveAuthStatusRequest(Primitive):
    """Ask which watchers were allowed or denied."""

    user_id: Annotated[tuple[str, ...], element("UserID", pts="UI")] = ()


@primitive("GetReactiveAuthStatus-Response", since=V1_2, until=V1_2)
class GetReactiveAuthStatusResponse(Primitive):
    """Tell which watchers were allowed or denied."""

    reactive_auth_status_list: Annotated[
        ReactiveAuthStatusList, element("ReactiveAuthStatusList")
    ]


@primitive("CreateAttributeList-Request", pts="CA")
class CreateAttributeListRequest(Primitive):
    """Say who may see which attributes."""

    presence_sub_list: Annotated[PresenceSubList, element("PresenceSubList", pts="PS")]
    user_id: Annotated[tuple[str, ...], element("UserID", until=V1_2, pts="UI")] = ()
    contact_list: Annotated[
        tuple[str, ...], element("ContactList", until=V1_2, pts="CL")
    ] = ()
    user_id_list: Annotated[UserIDList | None, element("UserIDList", since=V1_3)] = None
    contact_list_id_list: Annotated[
        ContactListIDList | None, element("ContactListIDList", since=V1_3)
    ] = None
    default_list: Annotated[bool, element("DefaultList", pts="DL")]
    default_notify: Annotated[bool | None, element("DefaultNotify", since=V1_3)] = None
    user_notify: Annotated[bool | None, element("UserNotify", since=V1_3)] = None
    contact_list_notify: Annotated[
        bool | None, element("ContactListNotify", since=V1_3)
    ] = None


@primitive("DeleteAttributeList-Request")
class DeleteAttributeListRequest(Primitive):
    """Take back who may see which attributes."""

    user_id: Annotated[tuple[str, ...], element("UserID", until=V1_2, pts="UI")] = ()
    contact_list: Annotated[
        tuple[str, ...], element("ContactList", until=V1_2, pts="CL")
    ] = ()
    user_id_list: Annotated[UserIDList | None, element("UserIDList", since=V1_3)] = None
    contact_list_id_list: Annotated[
        ContactListIDList | None, element("ContactListIDList", since=V1_3)
    ] = None
    default_list: Annotated[bool, element("DefaultList", pts="DL")]


@primitive("GetAttributeList-Request")
class GetAttributeListRequest(Primitive):
    """Ask who may see which attributes."""

    default_list: Annotated[bool, element("DefaultList", pts="DL")]
    contact_list: Annotated[
        tuple[str, ...], element("ContactList", until=V1_2, pts="CL")
    ] = ()
    user: Annotated[tuple[User, ...], element("User", until=V1_2)] = ()
    contact_list_id_list: Annotated[
        ContactListIDList | None, element("ContactListIDList", since=V1_3)
    ] = None
    user_id_list: Annotated[UserIDList | None, element("UserIDList", since=V1_3)] = None


@structure()
class DefaultAttributeList(Structure):
    """The attributes that everyone may see."""

    default_notify: Annotated[bool | None, element("DefaultNotify", since=V1_3)] = None
    presence_sub_list: Annotated[
        tuple[PresenceSubList, ...], element("PresenceSubList")
    ] = ()


@primitive("GetAttributeList-Response")
class GetAttributeListResponse(Primitive):
    """Tell who may see which attributes."""

    result: Annotated[Result, element("Result", pts="ST")]
    default_attribute_list: Annotated[
        DefaultAttributeList | None, element("DefaultAttributeList")
    ] = None
    presence: Annotated[tuple[Presence, ...], element("Presence", pts="PR")] = ()
