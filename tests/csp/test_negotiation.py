"""What capabilities and services come out of a negotiation, version by version."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.csp.capability import AcceptedContentType, CapabilityList
from gateway.csp.charsets import canonical
from gateway.csp.common import Functions, WVCSPFeat
from gateway.csp.negotiation import (
    _CHARSETS,
    ENVELOPE,
    FUNCTIONS,
    Agreed,
    Server,
    agree,
    asked,
    capability_answer,
    capability_copy,
    functions_of,
    tree_of,
    wanted,
)
from gateway.csp.schema import Version
from gateway.csp.servicetree import (
    ContListFunc,
    FundamentalFeat,
    IMFeat,
    IMReceiveFunc,
    PresenceFeat,
    ServiceFunc,
)
from gateway.errors import Refused

SERVER = Server()
V1_1, V1_2, V1_3 = Version


def offered(**changes: Any) -> CapabilityList:
    """Make the list of a client."""
    fields: dict[str, Any] = {
        "client_type": "MOBILE_PHONE",
        "initial_delivery_method": "P",
        "supported_bearer": ("HTTP",),
    }
    return CapabilityList(**fields | changes)


# -- capabilities ----------------------------------------------------------------------


@pytest.mark.parametrize("version", Version)
def test_without_multi_trans_one_transaction_rides(version: Version) -> None:
    """Absent, zero and less are one."""
    assert agree(offered(), SERVER, version).multi == 1
    for number in (0, -3, 1):
        few = offered(multi_trans=number, multi_trans_per_message=number)
        assert agree(few, SERVER, version).multi == 1


@pytest.mark.parametrize("version", [V1_1, V1_2])
def test_until_1_2_multi_trans_bounds_a_message(version: Version) -> None:
    """The server has a bound of its own."""
    assert agree(offered(multi_trans=5), SERVER, version).multi == 5
    assert agree(offered(multi_trans=10**9), SERVER, version).multi == 8


def test_in_1_3_only_multi_trans_per_message_bounds_a_message() -> None:
    """MultiTrans alone says how many may be open: one still rides in a message."""
    assert agree(offered(multi_trans=5), SERVER, V1_3).multi == 1
    both = offered(multi_trans=5, multi_trans_per_message=3)
    agreed = agree(both, SERVER, V1_3)
    assert agreed.multi == 3
    answer = capability_answer(both, agreed, SERVER)
    assert (answer.multi_trans, answer.multi_trans_per_message) == (5, 3)


@pytest.mark.parametrize(
    ("method", "push"), [("P", True), ("N", False), (" n ", False)]
)
def test_the_delivery_method_is_push_or_notify(method: str, push: bool) -> None:
    """Blanks and case are forgiven."""
    list_ = offered(initial_delivery_method=method)
    assert agree(list_, SERVER, V1_2).push is push


@pytest.mark.parametrize("method", ["", "X", "PUSH"])
def test_another_delivery_method_is_refused(method: str) -> None:
    """402: a bad parameter."""
    with pytest.raises(Refused) as refused:
        agree(offered(initial_delivery_method=method), SERVER, V1_2)
    assert refused.value.code == 402


@pytest.mark.parametrize("number", [None, 0, -1])
def test_no_length_is_no_limit(number: int | None) -> None:
    """With a limit of nothing no message could ever reach the handset."""
    agreed = agree(
        offered(accepted_content_length=number, parser_size=number), SERVER, V1_2
    )
    assert agreed.pushes("x" * 100_000, text=True)
    assert agreed.gives("x" * 100_000)


def test_accepted_content_length_bounds_push_and_pull() -> None:
    """Up to 1.2 there is one length for both."""
    agreed = agree(offered(accepted_content_length=10), SERVER, V1_2)
    assert agreed.pushes("x" * 10, text=True)
    assert not agreed.pushes("x" * 11, text=True)
    assert agreed.gives("x" * 10)
    assert not agreed.gives("x" * 11)


def test_1_3_has_a_length_for_each_way() -> None:
    """Push, pull and plain text."""
    lengths = offered(
        accepted_push_length=20, accepted_pull_length=30, accepted_text_content_length=9
    )
    agreed = agree(lengths, SERVER, V1_3)
    assert agreed.pushes("x" * 20, text=False)
    assert not agreed.pushes("x" * 21, text=False)
    assert not agreed.pushes("x" * 10, text=True)
    assert agreed.gives("x" * 30)
    assert not agreed.gives("x" * 31)


def test_parser_size_is_in_bytes_of_the_charset() -> None:
    """A Chinese character takes three bytes, or eight where the charset lacks it."""
    text = "\u4f60" * 100
    fits = agree(offered(parser_size=ENVELOPE + 300), SERVER, V1_2)
    assert fits.pushes(text, text=True)
    assert not fits.pushes(text + "x", text=True)
    latin = agree(
        offered(parser_size=ENVELOPE + 799, accepted_charset=(4,)), SERVER, V1_2
    )
    assert not latin.pushes(text, text=True)
    assert latin.pushes("\xe9" * 799, text=True)


def test_parser_size_counts_the_escapes_of_markup() -> None:
    """An ampersand takes five bytes on the wire."""
    agreed = agree(offered(parser_size=ENVELOPE + 49), SERVER, V1_2)
    assert agreed.pushes("x" * 49, text=True)
    assert not agreed.pushes("&" * 10, text=True)
    assert not agreed.gives("<" * 10)


@pytest.mark.parametrize("version", Version)
def test_only_bearers_of_both_are_agreed(version: Version) -> None:
    """In whatever case the client writes them."""
    agreed = agree(offered(supported_bearer=("SMS", "http")), SERVER, version)
    assert agreed.bearers == ("HTTP",)
    assert agree(offered(supported_bearer=()), SERVER, version).bearers == ()


def test_the_longer_poll_interval_counts() -> None:
    """The server may raise what the client proposes."""
    assert agree(offered(server_poll_min=1), SERVER, V1_2).poll_min == 2
    assert agree(offered(server_poll_min=30), SERVER, V1_2).poll_min == 30


def test_content_types() -> None:
    """Plain text always; wildcards and parameters are understood."""
    types = tuple(
        AcceptedContentType(content_type=name)
        for name in ("Image/GIF", "audio/*", "text/html; charset=utf-8")
    )
    agreed = agree(offered(accepted_content_type=types), SERVER, V1_2)
    for taken in ("text/plain", "image/gif", "audio/amr", "text/html"):
        assert agreed.takes(taken)
    assert not agreed.takes("image/png")
    anything = offered(accepted_content_type=types, any_content=True)
    assert agree(anything, SERVER, V1_2).takes("image/png")
    assert agree(offered(), SERVER, V1_2).takes("image/png")


def test_a_flood_of_types_and_charsets_is_not_kept() -> None:
    """What is agreed lives in memory and in the store."""
    types = tuple(AcceptedContentType(content_type=f"a/{n}") for n in range(20_000))
    agreed = agree(
        offered(accepted_content_type=types, accepted_charset=(3,) * 20_000),
        SERVER,
        V1_2,
    )
    assert len(agreed.content_types) <= 256
    assert len(agreed.charsets) <= 256


@pytest.mark.parametrize(
    ("numbers", "charset"),
    [
        ((), "utf-8"),
        ((4, 106), "utf-8"),
        ((4,), "iso-8859-1"),
        ((9999, 2252), "windows-1252"),
        ((9999, -1), "us-ascii"),
    ],
)
def test_the_charset_of_replies(numbers: tuple[int, ...], charset: str) -> None:
    """UTF-8 when it is accepted, else the first that is known, else ASCII."""
    assert agree(offered(accepted_charset=numbers), SERVER, V1_1).charset == charset
    assert agree(offered(plain_text_charset=numbers), SERVER, V1_3).charset == charset


@pytest.mark.parametrize("name", _CHARSETS.values())
def test_every_charset_can_be_written_and_keeps_markup(name: str) -> None:
    """What is promised is one that the codec has, with ASCII in its place."""
    markup = '<?xml version="1.0"?><a>x &amp; y</a>'
    assert markup.encode(canonical(name)) == markup.encode("ascii")


def test_the_answer_of_1_1_is_the_clients_own_list() -> None:
    """With the settled values in it, and no CIR channel that is not there."""
    list_ = offered(
        multi_trans=99,
        server_poll_min=1,
        supported_bearer=("WSP", "HTTP"),
        supported_cir_method=("STCP", "SUDP"),
        udp_port=3717,
        parser_size=5000,
    )
    copy = capability_copy(list_, agree(list_, SERVER, V1_1))
    assert copy.multi_trans == 8
    assert copy.server_poll_min == 2
    assert copy.supported_bearer == ("HTTP",)
    assert copy.supported_cir_method == ()
    assert copy.udp_port is None
    assert copy.parser_size == 5000


@given(
    st.builds(
        Agreed,
        negotiated=st.booleans(),
        push=st.booleans(),
        push_length=st.none() | st.integers(),
        parser_size=st.none() | st.integers(),
        multi=st.integers(),
        charsets=st.lists(st.integers(), max_size=3).map(tuple),
        content_types=st.lists(st.text(), max_size=3).map(tuple),
        priority=st.integers(),
    )
)
def test_what_is_agreed_outlives_the_process(agreed: Agreed) -> None:
    """The store keeps it as JSON; keys of another release are dropped."""
    kept = json.loads(json.dumps({**asdict(agreed), "of_a_later_release": 1}))
    assert Agreed.restored(kept) == agreed


# -- services --------------------------------------------------------------------------


@pytest.mark.parametrize("version", Version)
def test_nothing_asked_is_everything_asked(version: Version) -> None:
    """No Functions, or an empty tree."""
    every = functions_of(WVCSPFeat, version)
    assert asked(None, version) == every
    assert asked(Functions(wvcsp_feat=WVCSPFeat()), version) == every


def test_a_bare_element_stands_for_its_branch() -> None:
    """At each depth."""
    tree = WVCSPFeat(
        presence_feat=PresenceFeat(cont_list_func=ContListFunc()),
        fundamental_feat=FundamentalFeat(service_func=ServiceFunc(getspi=True)),
    )
    assert wanted(tree, V1_2) == {"GCLI", "CCLI", "DCLI", "MCLS", "GETSPI"}
    assert "NEWM" in wanted(WVCSPFeat(im_feat=IMFeat()), V1_2)


def test_mf_and_its_like_stand_for_their_feature() -> None:
    """The functions of the feature; the word itself is none."""
    words = wanted(WVCSPFeat(im_feat=IMFeat(mm=True)), V1_2)
    assert words == functions_of(IMFeat, V1_2)
    assert "MM" not in words


def test_a_version_has_its_own_functions() -> None:
    """VRID came with 1.2, OFFNOTIF with 1.3, attribute lists went with it."""
    by_version = {v: functions_of(WVCSPFeat, v) for v in Version}
    assert "VRID" not in by_version[V1_1]
    assert "VRID" in by_version[V1_2]
    assert "OFFNOTIF" not in by_version[V1_2]
    assert "OFFNOTIF" in by_version[V1_3]
    assert "CALI" in by_version[V1_2]
    assert "CALI" not in by_version[V1_3]


def test_a_whole_branch_is_written_as_one_element() -> None:
    """And a part of it word by word."""
    tree = tree_of(functions_of(PresenceFeat, V1_2) | {"GETM"}, V1_2)
    assert tree == WVCSPFeat(
        presence_feat=PresenceFeat(),
        im_feat=IMFeat(im_receive_func=IMReceiveFunc(getm=True)),
    )


@pytest.mark.parametrize("version", Version)
def test_no_words_no_tree(version: Version) -> None:
    """Words of other versions count as none."""
    assert tree_of((), version) is None
    assert tree_of(("NOSUCH",), version) is None


@given(st.sampled_from(Version), st.data())
def test_words_and_trees_are_two_ways_to_say_it(version: Version, data: Any) -> None:
    """Whatever the words, the tree of them means them."""
    every = sorted(functions_of(WVCSPFeat, version))
    words = data.draw(st.frozensets(st.sampled_from(every)))
    assert wanted(tree_of(words, version), version) == words


def test_each_function_of_a_primitive_is_one_that_can_be_negotiated() -> None:
    """A word that no tree knows could never be agreed."""
    known = frozenset().union(*(functions_of(WVCSPFeat, v) for v in Version))
    assert set(FUNCTIONS.values()) <= known
