"""Contact lists (CSP, contact list features)."""

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
    ContactListIDList,
    Property,
    Result,
)

V1_2 = Version.V1_2
V1_3 = Version.V1_3


@structure()
class NickName(Structure):
    """An entry of a contact list: the name shown, and the user."""

    name: Annotated[str, element("Name")]
    user_id: Annotated[str, element("UserID")]


@structure()
class NickList(Structure):
    """The entries of a contact list."""

    nick_name: Annotated[tuple[NickName, ...], element("NickName")] = ()
    user_id: Annotated[tuple[str, ...], element("UserID")] = ()


@structure()
class AddNickList(Structure):
    """Entries to add to a contact list."""

    nick_name: Annotated[tuple[NickName, ...], element("NickName")] = ()
    user_id: Annotated[tuple[str, ...], element("UserID")] = ()


@structure()
class RemoveNickList(Structure):
    """Entries to remove from a contact list."""

    user_id: Annotated[tuple[str, ...], element("UserID", mandatory=ALWAYS)] = ()


@structure()
class ContactListProperties(Structure):
    """The properties of a contact list."""

    property: Annotated[
        tuple[Property, ...], element("Property", mandatory=ALWAYS)
    ] = ()


@primitive("GetList-Request", pts="GL")
class GetListRequest(Primitive):
    """Ask which contact lists the user has."""


@primitive("GetList-Response", pts="LG")
class GetListResponse(Primitive):
    """Tell which contact lists the user has."""

    contact_list: Annotated[
        tuple[str, ...], element("ContactList", until=V1_2, pts="CL")
    ] = ()
    contact_list_id_list: Annotated[
        ContactListIDList | None, element("ContactListIDList", since=V1_3)
    ] = None
    default_contact_list: Annotated[
        str | None, element("DefaultContactList", pts="DC")
    ] = None


@primitive("CreateList-Request", pts="CL")
class CreateListRequest(Primitive):
    """Create a contact list."""

    contact_list: Annotated[str, element("ContactList", pts="CL")]
    nick_list: Annotated[NickList | None, element("NickList", pts="UN")] = None
    contact_list_properties: Annotated[
        ContactListProperties | None, element("ContactListProperties", pts="CP")
    ] = None


@primitive("CreateList-Response", since=V1_3)
class CreateListResponse(Primitive):
    """Tell the contact list that was created."""

    contact_list: Annotated[str, element("ContactList", pts="CL")]
    contact_list_properties: Annotated[
        ContactListProperties | None, element("ContactListProperties", pts="CP")
    ] = None


@primitive("DeleteList-Request", pts="DL")
class DeleteListRequest(Primitive):
    """Delete a contact list."""

    contact_list: Annotated[str, element("ContactList", pts="CL")]


@primitive("ListManage-Request", pts="LM")
class ListManageRequest(Primitive):
    """Read or change one contact list."""

    contact_list: Annotated[str, element("ContactList", pts="CL")]
    add_nick_list: Annotated[AddNickList | None, element("AddNickList", pts="AN")] = (
        None
    )
    remove_nick_list: Annotated[
        RemoveNickList | None, element("RemoveNickList", pts="RN")
    ] = None
    contact_list_properties: Annotated[
        ContactListProperties | None, element("ContactListProperties", pts="CP")
    ] = None
    receive_list: Annotated[
        bool | None,
        element(
            "ReceiveList", since=V1_2, mandatory=(V1_2, V1_3), lenient=True, pts="RL"
        ),
    ] = None
    authorize_and_grant: Annotated[
        bool | None, element("AuthorizeAndGrant", since=V1_3)
    ] = None


@primitive("ListManage-Response", pts="ML")
class ListManageResponse(Primitive):
    """Give a contact list, or the result of a change."""

    result: Annotated[Result, element("Result", pts="ST")]
    nick_list: Annotated[NickList | None, element("NickList", pts="UN")] = None
    contact_list_properties: Annotated[
        ContactListProperties | None, element("ContactListProperties", pts="CP")
    ] = None
