"""Searching, inviting and verifying addresses (CSP, common features)."""

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
    Recipient,
    ScreenName,
    Sender,
    URLList,
    UserList,
)

V1_1 = Version.V1_1
V1_2 = Version.V1_2
V1_3 = Version.V1_3


@structure()
class SearchPairList(Structure):
    """One search condition: what to compare, and with what.

    1.3 allows several conditions in one element; a decoder makes several of them.
    """

    search_element: Annotated[str, element("SearchElement")]
    search_string: Annotated[str, element("SearchString")]
    pair_id: Annotated[int | None, element("PairID", since=V1_3)] = None


@structure()
class GroupList(Structure):
    """Groups that a search found."""

    group_id: Annotated[tuple[str, ...], element("GroupID", mandatory=ALWAYS)] = ()


@structure()
class SearchResult(Structure):
    """The users or the groups that a search found."""

    user_list: Annotated[UserList | None, element("UserList")] = None
    group_list: Annotated[GroupList | None, element("GroupList")] = None


@primitive("Search-Request")
class SearchRequest(Primitive):
    """Search for users or groups, or go on with a search."""

    search_pair_list: Annotated[
        tuple[SearchPairList, ...], element("SearchPairList")
    ] = ()
    advanced_criteria: Annotated[
        str | None, element("AdvancedCriteria", since=V1_3)
    ] = None
    search_limit: Annotated[int | None, element("SearchLimit")] = None
    search_id: Annotated[str | None, element("SearchID")] = None
    search_index: Annotated[int | None, element("SearchIndex")] = None


@primitive("Search-Response")
class SearchResponse(Primitive):
    """Give what a search found."""

    search_id: Annotated[str | None, element("SearchID")] = None
    search_findings: Annotated[int, element("SearchFindings")]
    completion_flag: Annotated[bool, element("CompletionFlag")]
    search_index: Annotated[int, element("SearchIndex")]
    search_result: Annotated[SearchResult | None, element("SearchResult")] = None


@primitive("StopSearch-Request")
class StopSearchRequest(Primitive):
    """Give a search up."""

    search_id: Annotated[str, element("SearchID")]


@primitive("Invite-Request")
class InviteRequest(Primitive):
    """Invite users to a group, a conversation, presence or content."""

    invite_id: Annotated[str, element("InviteID")]
    invite_type: Annotated[str, element("InviteType")]
    sender: Annotated[Sender | None, element("Sender", since=V1_3)] = None
    recipient: Annotated[Recipient, element("Recipient")]
    application_id: Annotated[str | None, element("ApplicationID", since=V1_3)] = None
    group_id: Annotated[str | None, element("GroupID")] = None
    presence_sub_list: Annotated[
        PresenceSubList | None, element("PresenceSubList", pts="PS")
    ] = None
    url_list: Annotated[URLList | None, element("URLList")] = None
    invite_note: Annotated[str | None, element("InviteNote")] = None
    screen_name: Annotated[ScreenName | None, element("ScreenName")] = None
    validity: Annotated[
        int | None, element("Validity", mandatory=(V1_1,), lenient=True)
    ] = None


@primitive("Invite-Response")
class InviteResponse(Primitive):
    """Tell the inviter what the invited user said."""

    invite_id: Annotated[str, element("InviteID")]
    acceptance: Annotated[bool, element("Acceptance")]
    sender: Annotated[Sender, element("Sender")]
    recipient: Annotated[Recipient | None, element("Recipient", since=V1_3)] = None
    invite_note: Annotated[str | None, element("InviteNote", since=V1_3)] = None
    response_note: Annotated[str | None, element("ResponseNote")] = None
    screen_name: Annotated[ScreenName | None, element("ScreenName", since=V1_3)] = None


@primitive("InviteUser-Request")
class InviteUserRequest(Primitive):
    """Bring an invitation to the invited user."""

    invite_id: Annotated[str, element("InviteID")]
    invite_type: Annotated[str, element("InviteType")]
    sender: Annotated[Sender, element("Sender")]
    recipient: Annotated[Recipient | None, element("Recipient", since=V1_3)] = None
    application_id: Annotated[str | None, element("ApplicationID", since=V1_3)] = None
    group_id: Annotated[str | None, element("GroupID")] = None
    presence_sub_list: Annotated[
        PresenceSubList | None, element("PresenceSubList", pts="PS")
    ] = None
    url_list: Annotated[URLList | None, element("URLList")] = None
    invite_note: Annotated[str | None, element("InviteNote")] = None
    screen_name: Annotated[ScreenName | None, element("ScreenName", since=V1_3)] = None
    validity: Annotated[int | None, element("Validity")] = None


@primitive("InviteUser-Response")
class InviteUserResponse(Primitive):
    """Accept or turn down an invitation."""

    invite_id: Annotated[str, element("InviteID")]
    acceptance: Annotated[bool, element("Acceptance")]
    sender: Annotated[
        Sender | None,
        element("Sender", since=V1_2, mandatory=(V1_2, V1_3), lenient=True),
    ] = None
    recipient: Annotated[Recipient | None, element("Recipient", since=V1_3)] = None
    response_note: Annotated[str | None, element("ResponseNote")] = None
    screen_name: Annotated[ScreenName | None, element("ScreenName")] = None


@primitive("CancelInvite-Request")
class CancelInviteRequest(Primitive):
    """Take an invitation back."""

    invite_id: Annotated[str, element("InviteID")]
    sender: Annotated[Sender | None, element("Sender", since=V1_3)] = None
    recipient: Annotated[
        Recipient | None, element("Recipient", mandatory=(V1_1,), lenient=True)
    ] = None
    invite_note: Annotated[str | None, element("InviteNote")] = None
    application_id: Annotated[str | None, element("ApplicationID", since=V1_3)] = None
    group_id: Annotated[str | None, element("GroupID", since=V1_3)] = None
    presence_sub_list: Annotated[
        PresenceSubList | None, element("PresenceSubList", since=V1_3, pts="PS")
    ] = None
    url_list: Annotated[URLList | None, element("URLList")] = None
    screen_name: Annotated[ScreenName | None, element("ScreenName")] = None


@primitive("CancelInviteUser-Request")
class CancelInviteUserRequest(Primitive):
    """Tell the invited user that the invitation was taken back."""

    invite_id: Annotated[str, element("InviteID")]
    sender: Annotated[Sender, element("Sender")]
    recipient: Annotated[Recipient | None, element("Recipient", since=V1_3)] = None
    invite_note: Annotated[str | None, element("InviteNote")] = None
    application_id: Annotated[str | None, element("ApplicationID", since=V1_3)] = None
    group_id: Annotated[str | None, element("GroupID", since=V1_3)] = None
    presence_sub_list: Annotated[
        PresenceSubList | None, element("PresenceSubList", since=V1_3, pts="PS")
    ] = None
    url_list: Annotated[URLList | None, element("URLList")] = None
    screen_name: Annotated[ScreenName | None, element("ScreenName", since=V1_3)] = None


@structure()
class IDList(Structure):
    """The addresses to verify."""

    user_id: Annotated[tuple[str, ...], element("UserID")] = ()
    contact_list: Annotated[tuple[str, ...], element("ContactList")] = ()
    group_id: Annotated[tuple[str, ...], element("GroupID")] = ()
    screen_name: Annotated[tuple[ScreenName, ...], element("ScreenName")] = ()
    domain: Annotated[tuple[str, ...], element("Domain")] = ()


@primitive("VerifyID-Request", since=V1_2)
class VerifyIDRequest(Primitive):
    """Ask whether addresses are valid."""

    id_list: Annotated[IDList, element("IDList")]
