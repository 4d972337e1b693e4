"""Login, negotiation, status and other fundamental primitives (CSP 1.1 to 1.3).

What other modules of the common features hold is exported here too.
"""

from __future__ import annotations

from typing import Annotated

from gateway.csp.capability import (
    CIRURL,
    AcceptedContentType,
    AgreedCapabilityList,
    CapabilityList,
    CIRHTTPAddress,
    ClientContentLimit,
)
from gateway.csp.common13 import (
    DropSegmentRequest,
    GetMapRequest,
    GetMapResponse,
    GetPublicProfileRequest,
    GetPublicProfileResponse,
    GetSegmentRequest,
    GetSegmentResponse,
    Map,
    NotificationRequest,
    NotificationTypeList,
    PublicProfile,
    SubscribeNotificationRequest,
    SystemMessageRequest,
    SystemMessageUser,
    UnsubscribeNotificationRequest,
    UpdatePublicProfileRequest,
    UserIDPair,
)
from gateway.csp.schema import (
    Primitive,
    Structure,
    Version,
    element,
    primitive,
    structure,
)
from gateway.csp.searching import (
    CancelInviteRequest,
    CancelInviteUserRequest,
    GroupList,
    IDList,
    InviteRequest,
    InviteResponse,
    InviteUserRequest,
    InviteUserResponse,
    SearchPairList,
    SearchRequest,
    SearchResponse,
    SearchResult,
    StopSearchRequest,
    VerifyIDRequest,
)
from gateway.csp.servicetree import (
    AllFunctions,
    AttListFunc,
    ContListFunc,
    Functions,
    FundamentalFeat,
    GroupAuthFunc,
    GroupFeat,
    GroupMgmtFunc,
    GroupUseFunc,
    IMAuthFunc,
    IMFeat,
    IMReceiveFunc,
    IMSendFunc,
    InviteFunc,
    PresenceAuthFunc,
    PresenceDeliverFunc,
    PresenceFeat,
    SearchFunc,
    ServiceFunc,
    VerifyIDFunc,
    WVCSPFeat,
)
from gateway.csp.shared import (
    AddList,
    AnswerOption,
    AnswerOptions,
    ClientID,
    ContactListIDList,
    DetailedResult,
    EntityList,
    Group,
    Mapping,
    Property,
    Recipient,
    RemoveList,
    Result,
    ScreenName,
    SegmentID,
    SegmentInfo,
    Sender,
    SystemMessage,
    SystemMessageList,
    SystemMessageResponse,
    SystemMessageResponseList,
    URLList,
    User,
    UserIDList,
    UserList,
    VerificationMechanism,
    WelcomeNote,
)

__all__ = [
    "AcceptedContentType",
    "AddList",
    "AgreedCapabilityList",
    "AllFunctions",
    "AnswerOption",
    "AnswerOptions",
    "AttListFunc",
    "CIRHTTPAddress",
    "CIRURL",
    "CancelInviteRequest",
    "CancelInviteUserRequest",
    "CapabilityList",
    "ClientCapabilityRequest",
    "ClientCapabilityResponse",
    "ClientContentLimit",
    "ClientID",
    "ContListFunc",
    "ContactListIDList",
    "DetailedResult",
    "Disconnect",
    "DropSegmentRequest",
    "EntityList",
    "ExtendedRequest",
    "ExtendedResponse",
    "Functions",
    "FundamentalFeat",
    "GetMapRequest",
    "GetMapResponse",
    "GetPublicProfileRequest",
    "GetPublicProfileResponse",
    "GetSPInfoRequest",
    "GetSPInfoResponse",
    "GetSegmentRequest",
    "GetSegmentResponse",
    "Group",
    "GroupAuthFunc",
    "GroupFeat",
    "GroupList",
    "GroupMgmtFunc",
    "GroupUseFunc",
    "IDList",
    "IMAuthFunc",
    "IMFeat",
    "IMReceiveFunc",
    "IMSendFunc",
    "InviteFunc",
    "InviteRequest",
    "InviteResponse",
    "InviteUserRequest",
    "InviteUserResponse",
    "KeepAliveRequest",
    "KeepAliveResponse",
    "LoginRequest",
    "LoginResponse",
    "Logo",
    "LogoutRequest",
    "Map",
    "Mapping",
    "NotificationRequest",
    "NotificationTypeList",
    "OtherServer",
    "PollingRequest",
    "PresenceAuthFunc",
    "PresenceDeliverFunc",
    "PresenceFeat",
    "Property",
    "PublicProfile",
    "Recipient",
    "RemoveList",
    "Result",
    "ScreenName",
    "SearchFunc",
    "SearchPairList",
    "SearchRequest",
    "SearchResponse",
    "SearchResult",
    "SegmentID",
    "SegmentInfo",
    "Sender",
    "ServiceFunc",
    "ServiceRequest",
    "ServiceResponse",
    "Status",
    "StopSearchRequest",
    "SubscribeNotificationRequest",
    "SystemMessage",
    "SystemMessageList",
    "SystemMessageRequest",
    "SystemMessageResponse",
    "SystemMessageResponseList",
    "SystemMessageUser",
    "URLList",
    "UnsubscribeNotificationRequest",
    "UpdatePublicProfileRequest",
    "User",
    "UserIDList",
    "UserIDPair",
    "UserList",
    "VerificationMechanism",
    "VerifyIDFunc",
    "VerifyIDRequest",
    "VersionDiscoveryRequest",
    "VersionDiscoveryResponse",
    "VersionList",
    "WVCSPFeat",
    "WelcomeNote",
]

V1_1 = Version.V1_1
V1_2 = Version.V1_2
V1_3 = Version.V1_3


@primitive("Status", pts="ST")
class Status(Primitive):
    """Tell how a request ended."""

    result: Annotated[Result, element("Result", pts="ST")]
    client_id: Annotated[ClientID | None, element("ClientID", pts="CI")] = None


@primitive("Polling-Request", pts="PO")
class PollingRequest(Primitive):
    """Ask for whatever the server has waiting."""


@primitive("Login-Request", pts="LR")
class LoginRequest(Primitive):
    """Log in, in one step or in two, or take up a broken session again."""

    user_id: Annotated[str, element("UserID", pts="UI")]
    client_id: Annotated[ClientID, element("ClientID", pts="CI")]
    application_id: Annotated[str | None, element("ApplicationID", since=V1_3)] = None
    password: Annotated[str | None, element("Password", pts="PW")] = None
    digest_bytes: Annotated[str | None, element("DigestBytes", pts="DB")] = None
    digest_schema: Annotated[tuple[str, ...], element("DigestSchema", pts="SH")] = ()
    session_id: Annotated[str | None, element("SessionID", since=V1_2, pts="SI")] = None
    time_to_live: Annotated[int | None, element("TimeToLive", pts="TL")] = None
    session_cookie: Annotated[str, element("SessionCookie", pts="SC")]
    system_message_response_list: Annotated[
        SystemMessageResponseList | None,
        element("SystemMessageResponseList", since=V1_3),
    ] = None
    functions: Annotated[
        Functions | None, element("Functions", since=V1_3, pts="RF")
    ] = None
    capability_list: Annotated[
        CapabilityList | None, element("CapabilityList", since=V1_3, pts="CA")
    ] = None


@primitive("Login-Response", pts="RL")
class LoginResponse(Primitive):
    """Accept or refuse a login, or challenge the client."""

    user_id: Annotated[str | None, element("UserID", since=V1_3, pts="UI")] = None
    client_id: Annotated[ClientID, element("ClientID", pts="CI")]
    password: Annotated[str | None, element("Password", since=V1_3, pts="PW")] = None
    result: Annotated[Result, element("Result", pts="ST")]
    nonce: Annotated[str | None, element("Nonce", pts="NO")] = None
    digest_schema: Annotated[str | None, element("DigestSchema", pts="DI")] = None
    session_id: Annotated[str | None, element("SessionID", pts="SI")] = None
    keep_alive_time: Annotated[int | None, element("KeepAliveTime", pts="KA")] = None
    capability_request: Annotated[
        bool | None, element("CapabilityRequest", pts="CR")
    ] = None
    functions: Annotated[
        Functions | None, element("Functions", since=V1_3, pts="NF")
    ] = None
    agreed_capability_list: Annotated[
        AgreedCapabilityList | None,
        element("AgreedCapabilityList", since=V1_3, pts="AP"),
    ] = None


@primitive("Logout-Request", pts="OR")
class LogoutRequest(Primitive):
    """End the session."""


@primitive("Disconnect", pts="DI")
class Disconnect(Primitive):
    """End the session by the will of the server."""

    result: Annotated[Result, element("Result", pts="ST")]


@primitive("KeepAlive-Request", pts="KA")
class KeepAliveRequest(Primitive):
    """Keep the session alive and maybe ask for another interval."""

    time_to_live: Annotated[int | None, element("TimeToLive", pts="TL")] = None


@primitive("KeepAlive-Response", pts="AK")
class KeepAliveResponse(Primitive):
    """Tell the interval that is granted."""

    result: Annotated[Result, element("Result", pts="ST")]
    keep_alive_time: Annotated[int | None, element("KeepAliveTime", pts="KA")] = None


@structure()
class Logo(Structure):
    """A picture of the service provider."""

    content_type: Annotated[str, element("ContentType")]
    content_size: Annotated[int | None, element("ContentSize")] = None
    content_encoding: Annotated[str, element("ContentEncoding")]
    content_data: Annotated[str, element("ContentData")]


@primitive("GetSPInfo-Request")
class GetSPInfoRequest(Primitive):
    """Ask for information on the service provider."""

    client_id: Annotated[ClientID | None, element("ClientID", pts="CI")] = None


@primitive("GetSPInfo-Response")
class GetSPInfoResponse(Primitive):
    """Tell about the service provider."""

    client_id: Annotated[ClientID | None, element("ClientID", pts="CI")] = None
    name: Annotated[str, element("Name")]
    logo: Annotated[Logo | None, element("Logo")] = None
    description: Annotated[str | None, element("Description")] = None
    url: Annotated[str | None, element("URL")] = None


@primitive("Service-Request", pts="SQ")
class ServiceRequest(Primitive):
    """Negotiate services."""

    client_id: Annotated[
        ClientID | None,
        element("ClientID", until=V1_1, mandatory=(V1_1,), lenient=True, pts="CI"),
    ] = None
    functions: Annotated[
        Functions | None,
        element("Functions", mandatory=(V1_2, V1_3), lenient=True, pts="RF"),
    ] = None
    all_functions_request: Annotated[bool, element("AllFunctionsRequest", pts="AR")]


@primitive("Service-Response", pts="QS")
class ServiceResponse(Primitive):
    """Tell which services cannot be had, and maybe all there are."""

    client_id: Annotated[
        ClientID | None,
        element("ClientID", until=V1_1, mandatory=(V1_1,), lenient=True, pts="CI"),
    ] = None
    functions: Annotated[Functions | None, element("Functions", pts="NF")] = None
    all_functions: Annotated[AllFunctions | None, element("AllFunctions", pts="AF")] = (
        None
    )


@primitive("ClientCapability-Request", pts="CP")
class ClientCapabilityRequest(Primitive):
    """Tell what the client can do."""

    client_id: Annotated[
        ClientID | None,
        element("ClientID", until=V1_1, mandatory=(V1_1,), lenient=True, pts="CI"),
    ] = None
    capability_list: Annotated[
        CapabilityList | None,
        element("CapabilityList", mandatory=(V1_2, V1_3), pts="CA"),
    ] = None


@primitive("ClientCapability-Response", pts="PC")
class ClientCapabilityResponse(Primitive):
    """Tell what the server settled on."""

    client_id: Annotated[
        ClientID | None,
        element("ClientID", until=V1_1, mandatory=(V1_1,), lenient=True, pts="CI"),
    ] = None
    capability_list: Annotated[
        CapabilityList | None,
        element(
            "CapabilityList", until=V1_1, mandatory=(V1_1,), lenient=True, pts="CA"
        ),
    ] = None
    agreed_capability_list: Annotated[
        AgreedCapabilityList | None,
        element(
            "AgreedCapabilityList",
            since=V1_2,
            mandatory=(V1_2, V1_3),
            lenient=True,
            pts="AP",
        ),
    ] = None


@structure()
class VersionList(Structure):
    """The versions that one side speaks, by their namespaces."""

    session_ns_name: Annotated[tuple[str, ...], element("SessionNSName")] = ()
    transaction_ns_name: Annotated[tuple[str, ...], element("TransactionNSName")] = ()
    presence_attribute_ns_name: Annotated[
        tuple[str, ...], element("PresenceAttributeNSName")
    ] = ()


@structure()
class OtherServer(Structure):
    """Another server that speaks a version that this one does not."""

    url: Annotated[str | None, element("URL")] = None
    msisdn: Annotated[str | None, element("MSISDN")] = None


@primitive("WV-CSP-VersionDiscovery-Request", since=V1_2)
class VersionDiscoveryRequest(Primitive):
    """Ask which versions the server speaks (a document of its own)."""

    version_list: Annotated[VersionList, element("VersionList")]
    extended_data: Annotated[
        tuple[str, ...], element("ExtendedData", foreign=True)
    ] = ()


@primitive("WV-CSP-VersionDiscovery-Response", since=V1_2)
class VersionDiscoveryResponse(Primitive):
    """Tell which versions the server speaks (a document of its own)."""

    version_list: Annotated[VersionList, element("VersionList")]
    other_server: Annotated[tuple[OtherServer, ...], element("OtherServer")] = ()
    extended_data: Annotated[
        tuple[str, ...], element("ExtendedData", foreign=True)
    ] = ()


@primitive("Extended-Request", since=V1_2)
class ExtendedRequest(Primitive):
    """Ask for something outside the protocol; foreign XML, verbatim."""

    content: Annotated[str, element("", foreign=True)] = ""


@primitive("Extended-Response", since=V1_2)
class ExtendedResponse(Primitive):
    """Answer something outside the protocol; foreign XML, verbatim."""

    content: Annotated[str, element("", foreign=True)] = ""
