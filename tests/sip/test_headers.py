"""Header fields, lists, parameters, Via and CSeq (RFC 3261 7.3, 20, 25.1)."""

from __future__ import annotations

import pytest

from gateway.errors import Malformed
from gateway.sip.headers import (
    CSeq,
    Headers,
    Via,
    canonical,
    format_params,
    parse_params,
    quote,
    split_list,
    unquote,
)


@pytest.mark.parametrize(
    ("name", "usual"),
    [
        ("v", "Via"),
        ("CALL-ID", "Call-ID"),
        ("i", "Call-ID"),
        ("cseq", "CSeq"),
        ("cSeQ", "CSeq"),
        ("www-authenticate", "WWW-Authenticate"),
        ("x-own-field", "X-Own-Field"),
        ("o", "Event"),
        ("B", "Referred-By"),
    ],
)
def test_names_have_one_spelling(name: str, usual: str) -> None:
    """Case and compact forms are folded (RFC 3261 7.3.3)."""
    assert canonical(name) == usual


@pytest.mark.parametrize("name", ["", "a b", "a:b", "a\r\n", "ä", "a("])
def test_names_are_tokens(name: str) -> None:
    """Anything else is our defect when we write it."""
    with pytest.raises(ValueError, match="not a header"):
        Headers().add(name, "x")


def test_multi_map() -> None:
    """Values of one name keep their order whatever the spelling."""
    headers = Headers.of([("Route", "<sip:a>"), ("X-Foo", "1"), ("route", "<sip:b>")])
    assert headers.get("ROUTE") == "<sip:a>"
    assert headers.all("Route") == ["<sip:a>", "<sip:b>"]
    headers.prepend("Route", "<sip:0>")
    assert headers.all("Route") == ["<sip:0>", "<sip:a>", "<sip:b>"]
    assert list(headers.items())[-1] == ("X-Foo", "1")
    assert len(headers) == 4
    headers.set("x-foo", "2")
    assert headers.get("X-Foo") == "2" and "x-FOO" in headers
    headers.remove("X-Foo")
    headers.remove("X-Foo")
    assert "X-Foo" not in headers and headers.get("X-Foo") is None
    assert headers.all("X-Foo") == [] and headers.values("X-Foo") == []
    headers.set_all("Route", [])
    assert headers == Headers()


def test_a_copy_is_independent() -> None:
    """Changing a copy leaves the original alone."""
    headers = Headers.of([("Via", "a"), ("Via", "b")])
    copy = headers.copy()
    copy.add("Via", "c")
    copy.set("To", "x")
    assert headers.all("Via") == ["a", "b"] and "To" not in headers


@pytest.mark.parametrize(
    ("value", "parts"),
    [
        ("", []),
        ("a", ["a"]),
        ("a, b ,c", ["a", "b", "c"]),
        ("a,,b,", ["a", "b"]),
        ('"x, y" <sip:a>, <sip:b,c>;p="q,\\"r"', None),
        ("agent (one, two), other", ["agent (one, two)", "other"]),
        ("<sip:a(b@x>, <sip:c>", ["<sip:a(b@x>", "<sip:c>"]),
        ("a(b, c", ["a(b", "c"]),
        ("a < b, c", ["a < b", "c"]),
    ],
)
def test_lists_split_outside_of_quotes(value: str, parts: list[str] | None) -> None:
    """Commas in quotes, comments and angle brackets belong to the value."""
    if parts is None:
        parts = ['"x, y" <sip:a>', '<sip:b,c>;p="q,\\"r"']
    assert split_list(value) == parts


def test_open_quotes_do_not_split() -> None:
    """Where the quotes end is a guess: refused."""
    with pytest.raises(Malformed):
        split_list('"a, b')


def test_values_of_fields_that_are_no_lists() -> None:
    """The comma of a date or of credentials separates nothing."""
    headers = Headers.of([("Date", "Sat, 13 Nov 2010 23:29:00 GMT")])
    assert len(headers.values("date")) == 1
    headers = Headers.of([("Allow", "MESSAGE, OPTIONS"), ("allow", "BYE")])
    assert headers.values("Allow") == ["MESSAGE", "OPTIONS", "BYE"]


@pytest.mark.parametrize(
    ("text", "params"),
    [
        ("", {}),
        (";lr", {"lr": None}),
        (" ; Tag = a1 ;x=", None),
        (';a="b;c\\"d";e', {"a": '"b;c\\"d"', "e": None}),
        (";tag=a;", {"tag": "a"}),
        (";a=[::1]", {"a": "[::1]"}),
    ],
)
def test_params(text: str, params: dict[str, str | None] | None) -> None:
    """Names fold, quotes protect, one trailing semicolon is forgiven."""
    if params is None:
        with pytest.raises(Malformed):
            parse_params(text)
    else:
        assert parse_params(text) == params
        assert parse_params(format_params(params)) == params


@pytest.mark.parametrize(
    "text", [";;", ";;lr", ";a;;b", ";a=1;A=2", "a", ';a="b', ";=b"]
)
def test_bad_params(text: str) -> None:
    """Empty, repeated and unclosed parameters are refused."""
    with pytest.raises(Malformed):
        parse_params(text)


@pytest.mark.parametrize("text", ["", "plain", 'a "b" \\ c', "Zoë,;<>"])
def test_quote_and_unquote(text: str) -> None:
    """What is quoted comes back; a line end cannot get in."""
    assert unquote(quote(text)) == text
    assert quote("a\r\nb\0") == '"a  b "'


@pytest.mark.parametrize(
    ("text", "again"),
    [
        ("SIP/2.0/UDP host:5060;branch=z9hG4bK1", None),
        (
            " SIP / 2.0 / tcp   [2001:DB8::1] : 5070 ; branch = x ; rport",
            "SIP/2.0/TCP [2001:DB8::1]:5070;branch=x;rport",
        ),
        ("SIP/2.0/TLS-SCTP a_b.example", None),
        ("SIP/2.0/UDP h;received=::1;ttl=16", None),
        ("SIP/2.0/UDP h;rport;BRANCH=z9hG4bK1", "SIP/2.0/UDP h;rport;branch=z9hG4bK1"),
    ],
)
def test_via(text: str, again: str | None) -> None:
    """A Via with blanks, IPv6 and unknown transports is read and written."""
    assert str(Via.parse(text)) == (again or text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "SIP/2.0/UDP",
        "SIP/3.0/UDP host",
        "SIP/2.0/UDP host:0",
        "SIP/2.0/UDP host:65536",
        "SIP/2.0/UDP host:",
        "SIP/2.0/UDP host;;",
        "SIP/2.0/UDP host;branch=",
        "SIP/2.0/UDP host;a=1;A=2",
        "SIP/2.0/UDP host;=x",
        "SIP/2.0/UDP host:65536;branch=x",
        "SIP/2.0/UDP host branch=x",
        "SIP/2.0/UDP [::1",
        "SIP/2.0/UDP " + " " * 60000 + "!",
    ],
)
def test_bad_via(text: str) -> None:
    """What is no Via raises."""
    with pytest.raises(Malformed):
        Via.parse(text)


def test_sent_by_folds_case() -> None:
    """Transactions compare it (RFC 3261 17.2.3)."""
    assert Via.parse("SIP/2.0/UDP HOST.example").sent_by == "host.example"
    assert Via.parse("SIP/2.0/UDP H:5061").sent_by == "h:5061"


@pytest.mark.parametrize("text", ["", "1", "MESSAGE", "-1 A", "1 A B", "99999999999 A"])
def test_bad_cseq(text: str) -> None:
    """What is no number and method raises."""
    with pytest.raises(Malformed):
        CSeq.parse(text)


def test_cseq() -> None:
    """Leading zeros and several blanks are read."""
    assert CSeq.parse("0009   INVITE") == CSeq(9, "INVITE")
    assert str(CSeq(9, "INVITE")) == "9 INVITE"
