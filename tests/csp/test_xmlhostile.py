"""Hostile and broken documents: refused, and cheaply."""

from __future__ import annotations

import pytest

from gateway.csp import xmlsyntax
from gateway.csp.common import (
    PollingRequest,
)
from gateway.csp.xmlsyntax import decode
from gateway.errors import Malformed, TooLarge
from tests.csp.documents import SEND, document

BOMB = "".join(
    f'<!ENTITY a{i} "{f"&a{i - 1};" * 10 if i else "ha"}">' for i in range(20)
)
HOSTILE = {
    "empty": b"",
    "blank": b" \n",
    "binary": bytes(range(256)),
    "wbxml": b"\x03\x10\x6a\x00\xc9\x08\x03\x31\x2e\x32\x00\x01",
    "no xml": b"hello",
    "wrong root": b"<html/>",
    "primitive as root": b"<Status><Result><Code>200</Code></Result></Status>",
    "two roots": document("<Polling-Request/>") + b"<a/>",
    "text behind": document("<Polling-Request/>") + b"a",
    "text before": b"a" + document("<Polling-Request/>"),
    "no utf-8": document("<Polling-Request/>").replace(b">7<", b">\xff<"),
    "half a utf-16": b"\xff\xfe<",
    "unclosed attribute": document("<Polling-Request a='/>"),
    "doubled attribute": document('<Polling-Request a="" a=""/>'),
    "bare less-than": document("<Polling-Request/>").replace(b">7<", b"><<"),
    "unbound prefix": document("<x:Polling-Request/>"),
    "entity bomb": f"<!DOCTYPE x [{BOMB}]>".encode() + document("&a19;"),
    "entity bomb in an attribute": f"<!DOCTYPE x [{BOMB}]>".encode()
    + document('<a b="&a19;"/>'),
    "one entity": b'<!DOCTYPE x [<!ENTITY a "b">]>' + document("<Polling-Request/>"),
    "external entity": b'<!DOCTYPE x [<!ENTITY a SYSTEM "file:///etc/passwd">]>'
    + document("&a;"),
    "parameter entity": b'<!DOCTYPE x [<!ENTITY % a SYSTEM "http://x.invalid/">%a;]>'
    + document(""),
    "default attributes": b'<!DOCTYPE x [<!ATTLIST a b CDATA "c">]>' + document(""),
    "decoy before the subset": b"<!-- <!DOCTYPE x> <a> --><!DOCTYPE x [ ]>"
    + document("<Polling-Request/>"),
    "undeclared entity": document("&nbsp;"),
    "undeclared entity, perhaps elsewhere": b'<!DOCTYPE x SYSTEM "x.dtd">'
    + document("<Status>&nbsp;</Status>"),
    "nested 33": document("<a>" * 30 + "</a>" * 30),
    "nested 200": document("<a>" * 200 + "</a>" * 200),
    "nested 100 000": b"<WV-CSP-Message>" + b"<a>" * 100_000,
    "100 000 siblings": document("<a/>" * 100_000),
    "doctypes": b"<!DOCTYPE " * 100_000,
    "open quote": b"<!DOCTYPE x " + b'"' * 99_999,
    "19 000 search conditions": document(
        "<Search-Request><SearchPairList>"
        + "<SearchElement>A</SearchElement>" * 19_000
        + "</SearchPairList></Search-Request>"
    ),
    "65 transactions": document("<Polling-Request/>").replace(
        b"</Session>", b"<Transaction/>" * 64 + b"</Session>"
    ),
}


@pytest.mark.parametrize("name", HOSTILE)
@pytest.mark.requirement("T-7.6-05")
def test_hostile_documents_are_malformed(name: str) -> None:
    """Twice: nothing of it is remembered."""
    for _ in range(2):
        with pytest.raises(Malformed):
            decode(HOSTILE[name])


@pytest.mark.parametrize(
    "name", ["nested 33", "nested 200", "100 000 siblings", "65 transactions"]
)
def test_limits_are_told_apart(name: str) -> None:
    """What passes a limit is TooLarge, so that 413 can be answered."""
    with pytest.raises(TooLarge):
        decode(HOSTILE[name])


def test_limits_are_reached() -> None:
    """What is just within them is read."""
    deep = document("<a>" * 27 + "</a>" * 27 + "<Polling-Request/>")
    wide = document("<a/>" * 19_900 + "<Polling-Request/>")
    many = document("<Polling-Request/>").replace(
        b"</Session>", b"<Transaction/>" * 63 + b"</Session>"
    )
    for body in (deep, wide, many):
        assert decode(body).transactions[0].primitive == PollingRequest()


@pytest.mark.requirement("T-7.6-05")
def test_truncated_documents_are_malformed() -> None:
    """Cut anywhere."""
    body = document(SEND.format("", "hi"))
    for length in range(len(body)):
        with pytest.raises(Malformed):
            decode(body[:length])


def test_markup_is_not_remembered_for_ever() -> None:
    """Strangers may send what they like: the memory has a bound."""
    for number in range(xmlsyntax._MAX_READINGS + 10):
        decode(document(f"<Polling-Request/><a{number}/>"))
    assert len(xmlsyntax._READINGS) == xmlsyntax._MAX_READINGS
    long = document("<Polling-Request/>" + "<abcdefgh/>" * 1000)
    decode(long)
    assert max(map(len, xmlsyntax._READINGS)) <= xmlsyntax._MAX_MARKUP
