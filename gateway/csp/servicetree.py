"""The tree of services that a session negotiates (CSP, service negotiation).

An element without children stands for its whole branch. ``MF``, ``MP``, ``MM`` and
``MG`` stand for the mandatory functions of their feature.
"""

from __future__ import annotations

from typing import Annotated

from gateway.csp.schema import (
    Structure,
    Version,
    element,
    flag,
    structure,
)

V1_2 = Version.V1_2
V1_3 = Version.V1_3


@structure()
class ServiceFunc(Structure):
    """Service provider information, maps and segmentation."""

    getspi: Annotated[bool, flag("GETSPI")] = False
    getmap: Annotated[bool, flag("GETMAP", since=V1_3)] = False
    sgmnt: Annotated[bool, flag("SGMNT", since=V1_3)] = False


@structure()
class SearchFunc(Structure):
    """Searching."""

    srch: Annotated[bool, flag("SRCH")] = False
    advsr: Annotated[bool, flag("ADVSR", since=V1_3)] = False
    stsrc: Annotated[bool, flag("STSRC")] = False


@structure()
class InviteFunc(Structure):
    """Inviting."""

    invit: Annotated[bool, flag("INVIT")] = False
    cainv: Annotated[bool, flag("CAINV")] = False


@structure()
class VerifyIDFunc(Structure):
    """Verifying addresses."""

    vrid: Annotated[bool, flag("VRID")] = False


@structure()
class FundamentalFeat(Structure):
    """Fundamental services."""

    mf: Annotated[bool, flag("MF", since=V1_2)] = False
    service_func: Annotated[ServiceFunc | None, element("ServiceFunc")] = None
    search_func: Annotated[SearchFunc | None, element("SearchFunc")] = None
    invite_func: Annotated[InviteFunc | None, element("InviteFunc")] = None
    verify_id_func: Annotated[
        VerifyIDFunc | None, element("VerifyIDFunc", since=V1_2)
    ] = None


@structure()
class ContListFunc(Structure):
    """Contact lists."""

    gcli: Annotated[bool, flag("GCLI")] = False
    ccli: Annotated[bool, flag("CCLI")] = False
    dcli: Annotated[bool, flag("DCLI")] = False
    mcls: Annotated[bool, flag("MCLS")] = False


@structure()
class PresenceAuthFunc(Structure):
    """Authorization of watchers."""

    getwl: Annotated[bool, flag("GETWL")] = False
    react: Annotated[bool, flag("REACT", until=V1_2)] = False
    caaut: Annotated[bool, flag("CAAUT", until=V1_2)] = False
    getaut: Annotated[bool, flag("GETAUT", since=V1_2)] = False


@structure()
class PresenceDeliverFunc(Structure):
    """Reading and publishing presence."""

    getpr: Annotated[bool, flag("GETPR")] = False
    updpr: Annotated[bool, flag("UPDPR")] = False


@structure()
class AttListFunc(Structure):
    """Attribute lists."""

    cali: Annotated[bool, flag("CALI")] = False
    dali: Annotated[bool, flag("DALI")] = False
    gals: Annotated[bool, flag("GALS")] = False


@structure()
class PresenceFeat(Structure):
    """Presence services."""

    mp: Annotated[bool, flag("MP", since=V1_2)] = False
    cont_list_func: Annotated[ContListFunc | None, element("ContListFunc")] = None
    presence_auth_func: Annotated[
        PresenceAuthFunc | None, element("PresenceAuthFunc")
    ] = None
    presence_deliver_func: Annotated[
        PresenceDeliverFunc | None, element("PresenceDeliverFunc")
    ] = None
    att_list_func: Annotated[AttListFunc | None, element("AttListFunc", until=V1_2)] = (
        None
    )


@structure()
class IMSendFunc(Structure):
    """Sending messages."""

    mdeliv: Annotated[bool, flag("MDELIV")] = False
    fwmsg: Annotated[bool, flag("FWMSG")] = False


@structure()
class IMReceiveFunc(Structure):
    """Receiving messages."""

    setd: Annotated[bool, flag("SETD")] = False
    getlm: Annotated[bool, flag("GETLM")] = False
    getm: Annotated[bool, flag("GETM")] = False
    rejcm: Annotated[bool, flag("REJCM")] = False
    notif: Annotated[bool, flag("NOTIF")] = False
    newm: Annotated[bool, flag("NEWM")] = False
    offnotif: Annotated[bool, flag("OFFNOTIF", since=V1_3)] = False


@structure()
class IMAuthFunc(Structure):
    """Blocking and granting."""

    glblu: Annotated[bool, flag("GLBLU")] = False
    blent: Annotated[bool, flag("BLENT")] = False


@structure()
class IMFeat(Structure):
    """Instant messaging services."""

    mm: Annotated[bool, flag("MM", since=V1_2)] = False
    im_send_func: Annotated[IMSendFunc | None, element("IMSendFunc")] = None
    im_receive_func: Annotated[IMReceiveFunc | None, element("IMReceiveFunc")] = None
    im_auth_func: Annotated[IMAuthFunc | None, element("IMAuthFunc")] = None


@structure()
class GroupMgmtFunc(Structure):
    """Creating, deleting and describing groups."""

    creag: Annotated[bool, flag("CREAG")] = False
    delgr: Annotated[bool, flag("DELGR")] = False
    getgp: Annotated[bool, flag("GETGP")] = False
    setgp: Annotated[bool, flag("SETGP")] = False


@structure()
class GroupUseFunc(Structure):
    """Notices about groups, and extending a conversation."""

    subgcn: Annotated[bool, flag("SUBGCN")] = False
    grchn: Annotated[bool, flag("GRCHN")] = False
    excon: Annotated[bool, flag("EXCON", since=V1_3)] = False


@structure()
class GroupAuthFunc(Structure):
    """Members of groups and their rights."""

    getgm: Annotated[bool, flag("GETGM")] = False
    addgm: Annotated[bool, flag("ADDGM")] = False
    rmvgm: Annotated[bool, flag("RMVGM")] = False
    mbrac: Annotated[bool, flag("MBRAC")] = False
    rejec: Annotated[bool, flag("REJEC")] = False
    getju: Annotated[bool, flag("GETJU", since=V1_2)] = False


@structure()
class GroupFeat(Structure):
    """Group services."""

    mg: Annotated[bool, flag("MG", since=V1_2)] = False
    group_mgmt_func: Annotated[GroupMgmtFunc | None, element("GroupMgmtFunc")] = None
    group_use_func: Annotated[GroupUseFunc | None, element("GroupUseFunc")] = None
    group_auth_func: Annotated[GroupAuthFunc | None, element("GroupAuthFunc")] = None


@structure()
class WVCSPFeat(Structure):
    """The service tree: its four features."""

    fundamental_feat: Annotated[
        FundamentalFeat | None, element("FundamentalFeat", pts="FF")
    ] = None
    presence_feat: Annotated[PresenceFeat | None, element("PresenceFeat", pts="PF")] = (
        None
    )
    im_feat: Annotated[IMFeat | None, element("IMFeat", pts="IF")] = None
    group_feat: Annotated[GroupFeat | None, element("GroupFeat", pts="GE")] = None


@structure()
class Functions(Structure):
    """The services that are wanted; in an answer, those that cannot be had."""

    wvcsp_feat: Annotated[WVCSPFeat, element("WVCSPFeat", pts="WV")]


@structure()
class AllFunctions(Structure):
    """All services that the server has."""

    wvcsp_feat: Annotated[WVCSPFeat, element("WVCSPFeat", pts="WV")]
