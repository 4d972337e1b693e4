"""URIs and name-addrs (RFC 3261 19.1, 20.10)."""

from __future__ import annotations

import pytest

from gateway.errors import Malformed
from gateway.sip.uri import NameAddr, Uri


@pytest.mark.parametrize(
    "text",
    [
        "sip:example.com",
        "sip:alice@example.com",
        "sips:alice:secret@example.com:5061;transport=tcp;lr?subject=x&to=y",
        "sip:+358-555-1234567;phone-context=x@gw.com;user=phone",
        "sip:user;par=u%40example.net@example.com",
        "sip:a(b)!&=+$,/?c@[2001:db8::1]:5060",
        "sip:%00@example.com",
        "tel:+358555;ext=1",
        "im:bob@example.com",
        "pres:bob@example.com",
        "urn:uuid:f81d4fae-7dec-11d0-a765-00a0c91e6bf6",
        "nobodyKnowsThisScheme:totallyopaquecontent",
    ],
)
def test_uris_come_back(text: str) -> None:
    """str(parse(x)) is x, the scheme's case aside."""
    assert str(Uri.parse(text)).lower() == text.lower()


def test_parts() -> None:
    """Each part stands where it belongs."""
    uri = Uri.parse("SIP:alice:pw@Example.COM:5070;Transport=udp;lr?a=b")
    assert (uri.scheme, uri.user, uri.password) == ("sip", "alice", "pw")
    assert (uri.host, uri.port) == ("Example.COM", 5070)
    assert uri.params == {"transport": "udp", "lr": None}
    assert uri.headers == "a=b"
    assert uri.aor == "sip:alice@example.com"
    assert Uri.parse("tel:+123;a=b").aor == "tel:+123"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "sip:",
        "sip",
        ":x",
        "sip:@example.com",
        "sip:a@",
        "sip:a@b@c",
        "sip:a b@example.com",
        "sip:a@exa<mple.com",
        "sip:a@example.com:0",
        "sip:a@example.com:99999",
        "sip:a@example.com:x",
        "sip:a@example.com;;x",
        "sip:a@[::1",
        "1sip:a@b",
        "sip:a@b\r\nX: y",
    ],
)
def test_bad_uris(text: str) -> None:
    """What is no URI raises."""
    with pytest.raises(Malformed):
        Uri.parse(text)


@pytest.mark.parametrize(
    ("text", "display", "uri", "params"),
    [
        ("<sip:a@b>", "", "sip:a@b", {}),
        ("sip:a@b;tag=1", "", "sip:a@b", {"tag": "1"}),
        ("sip:a@b ;   tag    = 1", "", "sip:a@b", {"tag": "1"}),
        ("Bell A <sip:a@b;lr>;tag=1", "Bell A", "sip:a@b;lr", {"tag": "1"}),
        ('"J \\\\\\"" <sip:a@b> ; tag=1', 'J \\"', "sip:a@b", {"tag": "1"}),
        ("caller<sip:a@b>;tag=1", "caller", "sip:a@b", {"tag": "1"}),
        ("Bell, A <sip:a@b>", "Bell, A", "sip:a@b", {}),
        ("< sip:a@b >", "", "sip:a@b", {}),
        ('"a <b>; c" <sip:a@b>', "a <b>; c", "sip:a@b", {}),
    ],
)
def test_name_addr(
    text: str, display: str, uri: str, params: dict[str, str | None]
) -> None:
    """Display names, quotes, blanks and both forms; written again it reads the same."""
    read = NameAddr.parse(text)
    assert (read.display, str(read.uri), read.params) == (display, uri, params)
    assert NameAddr.parse(str(read)) == read


@pytest.mark.parametrize(
    "text",
    [
        "",
        "*",
        '"open <sip:a@b>',
        '"a" sip:a@b',
        '"a" "b" <sip:a@b>',
        'a "b" <sip:a@b>',
        "<sip:a@b",
        "<sip:a@b>x",
        "<sip:a@b>;;;;",
        "sip:a@b?Route=%3Csip:c%3E",
        "sip:a,b@c",
        " " * 60000 + "x",
    ],
)
def test_bad_name_addr(text: str) -> None:
    """What is no name-addr raises (RFC 3261 20: ? and , need <>)."""
    with pytest.raises(Malformed):
        NameAddr.parse(text)


def test_quoted_parameters() -> None:
    """An instance id keeps its quotes and is read without (RFC 5626 4.1)."""
    text = '<sip:a@b>;+sip.instance="<urn:uuid:1>"'
    read = NameAddr.parse(text)
    assert read.param("+sip.instance") == "<urn:uuid:1>"
    assert read.param("none") is None
    assert str(read) == text
