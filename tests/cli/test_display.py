"""What is shown: texts of others, documents with their secrets, colours or none."""

from __future__ import annotations

import pytest

from gateway.cli._display import Display, colourful, printable
from gateway.cli._trace import csp_document, sip_document


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("Grüße 👋", "Grüße 👋"),
        ("two\r\nlines\nmore", r"two\nlines\nmore"),
        ("\x1b[2Jgone", r"\x1b[2Jgone"),
        ("\x9b2J", r"\x9b2J"),
        ("a\rb\x08\x7f\x00", r"a\x0db\x08\x7f\x00"),
        ("\u202eesrever", r"\u202eesrever"),
    ],
)
def test_nothing_in_a_text_steers_the_terminal(text, shown):
    assert printable(text) == shown


def test_without_a_terminal_each_text_is_one_line(capsys):
    shown = Display()
    shown.arrived("wv:bob", "one\nwv:eve: two")
    shown.said("wv:bob", "hello")
    shown.fault("it failed")
    shown.trace(True, "<a>\n</a>")
    shown.trace(False, "<b/>")
    printed = capsys.readouterr()
    assert printed.out == "wv:bob: one\\nwv:eve: two\n"
    assert printed.err == "it failed\n> <a>\n> </a>\n< <b/>\n"


@pytest.mark.parametrize(
    ("terminal", "environment", "colours"),
    [
        (True, {"TERM": "xterm"}, True),
        (True, {"NO_COLOR": ""}, True),
        (True, {"NO_COLOR": "1"}, False),
        (True, {"TERM": "dumb"}, False),
        (False, {"TERM": "xterm"}, False),
    ],
)
def test_colours_are_for_terminals_whose_owner_wants_them(
    terminal, environment, colours
):
    assert colourful(terminal, environment) is colours


@pytest.mark.parametrize(
    "document",
    [
        "<Login-Request><Password>hunter2</Password></Login-Request>",
        "<a><DigestBytes>hunter2</DigestBytes></a>",
        '<x:a xmlns:x="y"><x:Password z="a/b" >hunter2</x:Password></x:a>',
        "<a><Password><![CDATA[hunter2]]></Password></a>",
        "<a><Password>hun\nhunter2</Password></a>",
        # Broken documents are shown as they are, and still masked.
        "<a><Password>hunter2</Password>",
        "<a><Password>hunter2",
    ],
)
def test_passwords_and_digests_are_masked(document):
    shown = csp_document(document.encode())
    assert "hunter2" not in shown
    assert "••••" in shown


def test_a_document_is_shown_with_an_element_a_line():
    document = b"<a><Password/><b>x</b><DigestSchema>SHA</DigestSchema></a>"
    assert csp_document(document).splitlines() == [
        "<a>",
        "  <Password/>",
        "  <b>x</b>",
        "  <DigestSchema>SHA</DigestSchema>",
        "</a>",
    ]


@pytest.mark.parametrize("name", ["Authorization", "Proxy-Authorization"])
@pytest.mark.parametrize("value", ['"0a1b"', "0a1b"])
def test_the_response_of_a_digest_is_masked(name, value):
    data = f'{name}: Digest username="bob", response={value}, qop=auth\r\n\r\nhi'
    shown = sip_document(data.encode())
    assert "0a1b" not in shown
    assert shown.splitlines()[0].endswith('response="••••", qop=auth')
    assert shown.endswith("hi")
