"""What a client can do, what the server settles on (CSP, capability negotiation)."""

from __future__ import annotations

from typing import Annotated

from gateway.csp.schema import (
    ALWAYS,
    Structure,
    Version,
    element,
    structure,
)

V1_1 = Version.V1_1
V1_2 = Version.V1_2
V1_3 = Version.V1_3


@structure()
class AcceptedContentType(Structure):
    """A content type that the client takes, in 1.3 with its limits.

    Up to 1.2 the element holds just the media type.
    """

    TEXT_FIELD = "content_type"
    TEXT_UNTIL = V1_2

    content_type: Annotated[
        str | None, element("ContentType", mandatory=ALWAYS, lenient=True)
    ] = None
    accepted_rich_content_length: Annotated[
        int | None, element("AcceptedRichContentLength")
    ] = None
    content_policy: Annotated[str | None, element("ContentPolicy")] = None
    content_policy_limit: Annotated[int | None, element("ContentPolicyLimit")] = None


@structure()
class ClientContentLimit(Structure):
    """The content limits of one client, as part of its presence."""

    accepted_content_type: Annotated[
        tuple[AcceptedContentType, ...], element("AcceptedContentType")
    ] = ()
    any_content: Annotated[bool | None, element("AnyContent")] = None
    accepted_text_content_length: Annotated[
        int | None, element("AcceptedTextContentLength")
    ] = None
    accepted_transfer_encoding: Annotated[
        tuple[str, ...], element("AcceptedTransferEncoding")
    ] = ()
    max_pull_length: Annotated[int | None, element("MaxPullLength")] = None
    max_push_length: Annotated[int | None, element("MaxPushLength")] = None
    plain_text_charset: Annotated[tuple[int, ...], element("PlainTextCharset")] = ()


@structure()
class CIRURL(Structure):
    """Where to GET for the HTTP binding of the CIR channel; 1.3 renamed it."""

    url: Annotated[str | None, element("URL", mandatory=ALWAYS, lenient=True)] = None


@structure()
class CIRHTTPAddress(Structure):
    """Where to GET for the standalone HTTP binding of the CIR channel."""

    url: Annotated[str, element("URL")]


@structure()
class CapabilityList(Structure):
    """What the client can do and wants; in 1.1 also what the server settled on."""

    ORDER = {
        V1_3: (
            "AcceptedContentType",
            "AnyContent",
            "AcceptedPullLength",
            "AcceptedPushLength",
            "AcceptedTextContentLength",
            "AcceptedTransferEncoding",
            "ClientType",
            "DefaultLanguage",
            "InitialDeliveryMethod",
            "MultiTrans",
            "MultiTransPerMessage",
            "OfflineETEMHandling",
            "OnlineETEMHandling",
            "PlainTextCharset",
            "ParserSize",
            "ServerPollMin",
            "SupportedBearer",
            "SupportedOfflineBearer",
            "SupportedCIRMethod",
            "UDPPort",
            "SessionPriority",
            "TCPAddress",
            "TCPPort",
            "UDPAddress",
        )
    }

    client_type: Annotated[str, element("ClientType", pts="CT")]
    initial_delivery_method: Annotated[str, element("InitialDeliveryMethod", pts="ID")]
    any_content: Annotated[bool | None, element("AnyContent")] = None
    accepted_charset: Annotated[
        tuple[int, ...], element("AcceptedCharset", until=V1_2)
    ] = ()
    accepted_content_type: Annotated[
        tuple[AcceptedContentType, ...], element("AcceptedContentType")
    ] = ()
    accepted_transfer_encoding: Annotated[
        tuple[str, ...], element("AcceptedTransferEncoding")
    ] = ()
    accepted_content_length: Annotated[
        int | None,
        element(
            "AcceptedContentLength", until=V1_2, mandatory=(V1_1, V1_2), lenient=True
        ),
    ] = None
    supported_bearer: Annotated[
        tuple[str, ...], element("SupportedBearer", pts="SB")
    ] = ()
    multi_trans: Annotated[
        int | None, element("MultiTrans", mandatory=ALWAYS, lenient=True, pts="MT")
    ] = None
    parser_size: Annotated[
        int | None, element("ParserSize", mandatory=ALWAYS, lenient=True, pts="PS")
    ] = None
    supported_cir_method: Annotated[
        tuple[str, ...], element("SupportedCIRMethod", pts="SC")
    ] = ()
    udp_port: Annotated[int | None, element("UDPPort", pts="UP")] = None
    tcp_address: Annotated[
        str | None, element("TCPAddress", but_not=(V1_2,), pts="TA")
    ] = None
    tcp_port: Annotated[int | None, element("TCPPort", but_not=(V1_2,), pts="TP")] = (
        None
    )
    server_poll_min: Annotated[int | None, element("ServerPollMin", pts="PM")] = None
    default_language: Annotated[str | None, element("DefaultLanguage", pts="DL")] = None
    accepted_pull_length: Annotated[
        int | None, element("AcceptedPullLength", since=V1_3)
    ] = None
    accepted_push_length: Annotated[
        int | None, element("AcceptedPushLength", since=V1_3)
    ] = None
    accepted_text_content_length: Annotated[
        int | None, element("AcceptedTextContentLength", since=V1_3)
    ] = None
    multi_trans_per_message: Annotated[
        int | None, element("MultiTransPerMessage", since=V1_3)
    ] = None
    offline_etem_handling: Annotated[
        str | None, element("OfflineETEMHandling", since=V1_3)
    ] = None
    online_etem_handling: Annotated[
        str | None, element("OnlineETEMHandling", since=V1_3)
    ] = None
    plain_text_charset: Annotated[
        tuple[int, ...], element("PlainTextCharset", since=V1_3)
    ] = ()
    supported_offline_bearer: Annotated[
        tuple[str, ...], element("SupportedOfflineBearer", since=V1_3)
    ] = ()
    session_priority: Annotated[int | None, element("SessionPriority", since=V1_3)] = (
        None
    )
    udp_address: Annotated[str | None, element("UDPAddress", since=V1_3)] = None


@structure()
class AgreedCapabilityList(Structure):
    """The capabilities that the server settled on (1.2 and later)."""

    ORDER = {
        V1_3: (
            "AcceptedContentType",
            "AnyContent",
            "AcceptedPullLength",
            "AcceptedPushLength",
            "AcceptedTextContentLength",
            "AcceptedTransferEncoding",
            "CIRHTTPAddress",
            "CIRSMSAddress",
            "MultiTrans",
            "MultiTransPerMessage",
            "OfflineETEMHandling",
            "OnlineETEMHandling",
            "ServerPollMin",
            "SupportedBearer",
            "SupportedOfflineBearer",
            "SupportedCIRMethod",
            "TCPAddress",
            "TCPPort",
            "UDPAddress",
            "UDPPort",
            "SessionPriority",
            "UserSessionLimit",
        )
    }

    supported_bearer: Annotated[
        tuple[str, ...], element("SupportedBearer", pts="SB")
    ] = ()
    supported_cir_method: Annotated[
        tuple[str, ...], element("SupportedCIRMethod", pts="SC")
    ] = ()
    tcp_address: Annotated[str | None, element("TCPAddress", pts="TA")] = None
    tcp_port: Annotated[int | None, element("TCPPort", pts="TP")] = None
    server_poll_min: Annotated[int | None, element("ServerPollMin", pts="PM")] = None
    cir_url: Annotated[CIRURL | None, element("CIRURL", until=V1_2)] = None
    accepted_content_type: Annotated[
        tuple[AcceptedContentType, ...], element("AcceptedContentType", since=V1_3)
    ] = ()
    any_content: Annotated[bool | None, element("AnyContent", since=V1_3)] = None
    accepted_pull_length: Annotated[
        int | None, element("AcceptedPullLength", since=V1_3)
    ] = None
    accepted_push_length: Annotated[
        int | None, element("AcceptedPushLength", since=V1_3)
    ] = None
    accepted_text_content_length: Annotated[
        int | None, element("AcceptedTextContentLength", since=V1_3)
    ] = None
    accepted_transfer_encoding: Annotated[
        tuple[str, ...], element("AcceptedTransferEncoding", since=V1_3)
    ] = ()
    cir_http_address: Annotated[
        CIRHTTPAddress | None, element("CIRHTTPAddress", since=V1_3, pts="CI")
    ] = None
    cir_sms_address: Annotated[str | None, element("CIRSMSAddress", since=V1_3)] = None
    multi_trans: Annotated[int | None, element("MultiTrans", since=V1_3, pts="MT")] = (
        None
    )
    multi_trans_per_message: Annotated[
        int | None, element("MultiTransPerMessage", since=V1_3)
    ] = None
    offline_etem_handling: Annotated[
        str | None, element("OfflineETEMHandling", since=V1_3)
    ] = None
    online_etem_handling: Annotated[
        str | None, element("OnlineETEMHandling", since=V1_3)
    ] = None
    supported_offline_bearer: Annotated[
        tuple[str, ...], element("SupportedOfflineBearer", since=V1_3)
    ] = ()
    udp_address: Annotated[str | None, element("UDPAddress", since=V1_3)] = None
    udp_port: Annotated[int | None, element("UDPPort", since=V1_3, pts="UP")] = None
    session_priority: Annotated[int | None, element("SessionPriority", since=V1_3)] = (
        None
    )
    user_session_limit: Annotated[
        int | None, element("UserSessionLimit", since=V1_3)
    ] = None
