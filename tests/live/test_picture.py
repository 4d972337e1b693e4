"""The picture of a conversation: made of screens, small, and well-formed."""

from __future__ import annotations

from xml.etree import ElementTree

from tests.live.picture import PICTURE, SIZE, draw, runs

SVG = "{http://www.w3.org/2000/svg}"


def test_a_row_is_parted_by_its_colours():
    row = "\x1b[2m12:00\x1b[0m \x1b[1;36m世界:\x1b[0m <hi>\x1b[33m! \x1b[39m  ?"
    assert list(runs(row)) == [
        ("d", "12:00", 0),
        ("b c36", "世界:", 6),
        ("", "<hi>", 12),
        ("c33", "!", 16),
        ("", "?", 20),
    ]


def test_a_screen_becomes_text():
    drawn = ElementTree.fromstring(draw([("title", "<hi>\n\n")], 20))
    assert [text.text for text in drawn.iter(f"{SVG}text")] == ["title", "<hi>"]


def test_the_picture_of_the_documents_is_small_and_shows_both_sides():
    data = PICTURE.read_bytes()
    assert len(data) <= 30_000
    texts = [
        text.text or "" for text in ElementTree.fromstring(data).iter(f"{SVG}text")
    ]
    for said in ("→ wv:bob@example.com:", "→ sip:alice@example.com:"):
        assert said in texts
    assert all(len(text) <= SIZE[0] for text in texts)
