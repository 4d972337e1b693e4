"""Groups, their members and their properties (CSP, group features)."""

from __future__ import annotations

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
    Mapping,
    Property,
    RemoveList,
    Result,
    ScreenName,
    UserIDList,
    UserList,
    WelcomeNote,
)

V1_1 = Version.V1_1
V1_2 = Version.V1_2
V1_3 = Version.V1_3


@structure()
class Admin(Structure):
    """Administrators of a group."""

    user_list: Annotated[UserList, element("UserList")]


@structure()
class Mod(Structure):
    """Moderators of a group."""

    user_list: Annotated[UserList, element("UserList")]


@structure()
class Users(Structure):
    """Ordinary users of a group."""

    user_list: Annotated[UserList, element("UserList")]


@structure()
class AdminMapping(Structure):
    """Joined administrators."""

    mapping: Annotated[tuple[Mapping, ...], element("Mapping", mandatory=ALWAYS)] = ()


@structure()
class ModMapping(Structure):
    """Joined moderators."""

    mapping: Annotated[tuple[Mapping, ...], element("Mapping", mandatory=ALWAYS)] = ()


@structure()
class UserMapping(Structure):
    """Joined ordinary users."""

    mapping: Annotated[tuple[Mapping, ...], element("Mapping", mandatory=ALWAYS)] = ()


@structure()
class AdminMapList(Structure):
    """Who is joined, as administrators and moderators see it."""

    admin_mapping: Annotated[AdminMapping | None, element("AdminMapping")] = None
    mod_mapping: Annotated[ModMapping | None, element("ModMapping")] = None
    user_mapping: Annotated[UserMapping | None, element("UserMapping")] = None


@structure()
class UserMapList(Structure):
    """Who is joined, as ordinary users see it.

    ``mapping``: a known client looks for the mappings here, without UserMapping.
    """

    user_mapping: Annotated[UserMapping | None, element("UserMapping")] = None
    mapping: Annotated[tuple[Mapping, ...], element("Mapping")] = ()


@structure()
class Joined(Structure):
    """Users that have joined a group."""

    screen_name: Annotated[
        tuple[ScreenName, ...],
        element("ScreenName", until=V1_1, mandatory=(V1_1,), lenient=True),
    ] = ()
    user_map_list: Annotated[
        UserMapList | None,
        element("UserMapList", since=V1_2, mandatory=(V1_2, V1_3), lenient=True),
    ] = None
    user_list: Annotated[UserList | None, element("UserList", since=V1_3)] = None


@structure()
class Left(Structure):
    """Users that have left a group."""

    screen_name: Annotated[
        tuple[ScreenName, ...],
        element("ScreenName", until=V1_1, mandatory=(V1_1,), lenient=True),
    ] = ()
    user_list: Annotated[
        UserList | None,
        element("UserList", since=V1_2, mandatory=(V1_2, V1_3), lenient=True),
    ] = None


@structure()
class JoinedBlocked(Structure):
    """Joined users whom the reader has blocked."""

    user_list: Annotated[UserList, element("UserList")]


@structure()
class LeftBlocked(Structure):
    """Users that left and whom the reader has blocked."""

    user_list: Annotated[UserList, element("UserList")]


@structure()
class GroupProperties(Structure):
    """The properties of a group."""

    property: Annotated[
        tuple[Property, ...], element("Property", mandatory=ALWAYS)
    ] = ()
    welcome_note: Annotated[WelcomeNote | None, element("WelcomeNote")] = None


@structure()
class OwnProperties(Structure):
    """The properties of a member in a group."""

    property: Annotated[
        tuple[Property, ...], element("Property", mandatory=ALWAYS)
    ] = ()


@primitive("CreateGroup-Request")
class CreateGroupRequest(Primitive):
    """Create a group."""

    group_id: Annotated[str, element("GroupID")]
    group_properties: Annotated[GroupProperties, element("GroupProperties")]
    own_properties: Annotated[
        OwnProperties | None, element("OwnProperties", since=V1_3)
    ] = None
    join_group: Annotated[bool, element("JoinGroup")]
    screen_name: Annotated[ScreenName | None, element("ScreenName")] = None
    subscribe_notification: Annotated[bool, element("SubscribeNotification")]


@primitive("DeleteGroup-Request")
class DeleteGroupRequest(Primitive):
    """Delete a group."""

    group_id: Annotated[str, element("GroupID")]


@primitive("JoinGroup-Request")
class JoinGroupRequest(Primitive):
    """Join a group."""

    group_id: Annotated[str, element("GroupID")]
    screen_name: Annotated[ScreenName | None, element("ScreenName")] = None
    joined_request: Annotated[
        bool | None, element("JoinedRequest", mandatory=(V1_2, V1_3), lenient=True)
    ] = None
    subscribe_notification: Annotated[bool, element("SubscribeNotification")]
    own_properties: Annotated[
        OwnProperties | None, element("OwnProperties", since=V1_2)
    ] = None


@primitive("JoinGroup-Response")
class JoinGroupResponse(Primitive):
    """Tell a new member who is there, and greet."""

    user_list: Annotated[UserList | None, element("UserList", until=V1_1)] = None
    user_map_list: Annotated[
        UserMapList | None, element("UserMapList", since=V1_2, until=V1_2)
    ] = None
    joined: Annotated[Joined | None, element("Joined", since=V1_3)] = None
    screen_name: Annotated[ScreenName | None, element("ScreenName", since=V1_3)] = None
    welcome_note: Annotated[WelcomeNote | None, element("WelcomeNote")] = None


@primitive("LeaveGroup-Request")
class LeaveGroupRequest(Primitive):
    """Leave a group."""

    group_id: Annotated[str, element("GroupID")]


@primitive("LeaveGroup-Response")
class LeaveGroupResponse(Primitive):
    """Tell that a member has left, or had to."""

    group_id: Annotated[str | None, element("GroupID")] = None
    result: Annotated[Result, element("Result", pts="ST")]


@primitive("GetGroupMembers-Request")
class GetGroupMembersRequest(Primitive):
    """Ask for the members of a group."""

    group_id: Annotated[str, element("GroupID")]


@primitive("GetGroupMembers-Response")
class GetGroupMembersResponse(Primitive):
    """Give the members of a group."""

    admin: Annotated[Admin | None, element("Admin")] = None
    mod: Annotated[Mod | None, element("Mod")] = None
    users: Annotated[Users | None, element("Users", until=V1_2)] = None
    user_list: Annotated[UserList | None, element("UserList", since=V1_3)] = None


@primitive("GetJoinedUsers-Request", since=V1_2)
class GetJoinedUsersRequest(Primitive):
    """Ask who is joined to a group now."""

    group_id: Annotated[str, element("GroupID")]


@primitive("GetJoinedUsers-Response", since=V1_2)
class GetJoinedUsersResponse(Primitive):
    """Tell who is joined to a group now."""

    admin_map_list: Annotated[AdminMapList | None, element("AdminMapList")] = None
    user_map_list: Annotated[UserMapList | None, element("UserMapList")] = None
    joined_blocked: Annotated[
        JoinedBlocked | None, element("JoinedBlocked", since=V1_3)
    ] = None


@primitive("AddGroupMembers-Request")
class AddGroupMembersRequest(Primitive):
    """Make users members of a group."""

    group_id: Annotated[str, element("GroupID")]
    user_list: Annotated[
        UserList | None,
        element("UserList", until=V1_2, mandatory=(V1_1, V1_2), lenient=True),
    ] = None
    user_id_list: Annotated[
        UserIDList | None,
        element("UserIDList", since=V1_3, mandatory=(V1_3,), lenient=True),
    ] = None


@primitive("RemoveGroupMembers-Request")
class RemoveGroupMembersRequest(Primitive):
    """End the membership of users."""

    group_id: Annotated[str, element("GroupID")]
    user_list: Annotated[
        UserList | None,
        element("UserList", until=V1_2, mandatory=(V1_1, V1_2), lenient=True),
    ] = None
    user_id_list: Annotated[
        UserIDList | None,
        element("UserIDList", since=V1_3, mandatory=(V1_3,), lenient=True),
    ] = None


@primitive("MemberAccess-Request")
class MemberAccessRequest(Primitive):
    """Change the privileges of members."""

    group_id: Annotated[str, element("GroupID")]
    admin: Annotated[Admin | None, element("Admin")] = None
    mod: Annotated[Mod | None, element("Mod")] = None
    users: Annotated[Users | None, element("Users", until=V1_2)] = None
    user_list: Annotated[UserList | None, element("UserList", since=V1_3)] = None


@primitive("GetGroupProps-Request")
class GetGroupPropsRequest(Primitive):
    """Ask for the properties of a group and the own ones in it."""

    group_id: Annotated[str, element("GroupID")]


@primitive("GetGroupProps-Response")
class GetGroupPropsResponse(Primitive):
    """Give the properties of a group and the own ones in it."""

    group_properties: Annotated[GroupProperties, element("GroupProperties")]
    own_properties: Annotated[OwnProperties, element("OwnProperties")]


@primitive("SetGroupProps-Request")
class SetGroupPropsRequest(Primitive):
    """Change the properties of a group or the own ones in it."""

    group_id: Annotated[str, element("GroupID")]
    group_properties: Annotated[GroupProperties | None, element("GroupProperties")] = (
        None
    )
    own_properties: Annotated[OwnProperties | None, element("OwnProperties")] = None


@primitive("RejectList-Request")
class RejectListRequest(Primitive):
    """Read or change who may not join a group."""

    group_id: Annotated[str, element("GroupID")]
    add_list: Annotated[AddList | None, element("AddList")] = None
    remove_list: Annotated[RemoveList | None, element("RemoveList")] = None


@primitive("RejectList-Response")
class RejectListResponse(Primitive):
    """Tell who may not join a group."""

    user_list: Annotated[UserList | None, element("UserList")] = None


@primitive("SubscribeGroupNotice-Request")
class SubscribeGroupNoticeRequest(Primitive):
    """Ask for, end or read the subscription to notices of a group."""

    group_id: Annotated[str, element("GroupID")]
    subscribe_type: Annotated[str, element("SubscribeType")]


@primitive("SubscribeGroupNotice-Response")
class SubscribeGroupNoticeResponse(Primitive):
    """Tell whether notices of a group are subscribed."""

    value: Annotated[str, element("Value")]


@primitive("GroupChangeNotice")
class GroupChangeNotice(Primitive):
    """Tell what changed in a group."""

    group_id: Annotated[str, element("GroupID")]
    joined: Annotated[Joined | None, element("Joined")] = None
    left: Annotated[Left | None, element("Left")] = None
    joined_blocked: Annotated[
        JoinedBlocked | None, element("JoinedBlocked", since=V1_3)
    ] = None
    left_blocked: Annotated[LeftBlocked | None, element("LeftBlocked", since=V1_3)] = (
        None
    )
    group_properties: Annotated[GroupProperties | None, element("GroupProperties")] = (
        None
    )
    own_properties: Annotated[OwnProperties | None, element("OwnProperties")] = None
