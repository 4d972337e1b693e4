"""Presence attributes (CSP presence attributes 1.1 to 1.3).

Qualifier T: the value is valid; F: authorized, but no valid value. Up to 1.2 an
attribute occurs once; in 1.3 those of a client occur once for each client. An
attribute without children is just named, as in a subscription.
"""

from __future__ import annotations

from typing import Annotated

from gateway.csp.capability import (
    ClientContentLimit,
)
from gateway.csp.schema import (
    Structure,
    Version,
    element,
    structure,
)
from gateway.csp.shared import (
    ClientID,
)

V1_2 = Version.V1_2
V1_3 = Version.V1_3


@structure()
class OnlineStatus(Structure):
    """Whether the user is logged in; set by the server."""

    qualifier: Annotated[bool | None, element("Qualifier")] = None
    presence_value: Annotated[str | None, element("PresenceValue")] = None
    client_id: Annotated[ClientID | None, element("ClientID", since=V1_3)] = None


@structure()
class Registration(Structure):
    """Whether the mobile is registered in its network."""

    qualifier: Annotated[bool | None, element("Qualifier")] = None
    presence_value: Annotated[str | None, element("PresenceValue")] = None
    client_id: Annotated[ClientID | None, element("ClientID", since=V1_3)] = None


@structure()
class ClientInfo(Structure):
    """What client the user has."""

    qualifier: Annotated[bool | None, element("Qualifier")] = None
    client_content_limit: Annotated[
        ClientContentLimit | None, element("ClientContentLimit", since=V1_3)
    ] = None
    client_type: Annotated[str | None, element("ClientType", pts="CT")] = None
    dev_manufacturer: Annotated[str | None, element("DevManufacturer")] = None
    client_producer: Annotated[str | None, element("ClientProducer", pts="CP")] = None
    model: Annotated[str | None, element("Model")] = None
    client_version: Annotated[str | None, element("ClientVersion", pts="CV")] = None
    language: Annotated[str | None, element("Language")] = None
    client_im_priority: Annotated[
        int | None, element("ClientIMPriority", since=V1_3)
    ] = None
    application_id: Annotated[str | None, element("ApplicationID", since=V1_3)] = None
    client_id: Annotated[ClientID | None, element("ClientID", since=V1_3)] = None


@structure()
class TimeZone(Structure):
    """The time zone where the client is, such as ``+02``."""

    qualifier: Annotated[bool | None, element("Qualifier")] = None
    zone: Annotated[str | None, element("Zone")] = None
    client_id: Annotated[ClientID | None, element("ClientID", since=V1_3)] = None


@structure()
class GeoLocation(Structure):
    """Where the client is, by coordinates."""

    qualifier: Annotated[bool | None, element("Qualifier")] = None
    longitude: Annotated[str | None, element("Longitude")] = None
    latitude: Annotated[str | None, element("Latitude")] = None
    altitude: Annotated[str | None, element("Altitude")] = None
    accuracy: Annotated[str | None, element("Accuracy")] = None
    client_id: Annotated[ClientID | None, element("ClientID", since=V1_3)] = None


@structure()
class Address(Structure):
    """Where the client is, by street address."""

    qualifier: Annotated[bool | None, element("Qualifier")] = None
    country: Annotated[str | None, element("Country")] = None
    city: Annotated[str | None, element("City")] = None
    street: Annotated[str | None, element("Street")] = None
    crossing1: Annotated[str | None, element("Crossing1")] = None
    crossing2: Annotated[str | None, element("Crossing2")] = None
    building: Annotated[str | None, element("Building")] = None
    named_area: Annotated[str | None, element("NamedArea", until=V1_2)] = None
    accuracy: Annotated[str | None, element("Accuracy", until=V1_2)] = None


@structure()
class FreeTextLocation(Structure):
    """Where the client is, in words."""

    qualifier: Annotated[bool | None, element("Qualifier")] = None
    presence_value: Annotated[str | None, element("PresenceValue")] = None
    client_id: Annotated[ClientID | None, element("ClientID", since=V1_3)] = None


@structure()
class PLMN(Structure):
    """The mobile network that the client is in."""

    qualifier: Annotated[bool | None, element("Qualifier")] = None
    presence_value: Annotated[str | None, element("PresenceValue")] = None
    client_id: Annotated[ClientID | None, element("ClientID", since=V1_3)] = None


@structure()
class CommC(Structure):
    """One way to communicate, and whether it is open."""

    cap: Annotated[str, element("Cap")]
    status: Annotated[str, element("Status")]
    contact: Annotated[str | None, element("Contact")] = None
    note: Annotated[str | None, element("Note")] = None


@structure()
class CommCap(Structure):
    """Ways in which the client can communicate."""

    qualifier: Annotated[bool | None, element("Qualifier")] = None
    comm_c: Annotated[tuple[CommC, ...], element("CommC")] = ()
    client_id: Annotated[ClientID | None, element("ClientID", since=V1_3)] = None


@structure()
class UserAvailability(Structure):
    """Whether the user wants to be disturbed."""

    qualifier: Annotated[bool | None, element("Qualifier")] = None
    presence_value: Annotated[str | None, element("PresenceValue")] = None


@structure()
class AddrPref(Structure):
    """One preferred contact."""

    pref_c: Annotated[str, element("PrefC")]
    caddr: Annotated[str, element("Caddr")]
    cstatus: Annotated[str, element("Cstatus")]
    cname: Annotated[str | None, element("Cname")] = None
    cpriority: Annotated[str | None, element("Cpriority")] = None


@structure()
class PreferredContacts(Structure):
    """How the user prefers to be reached."""

    qualifier: Annotated[bool | None, element("Qualifier")] = None
    addr_pref: Annotated[tuple[AddrPref, ...], element("AddrPref")] = ()


@structure()
class PreferredLanguage(Structure):
    """The language the user prefers, three letters."""

    qualifier: Annotated[bool | None, element("Qualifier")] = None
    presence_value: Annotated[str | None, element("PresenceValue")] = None


@structure()
class StatusText(Structure):
    """A line of text by the user."""

    qualifier: Annotated[bool | None, element("Qualifier")] = None
    presence_value: Annotated[str | None, element("PresenceValue")] = None


@structure()
class StatusMood(Structure):
    """The mood of the user."""

    qualifier: Annotated[bool | None, element("Qualifier")] = None
    presence_value: Annotated[str | None, element("PresenceValue")] = None


@structure()
class Alias(Structure):
    """The nickname of the user."""

    qualifier: Annotated[bool | None, element("Qualifier")] = None
    presence_value: Annotated[str | None, element("PresenceValue")] = None


@structure()
class StatusContent(Structure):
    """A picture or other content by the user, in the message or elsewhere."""

    qualifier: Annotated[bool | None, element("Qualifier")] = None
    direct_content: Annotated[str | None, element("DirectContent")] = None
    referred_content: Annotated[str | None, element("ReferredContent", pts="RC")] = None
    content_type: Annotated[str | None, element("ContentType", pts="CY")] = None


@structure()
class ContactInfo(Structure):
    """The visiting card of the user, in the message or elsewhere."""

    qualifier: Annotated[bool | None, element("Qualifier")] = None
    contained_vcard: Annotated[str | None, element("ContainedvCard")] = None
    referred_vcard: Annotated[str | None, element("ReferredvCard")] = None


@structure("Inf_link")
class InfLink(Structure):
    """One link that the user shows."""

    link: Annotated[str, element("Link")]
    text: Annotated[str | None, element("Text")] = None
    content_type: Annotated[str | None, element("ContentType")] = None


@structure()
class InfoLink(Structure):
    """Links that the user shows."""

    qualifier: Annotated[bool | None, element("Qualifier")] = None
    inf_link: Annotated[tuple[InfLink, ...], element("Inf_link")] = ()


@structure()
class PresenceSubList(Structure):
    """Presence attributes: values, or in requests just names."""

    online_status: Annotated[
        tuple[OnlineStatus, ...], element("OnlineStatus", once_until=V1_2, pts="OS")
    ] = ()
    registration: Annotated[
        tuple[Registration, ...], element("Registration", once_until=V1_2)
    ] = ()
    client_info: Annotated[
        tuple[ClientInfo, ...], element("ClientInfo", once_until=V1_2, pts="CF")
    ] = ()
    time_zone: Annotated[
        tuple[TimeZone, ...], element("TimeZone", once_until=V1_2)
    ] = ()
    geo_location: Annotated[
        tuple[GeoLocation, ...], element("GeoLocation", once_until=V1_2)
    ] = ()
    address: Annotated[tuple[Address, ...], element("Address", once_until=V1_2)] = ()
    free_text_location: Annotated[
        tuple[FreeTextLocation, ...], element("FreeTextLocation", once_until=V1_2)
    ] = ()
    plmn: Annotated[tuple[PLMN, ...], element("PLMN", once_until=V1_2)] = ()
    comm_cap: Annotated[tuple[CommCap, ...], element("CommCap", once_until=V1_2)] = ()
    user_availability: Annotated[
        UserAvailability | None, element("UserAvailability", pts="UA")
    ] = None
    preferred_contacts: Annotated[
        PreferredContacts | None, element("PreferredContacts")
    ] = None
    preferred_language: Annotated[
        PreferredLanguage | None, element("PreferredLanguage")
    ] = None
    status_text: Annotated[StatusText | None, element("StatusText", pts="ST")] = None
    status_mood: Annotated[StatusMood | None, element("StatusMood")] = None
    alias: Annotated[Alias | None, element("Alias")] = None
    status_content: Annotated[
        StatusContent | None, element("StatusContent", pts="SC")
    ] = None
    contact_info: Annotated[ContactInfo | None, element("ContactInfo")] = None
    info_link: Annotated[InfoLink | None, element("InfoLink", since=V1_2)] = None
