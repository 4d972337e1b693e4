"""Typed lines and commands, and the terminal that they are typed on."""

from __future__ import annotations

import os
import termios
from datetime import datetime

import pytest
from twisted.internet.testing import StringTransport

from gateway.cli._conversation import Conversation, Keyboard
from gateway.cli._display import Display
from gateway.cli._terminal import Terminal, raw
from gateway.errors import Malformed

NOON = datetime(2026, 1, 2, 12, 0, 0)


class Party:
    """Notes what it is asked to do."""

    trace_command = "/xml"

    def __init__(self):
        self.tracing = False
        self.done = []

    def type(self, to, text):
        self.done.append((to, text))

    def address(self, text):
        if "@" not in text:
            raise Malformed("no domain")
        return text

    def standing(self):
        return "you are alice"

    def leave(self):
        self.done.append("leave")

    def abandon(self):
        self.done.append("abandon")


@pytest.fixture
def party():
    return Party()


@pytest.fixture
def talk(party):
    return Conversation(party, Display(), "bob@x", now=lambda: NOON)


def test_lines_go_to_the_one_addressed(party):
    board = Keyboard(Conversation(party, Display(), "bob@x"))
    for line in (b"hello \r", b"", b"/to carol@x", b"h\xc3\xa9", b"//who"):
        board.lineReceived(line)
    assert party.done == [("bob@x", "hello"), ("carol@x", "hé"), ("carol@x", "/who")]


def test_without_an_addressee_the_way_to_name_one_is_told(party, capsys):
    talk = Conversation(party, Display())
    talk.typed("/to")
    talk.typed("hello")
    assert party.done == []
    assert "/to ADDRESS tells" in capsys.readouterr().err


def test_the_first_to_write_is_written_to(party):
    talk = Conversation(party, Display())
    talk.heard("bob@x")
    talk.heard("eve@x")
    talk.typed("hello")
    assert party.done == [("bob@x", "hello")]


def test_what_is_no_address_changes_nothing(party, talk, capsys):
    talk.typed("/to nobody")
    talk.typed("hello")
    assert party.done == [("bob@x", "hello")]
    assert capsys.readouterr().err == "nobody is no address: no domain\n"


def test_who_has_written_is_listed_the_latest_first(talk, capsys):
    for sender in ("bob@x", "eve@x", "bob@x"):
        talk.heard(sender)
    talk.typed("/who")
    assert capsys.readouterr().err.splitlines() == [
        "you are alice",
        "you write to bob@x",
        "bob@x has written 2 texts, last at 12:00:00",
        "eve@x has written 1 text, last at 12:00:00",
    ]


def test_what_is_exchanged_is_shown_or_not(party, talk, capsys):
    talk.typed("/xml")
    assert party.tracing
    talk.typed("/xml")
    assert not party.tracing
    assert capsys.readouterr().err == "/xml is on\n/xml is off\n"


def test_an_unknown_command_is_no_text(party, talk, capsys):
    talk.typed("/quiet please")
    assert party.done == []
    assert capsys.readouterr().err == "no command /quiet; /help lists them\n"


def test_help_names_every_command(talk, capsys):
    talk.typed("/help")
    told = capsys.readouterr().err
    for command in ("/to", "/who", "/xml", "/help", "/quit"):
        assert command in told


def test_the_end_of_input_is_leaving(party, talk):
    board = Keyboard(talk)
    board.lineReceived(b"/quit")
    board.connectionLost()
    assert party.done == ["leave", "leave"]


class Screen:
    """A terminal on a transport; ``drawn`` is what was written since last asked."""

    def __init__(self, party, *, to="", colours=False, columns=40):
        self.suspended = 0
        self.columns = columns
        self.terminal = Terminal(
            columns=lambda: self.columns,
            colours=colours,
            suspend=self.suspend,
            now=lambda: NOON,
        )
        self.terminal.conversation = Conversation(party, self.terminal, to)
        self.transport = StringTransport()
        self.terminal.makeConnection(self.transport)

    def suspend(self):
        self.suspended += 1

    def drawn(self):
        written = self.transport.value().decode()
        self.transport.clear()
        return written


def test_what_comes_stands_above_what_is_being_typed(party):
    screen = Screen(party, to="bob@x")
    assert screen.drawn() == "\r\x1b[Jbob@x> \r\x1b[7C"
    screen.terminal.dataReceived(b"hel")
    assert screen.drawn() == "\r\x1b[Jbob@x> hel\r\x1b[10C"
    screen.terminal.arrived("eve@x", "hi\nthere\x1b[2J")
    assert screen.drawn() == (
        "\r\x1b[J12:00:00 eve@x: hi\r\n         there\\x1b[2J\r\nbob@x> hel\r\x1b[10C"
    )
    screen.terminal.dataReceived(b"lo\r")
    assert "12:00:00 → bob@x: hello\r\nbob@x> \r" in screen.drawn()
    assert party.done == [("bob@x", "hello")]


def test_the_prompt_says_when_the_line_is_not_up(party):
    screen = Screen(party, to="bob@x")
    screen.terminal.stands("away")
    assert screen.drawn().endswith("(away) bob@x> \r\x1b[14C")
    screen.terminal.stands("")
    assert screen.drawn().endswith("\x1b[Jbob@x> \r\x1b[7C")


def test_colours_are_set_and_reset(party):
    screen = Screen(party, colours=True)
    screen.terminal.arrived("eve@x", "hi")
    assert "\x1b[2m12:00:00\x1b[0m \x1b[1;36meve@x:\x1b[0m hi\r\n" in screen.drawn()
    plain = Screen(party)
    for show in (plain.terminal.tell, plain.terminal.fault):
        show("x")
    plain.terminal.trace(True, "<a>\n<b>")
    assert "m" not in plain.drawn()


def test_a_narrow_terminal_keeps_room_to_type(party):
    screen = Screen(party, to="a-very-long-name@example.com", columns=20)
    screen.drawn()
    screen.terminal.dataReceived(b"x" * 50)
    assert screen.drawn() == "\r\x1b[J> " + "x" * 16 + "\r\x1b[18C"


def test_keys_leave_then_leave_at_once(party):
    screen = Screen(party)
    screen.terminal.dataReceived(b"\x04")
    screen.terminal.dataReceived(b"\x03")
    assert party.done == ["leave", "abandon"]


def test_it_is_suspended_and_drawn_anew(party):
    screen = Screen(party, to="bob@x")
    screen.terminal.dataReceived(b"\x1a")
    assert screen.suspended == 1
    assert screen.drawn().endswith("bob@x> \r\x1b[7C")
    screen.terminal.dataReceived(b"\x0c")
    assert "\x1b[2J" in screen.drawn()


def test_a_terminal_that_is_gone_ends_it_and_is_not_written_to(party):
    screen = Screen(party)
    screen.drawn()
    screen.terminal.connectionLost()
    screen.terminal.tell("x")
    assert party.done == ["abandon"]
    assert screen.drawn() == ""


def test_keys_come_one_by_one_and_the_terminal_is_given_back():
    master, slave = os.openpty()
    before = termios.tcgetattr(slave)
    with raw(slave):
        within = termios.tcgetattr(slave)
        os.set_blocking(slave, False)
    assert not within[3] & (termios.ICANON | termios.ECHO | termios.ISIG)
    assert before[3] & termios.ICANON
    assert termios.tcgetattr(slave) == before
    assert os.get_blocking(slave)
    os.close(master)
    os.close(slave)
