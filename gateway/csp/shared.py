"""Elements that primitives of several services use (CSP 1.1 to 1.3)."""

from __future__ import annotations

from typing import Annotated

from gateway.csp.schema import (
    ALWAYS,
    Structure,
    Version,
    element,
    structure,
)

V1_2 = Version.V1_2
V1_3 = Version.V1_3


@structure()
class ClientID(Structure):
    """Identifies the client: an address of its software, its number, or both."""

    url: Annotated[str | None, element("URL")] = None
    msisdn: Annotated[str | None, element("MSISDN")] = None


@structure()
class ScreenName(Structure):
    """The name that a user goes by in one group."""

    sname: Annotated[str, element("SName")]
    group_id: Annotated[str, element("GroupID")]


@structure()
class Group(Structure):
    """A group as party of a message: as a whole, or one member by screen name."""

    group_id: Annotated[str | None, element("GroupID")] = None
    screen_name: Annotated[ScreenName | None, element("ScreenName")] = None


@structure()
class User(Structure):
    """A user; the client or the application tells one of several sessions apart."""

    user_id: Annotated[str, element("UserID")]
    friendly_name: Annotated[str | None, element("FriendlyName", since=V1_3)] = None
    application_id: Annotated[str | None, element("ApplicationID", since=V1_3)] = None
    client_id: Annotated[ClientID | None, element("ClientID")] = None


@structure()
class Sender(Structure):
    """From whom: a user, or a group member."""

    user: Annotated[User | None, element("User")] = None
    group: Annotated[Group | None, element("Group")] = None


@structure()
class Recipient(Structure):
    """To whom: users, groups, contact lists."""

    user: Annotated[tuple[User, ...], element("User")] = ()
    group: Annotated[tuple[Group, ...], element("Group")] = ()
    contact_list: Annotated[tuple[str, ...], element("ContactList")] = ()


@structure()
class UserList(Structure):
    """Users, by address or by screen name."""

    user: Annotated[tuple[User, ...], element("User")] = ()
    screen_name: Annotated[tuple[ScreenName, ...], element("ScreenName")] = ()


@structure()
class UserIDList(Structure):
    """Users, by their addresses."""

    user_id: Annotated[tuple[str, ...], element("UserID")] = ()


@structure()
class ContactListIDList(Structure):
    """Contact lists, by their addresses."""

    contact_list: Annotated[tuple[str, ...], element("ContactList")] = ()


@structure()
class URLList(Structure):
    """Shared content that an invitation offers."""

    url: Annotated[tuple[str, ...], element("URL", mandatory=ALWAYS)] = ()


@structure()
class Property(Structure):
    """A property of a list, a group, a member or a profile: name and value."""

    name: Annotated[str, element("Name")]
    value: Annotated[str | None, element("Value")] = None


@structure()
class WelcomeNote(Structure):
    """What a new member of a group is greeted with."""

    content_type: Annotated[str, element("ContentType")]
    content_encoding: Annotated[str | None, element("ContentEncoding")] = None
    content_data: Annotated[str, element("ContentData")]


@structure()
class Mapping(Structure):
    """A screen name and, where the asker may know it, the user behind it."""

    sname: Annotated[str, element("SName")]
    user_id: Annotated[str | None, element("UserID")] = None


@structure()
class EntityList(Structure):
    """The entries of a block or grant list."""

    user_id: Annotated[tuple[str, ...], element("UserID")] = ()
    screen_name: Annotated[tuple[ScreenName, ...], element("ScreenName")] = ()
    group_id: Annotated[tuple[str, ...], element("GroupID")] = ()
    contact_list: Annotated[tuple[str, ...], element("ContactList", since=V1_3)] = ()
    application_id: Annotated[
        tuple[str, ...], element("ApplicationID", since=V1_3)
    ] = ()


@structure()
class AddList(Structure):
    """Entries to add to a list."""

    user_id: Annotated[tuple[str, ...], element("UserID")] = ()
    screen_name: Annotated[tuple[ScreenName, ...], element("ScreenName")] = ()
    group_id: Annotated[tuple[str, ...], element("GroupID")] = ()
    contact_list: Annotated[tuple[str, ...], element("ContactList", since=V1_3)] = ()
    application_id: Annotated[
        tuple[str, ...], element("ApplicationID", since=V1_3)
    ] = ()


@structure()
class RemoveList(Structure):
    """Entries to remove from a list."""

    user_id: Annotated[tuple[str, ...], element("UserID")] = ()
    screen_name: Annotated[tuple[ScreenName, ...], element("ScreenName")] = ()
    group_id: Annotated[tuple[str, ...], element("GroupID")] = ()
    contact_list: Annotated[tuple[str, ...], element("ContactList", since=V1_3)] = ()
    application_id: Annotated[
        tuple[str, ...], element("ApplicationID", since=V1_3)
    ] = ()


@structure()
class AnswerOption(Structure):
    """One answer that the user may choose to a system message."""

    answer_option_id: Annotated[int, element("AnswerOptionID")]
    answer_option_text: Annotated[str, element("AnswerOptionText")]


@structure()
class AnswerOptions(Structure):
    """The answers that the user may choose from."""

    answer_option: Annotated[
        tuple[AnswerOption, ...], element("AnswerOption", mandatory=ALWAYS)
    ] = ()


@structure()
class VerificationMechanism(Structure):
    """What the user must read and type to prove to be human."""

    in_text: Annotated[str | None, element("InText")] = None
    url: Annotated[str | None, element("URL")] = None


@structure()
class SystemMessage(Structure):
    """A text from the operator, with the answers it allows."""

    system_message_id: Annotated[str, element("SystemMessageID")]
    requires_response: Annotated[bool, element("RequiresResponse")]
    system_message_text: Annotated[str | None, element("SystemMessageText")] = None
    answer_options: Annotated[AnswerOptions | None, element("AnswerOptions")] = None
    verification_mechanism: Annotated[
        VerificationMechanism | None, element("VerificationMechanism")
    ] = None


@structure()
class SystemMessageList(Structure):
    """System messages to show to the user."""

    system_message: Annotated[
        tuple[SystemMessage, ...], element("SystemMessage", mandatory=ALWAYS)
    ] = ()


@structure()
class SystemMessageResponse(Structure):
    """The answer of the user to one system message."""

    system_message_id: Annotated[str, element("SystemMessageID")]
    chosen_option_id: Annotated[int | None, element("ChosenOptionID")] = None
    verification_key: Annotated[str | None, element("VerificationKey")] = None


@structure()
class SystemMessageResponseList(Structure):
    """The answers of the user to system messages."""

    system_message_response: Annotated[
        tuple[SystemMessageResponse, ...],
        element("SystemMessageResponse", mandatory=ALWAYS),
    ] = ()


@structure()
class DetailedResult(Structure):
    """The result for some of the entities that a request named."""

    code: Annotated[int, element("Code")]
    description: Annotated[str | None, element("Description")] = None
    search_element: Annotated[
        tuple[str, ...], element("SearchElement", since=V1_3)
    ] = ()
    user_id: Annotated[tuple[str, ...], element("UserID")] = ()
    group_id: Annotated[tuple[str, ...], element("GroupID")] = ()
    screen_name: Annotated[tuple[ScreenName, ...], element("ScreenName")] = ()
    message_id: Annotated[tuple[str, ...], element("MessageID", since=V1_2)] = ()
    contact_list: Annotated[tuple[str, ...], element("ContactList", since=V1_2)] = ()
    domain: Annotated[tuple[str, ...], element("Domain", since=V1_2)] = ()


@structure()
class Result(Structure):
    """How a request ended: a status code, and details per entity."""

    code: Annotated[int, element("Code")]
    description: Annotated[str | None, element("Description")] = None
    detailed_result: Annotated[
        tuple[DetailedResult, ...], element("DetailedResult")
    ] = ()
    system_message_list: Annotated[
        SystemMessageList | None, element("SystemMessageList", since=V1_3)
    ] = None
    try_again_timeout: Annotated[int | None, element("TryAgainTimeout", since=V1_3)] = (
        None
    )


@structure()
class SegmentID(Structure):
    """Identifies one segment of a message that was too long to send at once."""

    transaction_id: Annotated[str, element("TransactionID")]
    segment_reference: Annotated[int, element("SegmentReference")]


@structure()
class SegmentInfo(Structure):
    """Says that a message is one segment of several (in TransactionDescriptor)."""

    segment_count: Annotated[int, element("SegmentCount")]
    segment_id: Annotated[SegmentID, element("SegmentID")]
