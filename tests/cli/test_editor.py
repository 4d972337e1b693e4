"""The line editor: keys as the bytes that terminals send for them."""

from __future__ import annotations

import pytest

from gateway.cli._editor import Key, LineEditor, cells

UP, DOWN, RIGHT, LEFT = b"\x1b[A", b"\x1b[B", b"\x1b[C", b"\x1b[D"


def typed(*keys: bytes) -> str:
    """Show what is in the line after these keys, the cursor as ``|``."""
    editor = LineEditor()
    for key in keys:
        editor.feed(key)
    return f"{editor.text[: editor.cursor]}|{editor.text[editor.cursor :]}"


@pytest.mark.parametrize(
    ("keys", "line"),
    [
        ((b"abc", LEFT, LEFT), "a|bc"),
        ((b"abc", LEFT, b"\x1bOD", RIGHT), "ab|c"),
        ((b"ab", LEFT, LEFT, LEFT, b"x"), "x|ab"),
        ((b"ab", RIGHT, b"x"), "abx|"),
        ((b"abc", b"\x1b[H", b"x"), "x|abc"),
        ((b"abc", b"\x1b[1~", b"\x1b[4~"), "abc|"),
        ((b"abc", b"\x1bOH", b"\x1b[3~"), "|bc"),
        ((b"abc", b"\x01", b"\x05"), "abc|"),
        ((b"abc", b"\x02", b"\x06"), "abc|"),
        ((b"abc", LEFT, b"\x7f"), "a|c"),
        ((b"abc", b"\x01", b"\x7f"), "|abc"),
        ((b"abc", LEFT, b"\x04"), "ab|"),
        ((b"one two ", b"\x17"), "one |"),
        ((b"one two", b"\x1b[1;5D", b"\x0b"), "one |"),
        ((b"one two", b"\x1bb", b"\x1bb", b"\x1bf"), "one| two"),
        ((b"one two", b"\x1bb", b"\x15", b"\x05", b"\x19"), "twoone |"),
        ((b"ab", b"\x03"), "|"),
    ],
)
def test_keys_move_and_delete(keys, line):
    assert typed(*keys) == line


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("zö", "z"),
        ("z世", "z"),
        ("z👋", "z"),
        # A base with its accent, and people joined to a family, are one to a person.
        ("ze\u0301", "z"),
        ("z👩\u200d👩\u200d👧", "z"),
    ],
)
def test_backspace_takes_a_character_of_several_bytes_whole(text, left):
    assert typed(text.encode(), b"\x7f") == f"{left}|"
    assert typed(text.encode(), LEFT) == f"{left}|{text[1:]}"


def test_bytes_of_a_character_or_a_key_may_come_one_by_one():
    keys = "ä".encode() + b"b" + LEFT + b"\x1bOH" + b"\x1b[1;5C" + b"c"
    assert typed(*(bytes([byte]) for byte in keys)) == "äbc|"


def test_keys_that_mean_nothing_type_nothing():
    keys = (
        b"\x1b[15~",
        b"\x1b[[A",
        b"\x1b[200~",
        b"\x1bx",
        b"\x07",
        b"\t",
    )
    assert typed(b"a", *keys, b"b") == "ab|"


def test_bytes_that_are_no_utf_8_are_replaced():
    assert typed(b"a\xffb") == "a\ufffdb|"


def test_a_line_is_given_at_enter_and_several_at_once():
    editor = LineEditor()
    assert editor.feed(b"one\rtwo\nthree") == ["one", "two"]
    assert editor.text == "three"
    assert editor.feed(b"\r\r") == ["three", ""]


def test_keys_besides_the_line_are_told():
    editor = LineEditor()
    assert editor.feed(b"a\x03\x03\x04\x1a\x0c") == [
        Key.INTERRUPT,
        Key.END,
        Key.SUSPEND,
        Key.REDRAW,
    ]


def test_lines_come_back_and_the_draft_with_them():
    editor = LineEditor()
    editor.feed(b"one\rtwo\rtwo\r  \rdraft")
    seen = []
    for key in (UP, UP, UP, DOWN, b"\x0e", DOWN, b"\x10"):
        editor.feed(key)
        seen.append(editor.text)
    assert seen == ["two", "one", "one", "two", "draft", "draft", "two"]
    assert editor.feed(b"!\r") == ["two!"]
    editor.feed(UP)
    assert editor.text == "two!"


def test_cells_are_those_of_a_terminal():
    assert cells("aö") == 2
    assert cells("世界👋") == 6
    assert cells("e\u0301\u200d") == 1


def test_a_long_line_is_seen_around_its_cursor():
    editor = LineEditor()
    editor.feed(b"0123456789")
    assert editor.row(20) == ("0123456789", 10)
    assert editor.row(5) == ("6789", 4)
    editor.feed(b"\x01")
    assert editor.row(5) == ("01234", 0)
    editor.feed(RIGHT * 6)
    assert editor.row(5) == ("23456", 4)


def test_a_wide_character_is_seen_whole_or_not_at_all():
    editor = LineEditor()
    editor.feed("世界世界".encode())
    assert editor.row(6) == ("世界", 4)
    assert editor.row(5) == ("世界", 4)
    editor.feed(b"\x01")
    assert editor.row(5) == ("世界", 0)
