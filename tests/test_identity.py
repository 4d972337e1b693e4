"""IMPS and SIP addresses: each row of the address table, and the way there and back."""

from __future__ import annotations

import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.errors import Malformed
from gateway.identity import Domains, WVAddress, from_sip, request_uri, to_aor

HOME = "imps.example"
DOMAINS = Domains(HOME, "sip.example")


@pytest.mark.parametrize(
    ("imps", "sip"),
    [
        ("wv:alice@imps.example", "sip:alice@imps.example"),
        ("wv:+358401234567@imps.example", "sip:+358401234567@imps.example"),
        ("wv:a%b@imps.example", "sip:a%25b@imps.example"),
        ("wv:jörg@imps.example", "sip:j%C3%B6rg@imps.example"),
        ("wv:bob@peer.example", "sip:bob@peer.example"),
        ("wv:a;b@imps.example", "sip:a%3Bb@imps.example"),
        ("wv:a%40b@imps.example", "sip:a%40b@imps.example"),
    ],
)
def test_both_directions(imps, sip):
    address = WVAddress.parse(imps, HOME)
    assert str(address) == imps
    assert to_aor(address) == sip
    assert str(from_sip(sip, HOME)) == imps


@pytest.mark.parametrize(
    ("written", "canonical"),
    [
        ("WV:Alice@IMPS.example", "wv:alice@imps.example"),
        ("alice", "wv:alice@imps.example"),
        ("wv:alice", "wv:alice@imps.example"),
        ("wv:%61lice@imps.example", "wv:alice@imps.example"),
        ("sip:Alice@imps.example", "wv:alice@imps.example"),
        ("tel:+358-40-123 4567", "wv:+358401234567@imps.example"),
        ("wv:alice/Friends@imps.example", "wv:alice/friends@imps.example"),
        ("wv:/Lobby@imps.example", "wv:/lobby@imps.example"),
    ],
)
def test_addresses_are_compared_without_case_schema_and_home(written, canonical):
    assert WVAddress.parse(written, HOME).key == canonical


@pytest.mark.parametrize(
    ("sip", "imps"),
    [
        ("sip:u@y.example;transport=tcp", "wv:u@y.example"),
        ("sip:u@y.example:5070;lr?Subject=x", "wv:u@y.example"),
        ("sip:u:secret@y.example", "wv:u@y.example"),
        ("sip:u;gr=urn:uuid:1@y.example", "wv:u@y.example"),
        ("sips:u@y.example", "wv:u@y.example"),
        ("im:u@y.example", "wv:u@y.example"),
        ("pres:u@y.example", "wv:u@y.example"),
        ("sip:u@[2001:db8::1]:5060", "wv:u@[2001:db8::1]"),
        ("sip:+358401234567@imps.example;user=phone", "wv:+358401234567@imps.example"),
        ("tel:+358401234567", "wv:+358401234567@imps.example"),
        ("tel:401234567;phone-context=+358", "wv:+358401234567@imps.example"),
        ("sip:anonymous@anonymous.invalid", "wv:anonymous@imps.example"),
        ("sip:a%20b%2Fc@y.example", "wv:a%20b%2Fc@y.example"),
    ],
)
def test_what_sip_brings(sip, imps):
    assert str(from_sip(sip, HOME)) == imps


def test_our_own_domain_has_two_spellings():
    assert DOMAINS.aor(DOMAINS.address("wv:alice")) == "sip:alice@sip.example"
    assert str(DOMAINS.wv("sip:alice@SIP.example")) == "wv:alice@imps.example"
    assert DOMAINS.key("sip:Alice@sip.example:5060") == "sip:alice@sip.example"
    assert str(DOMAINS.address("wv:alice@sip.example")) == "wv:alice@imps.example"
    assert DOMAINS.aor(DOMAINS.address("wv:bob@else.example")) == "sip:bob@else.example"


def test_a_number_is_marked_in_the_request_uri():
    aor = to_aor(WVAddress.parse("wv:+358401234567", HOME))
    assert request_uri(aor) == "sip:+358401234567@imps.example;user=phone"
    assert request_uri("sip:bob@imps.example") == "sip:bob@imps.example"


def test_foreign_domains_go_out_as_a_labels():
    assert to_aor(WVAddress.parse("wv:u@bücher.example")) == (
        "sip:u@xn--bcher-kva.example"
    )


@pytest.mark.parametrize(
    "text",
    [
        "",
        "wv:",
        "wv:bob@",
        "wv:bob/@imps.example",
        "wv:bob\r\nX: y@imps.example",
        "wv:bob@imps.example>;tag=1",
        "wv:bob@imps.example;maddr=192.0.2.1",
        "wv:bob@imps.example?Route=x",
        "wv:bob@imps example",
        "wv:bob@imps.example:5060",
        "wv:bob@-",
        "wv:bob@.",
        "wv:bob@\u2028.example",
        "mailto:bob@imps.example",
        "tel:112",
        "sip:imps.example",
        "sip:%FF@imps.example",
        "sip:@imps.example",
        "wv:" + "x" * 600,
    ],
)
def test_what_is_no_address_reaches_no_sip_header(text):
    with pytest.raises(Malformed):
        to_aor(WVAddress.parse(text, HOME))


@pytest.mark.parametrize(
    "text", ["wv:alice/friends@imps.example", "wv:/lobby", "wv:@x"]
)
def test_lists_groups_and_services_are_no_sip_users(text):
    with pytest.raises(Malformed):
        to_aor(WVAddress.parse(text, HOME))


users = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=20)


@given(users)
def test_a_sip_user_comes_back_as_he_was(user):
    """``to_aor(from_sip(x)) == x`` after comparison, whatever the user part holds."""
    folded = user.casefold().casefold()
    escaped = "".join(f"%{b:02X}" for b in folded.encode())
    back = to_aor(from_sip(f"sip:{escaped}@y.example", HOME))
    again = to_aor(from_sip(back, HOME))
    assert again == back
    assert from_sip(back, HOME).key == from_sip(f"sip:{escaped}@y.example", HOME).key


@given(users, users)
def test_two_sip_users_never_become_one(one, other):
    def name(user):
        return from_sip(
            f"sip:{''.join(f'%{b:02X}' for b in user.encode())}@y.example", ""
        )

    assert (name(one) == name(other)) == (one == other)


names = st.text(
    st.sampled_from(string.ascii_lowercase + string.digits + "%;?,&=+$.-_~!*'()äß"),
    min_size=1,
    max_size=12,
)


@given(names)
def test_an_imps_user_comes_back_as_he_was(name):
    address = WVAddress(name, HOME)
    assert from_sip(to_aor(address), HOME).key == address.key


@given(st.text(max_size=40))
def test_a_folded_address_is_safe_in_any_header(text):
    try:
        aor = to_aor(WVAddress.parse(text, HOME))
    except Malformed:
        return
    assert aor.isascii()
    assert not set(aor) & set(' \r\n\t<>";,?')
