"""What a session settles on: capabilities and services (CSP, negotiation of both).

Capabilities bound what the server sends; services bound what the client may ask. The
tree of services is handled as a set of function words (``GETSPI`` …); an element
without children stands for its whole branch.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

from gateway.csp.capability import (
    AcceptedContentType,
    AgreedCapabilityList,
    CapabilityList,
)
from gateway.csp.common import Functions, WVCSPFeat
from gateway.csp.schema import Kind, Structure, Version, describe
from gateway.errors import Refused

UTF_8 = 106
_CHARSETS: Mapping[int, str] = {  # IANA MIBenum
    3: "us-ascii",
    4: "iso-8859-1",
    5: "iso-8859-2",
    6: "iso-8859-3",
    7: "iso-8859-4",
    8: "iso-8859-5",
    9: "iso-8859-6",
    10: "iso-8859-7",
    11: "iso-8859-8",
    12: "iso-8859-9",
    13: "iso-8859-10",
    17: "shift_jis",
    18: "euc_jp",
    38: "euc_kr",
    UTF_8: "utf-8",
    111: "iso-8859-15",
    113: "gbk",
    114: "gb18030",
    2025: "gb2312",
    2026: "big5",
    2084: "koi8-r",
    2250: "windows-1250",
    2251: "windows-1251",
    2252: "windows-1252",
    2259: "tis-620",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """What this server brings to the negotiation."""

    bearers: tuple[str, ...] = ("HTTP",)
    poll_min: int = 2
    multi_trans: int = 8
    session_limit: int = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Agreed:
    """The capabilities of one session; lengths are bytes, None is no limit.

    The defaults hold until the client has negotiated: one transaction a message.
    """

    negotiated: bool = False
    push: bool = True
    push_length: int | None = None
    pull_length: int | None = None
    text_length: int | None = None
    parser_size: int | None = None
    multi: int = 1
    charsets: tuple[int, ...] = ()
    any_content: bool = True
    content_types: tuple[str, ...] = ()
    bearers: tuple[str, ...] = ()
    poll_min: int = 0
    priority: int = 0

    @classmethod
    def restored(cls, state: Mapping[str, Any]) -> Agreed:
        """Read what ``asdict`` and JSON made of one; unknown keys are dropped."""
        known = {item.name for item in fields(cls)}
        values: dict[str, Any] = {
            name: tuple(value) if isinstance(value, list) else value
            for name, value in state.items()
            if name in known
        }
        return cls(**values)

    def takes(self, media_type: str) -> bool:
        """Tell whether the client accepts a media type; plain text always."""
        if self.any_content or media_type == "text/plain":
            return True
        group = media_type.partition("/")[0] + "/*"
        return not {media_type, group, "*/*"}.isdisjoint(self.content_types)

    def pushes(self, data: str, *, text: bool) -> bool:
        """Tell whether a ContentData is pushed and not only announced."""
        limits = (self.push_length, self.text_length if text else None)
        return self.push and self._within(data, limits)

    def gives(self, data: str) -> bool:
        """Tell whether a ContentData may be given to a client that asks for it."""
        return self._within(data, (self.pull_length,))

    def _within(self, data: str, limits: tuple[int | None, ...]) -> bool:
        length = len(data) if data.isascii() else len(self._encoded(data))
        if any(limit is not None and length > limit for limit in limits):
            return False
        return self.parser_size is None or self.size(data) <= self.parser_size

    def size(self, data: str) -> int:
        """Give about how many bytes a reply takes that carries a ContentData."""
        length = len(data) if data.isascii() else len(self._encoded(data))
        marks = data.count("&") + data.count("<") + data.count(">") + data.count("\r")
        return ENVELOPE + length + 4 * marks

    def _encoded(self, data: str) -> bytes:
        return data.encode(self.charset, "xmlcharrefreplace")

    @property
    def charset(self) -> str:
        """The charset of what is sent: UTF-8 if accepted, else the first we know."""
        if not self.charsets or UTF_8 in self.charsets:
            return "utf-8"
        for number in self.charsets:
            if number in _CHARSETS:
                return _CHARSETS[number]
        return "us-ascii"


ENVELOPE = 1024
"""Bytes that a reply takes beside the content it carries, at most about."""


def agree(offered: CapabilityList, server: Server, version: Version) -> Agreed:
    """Settle the capabilities of a session (capability negotiation, 1.1 to 1.3).

    Raises Refused(402) for a delivery method that is none.
    """
    method = offered.initial_delivery_method.strip().upper()
    if method not in ("P", "N"):
        raise Refused(402, "InitialDeliveryMethod is P or N")
    several = offered.multi_trans
    if version >= Version.V1_3:
        # From 1.3 on MultiTrans bounds what is open, not what rides in one message.
        several = offered.multi_trans_per_message
    types = tuple(
        item.content_type.partition(";")[0].strip().lower()
        for item in offered.accepted_content_type[:_MANY]
        if item.content_type
    )
    asked = [word.strip().upper() for word in offered.supported_bearer]
    length = offered.accepted_content_length
    return Agreed(
        negotiated=True,
        push=method == "P",
        push_length=_limit(offered.accepted_push_length) or _limit(length),
        pull_length=_limit(offered.accepted_pull_length) or _limit(length),
        text_length=_limit(offered.accepted_text_content_length),
        parser_size=_limit(offered.parser_size),
        multi=max(1, min(several or 1, server.multi_trans)),
        charsets=(offered.plain_text_charset or offered.accepted_charset)[:_MANY],
        any_content=bool(offered.any_content) or not types,
        content_types=types,
        bearers=tuple(word for word in server.bearers if word in asked),
        poll_min=max(offered.server_poll_min or 0, server.poll_min),
        priority=offered.session_priority or 0,
    )


_UNLIMITED = 2**31 - 1
_MANY = 256  # content types or charsets of one session that are kept


def _limit(length: int | None) -> int | None:
    """Read a length; with none or less nothing could be sent: it is no limit."""
    return length if length is not None and length > 0 else None


def _filled(length: int | None) -> int:
    return _UNLIMITED if length is None else length


def _named(offered: CapabilityList) -> tuple[AcceptedContentType, ...]:
    """Leave out content types without a name, which no answer may hold."""
    return tuple(item for item in offered.accepted_content_type if item.content_type)


def capability_answer(
    offered: CapabilityList, agreed: Agreed, server: Server
) -> AgreedCapabilityList:
    """Write the agreed list of 1.2 and later; 1.3 shows all that was settled."""
    return AgreedCapabilityList(
        supported_bearer=agreed.bearers,
        server_poll_min=agreed.poll_min,
        accepted_content_type=_named(offered),
        any_content=offered.any_content,
        accepted_pull_length=offered.accepted_pull_length,
        accepted_push_length=offered.accepted_push_length,
        accepted_text_content_length=offered.accepted_text_content_length,
        accepted_transfer_encoding=offered.accepted_transfer_encoding,
        multi_trans=max(1, min(offered.multi_trans or 1, server.multi_trans)),
        multi_trans_per_message=agreed.multi,
        session_priority=offered.session_priority,
        user_session_limit=server.session_limit,
    )


def capability_copy(offered: CapabilityList, agreed: Agreed) -> CapabilityList:
    """Write the list of 1.1: the client's own, with the settled values in it.

    What the version demands and the client left out is filled in: no limit.
    """
    return replace(
        offered,
        accepted_content_type=_named(offered),
        accepted_content_length=_filled(offered.accepted_content_length),
        parser_size=_filled(offered.parser_size),
        supported_bearer=agreed.bearers,
        supported_cir_method=(),
        multi_trans=agreed.multi,
        server_poll_min=agreed.poll_min,
        udp_port=None,
        tcp_address=None,
        tcp_port=None,
    )


# -- services ------------------------------------------------------------------------

_MANDATORY = {"MF", "MP", "MM", "MG"}
FUNCTIONS: Mapping[str, str] = {
    "GetSPInfo-Request": "GETSPI",
    "GetMap-Request": "GETMAP",
    "GetSegment-Request": "SGMNT",
    "DropSegment-Request": "SGMNT",
    "Search-Request": "SRCH",
    "StopSearch-Request": "STSRC",
    "Invite-Request": "INVIT",
    "CancelInvite-Request": "CAINV",
    "VerifyID-Request": "VRID",
    "GetList-Request": "GCLI",
    "CreateList-Request": "CCLI",
    "DeleteList-Request": "DCLI",
    "ListManage-Request": "MCLS",
    "GetWatcherList-Request": "GETWL",
    "GetReactiveAuthStatus-Request": "GETAUT",
    "PresenceAuth-User": "REACT",
    "CancelAuth-Request": "CAAUT",
    "GetPresence-Request": "GETPR",
    "SubscribePresence-Request": "GETPR",
    "UnsubscribePresence-Request": "GETPR",
    "UpdatePresence-Request": "UPDPR",
    "CreateAttributeList-Request": "CALI",
    "DeleteAttributeList-Request": "DALI",
    "GetAttributeList-Request": "GALS",
    "ForwardMessage-Request": "FWMSG",
    "SetDeliveryMethod-Request": "SETD",
    "GetMessageList-Request": "GETLM",
    "GetMessage-Request": "GETM",
    "RejectMessage-Request": "REJCM",
    "GetBlockedList-Request": "GLBLU",
    "BlockEntity-Request": "BLENT",
    "CreateGroup-Request": "CREAG",
    "DeleteGroup-Request": "DELGR",
    "GetGroupProps-Request": "GETGP",
    "SetGroupProps-Request": "SETGP",
    "SubscribeGroupNotice-Request": "SUBGCN",
    "ExtendConversation-Request": "EXCON",
    "GetGroupMembers-Request": "GETGM",
    "AddGroupMembers-Request": "ADDGM",
    "RemoveGroupMembers-Request": "RMVGM",
    "MemberAccess-Request": "MBRAC",
    "RejectList-Request": "REJEC",
    "GetJoinedUsers-Request": "GETJU",
}
"""The function word of each primitive that can be negotiated away."""


def functions_of(cls: type[Structure], version: Version) -> frozenset[str]:
    """Give every function word below an element in one version."""
    words: set[str] = set()
    for field in describe(cls).ordered(version):
        if field.kind is Kind.FLAG:
            words.add(field.element.name)
        elif field.structure is not None:
            words |= functions_of(field.structure, version)
    return frozenset(words - _MANDATORY)


def wanted(tree: Structure | None, version: Version) -> frozenset[str]:
    """Read a tree as function words; what stands without children is the whole."""
    if tree is None:
        return frozenset()
    words: set[str] = set()
    bare = True
    for field in describe(type(tree)).fields:
        value = getattr(tree, field.attribute)
        if not value:
            continue
        bare = False
        if field.kind is not Kind.FLAG:
            words |= wanted(value, version)
        elif field.element.name in _MANDATORY:
            words |= functions_of(type(tree), version)
        else:
            words.add(field.element.name)
    return functions_of(type(tree), version) if bare else frozenset(words)


def tree_of(words: Iterable[str], version: Version) -> WVCSPFeat | None:
    """Write function words as a tree; a whole branch becomes one bare element."""
    branch = _branch(WVCSPFeat, frozenset(words), version, whole=False)
    assert branch is None or isinstance(branch, WVCSPFeat)
    return branch


def _branch(
    cls: type[Structure], words: frozenset[str], version: Version, *, whole: bool = True
) -> Structure | None:
    every = functions_of(cls, version)
    if words.isdisjoint(every):
        return None
    if whole and every <= words:
        return cls()
    children: dict[str, Any] = {}
    for field in describe(cls).ordered(version):
        if field.kind is Kind.FLAG:
            if field.element.name in words:
                children[field.attribute] = True
        elif field.structure is not None:
            child = _branch(field.structure, words, version)
            if child is not None:
                children[field.attribute] = child
    return cls(**children)


def asked(functions: Functions | None, version: Version) -> frozenset[str]:
    """Read what a Service-Request (or a login of 1.3) wants; nothing means all."""
    if functions is None or functions.wvcsp_feat is None:
        return functions_of(WVCSPFeat, version)
    return wanted(functions.wvcsp_feat, version)
