"""``imps-gateway subscriber`` and ``store``, as an operator types them."""

from __future__ import annotations

import io
import sqlite3
import sys

import pytest

from gateway import cli
from gateway.cli import _subscriber_csv as sheets
from gateway.store.secrets import FILE

ALICE = ["--user-id", "wv:Alice@example.com", "--password", "P1"]


class Operator:
    """Types commands on one configuration and sees what they print."""

    def __init__(self, folder, capsys, monkeypatch):
        self.folder, self.capsys, self.monkeypatch = folder, capsys, monkeypatch
        self.file = folder / "gateway.toml"
        self.file.write_text('[gateway]\ndomain = "example.com"\n')

    def __call__(self, command, *arguments, group="subscriber", stdin=""):
        """Run a command; return its exit status, its output and its complaints."""
        data = io.TextIOWrapper(io.BytesIO(stdin.encode()), encoding="utf-8")
        self.monkeypatch.setattr(sys, "stdin", data)
        config = ["--config", str(self.file)]
        status = cli.main([group, command, *config, *map(str, arguments)])
        return status, *self.capsys.readouterr()

    def write(self, text):
        """Write a CSV file; return its path."""
        path = self.folder / "new.csv"
        path.write_text(text, encoding="utf-8")
        return path


@pytest.fixture
def operator(tmp_path, capsys, monkeypatch):
    return Operator(tmp_path, capsys, monkeypatch)


def test_a_subscriber_is_added_and_shown_without_passwords(operator):
    given = ["--aor", "sip:Alice@example.com;transport=udp", "--sip-user", "a"]
    given += ["--sip-password", "P2", "--msisdn", "+358 40 1234567"]
    assert operator("add", *ALICE, *given) == (0, "", "")
    shown = (
        "user-id      wv:alice@example.com\n"
        "aor          sip:alice@example.com\n"
        "msisdn       +358401234567\n"
        "password     set\n"
        "sip-user     a\n"
        "sip-password set\n"
        "enabled      yes\n"
    )
    for name in ("wv:ALICE@example.com", "alice", "sip:alice@EXAMPLE.com"):
        assert operator("show", name) == (0, shown, "")
    assert operator("show", "+358401234567") == (0, shown, "")
    line = "wv:alice@example.com\tsip:alice@example.com\t+358401234567\tenabled\n"
    assert operator("list") == (0, line, "")


def test_the_aor_follows_from_the_user_id(operator):
    operator("add", *ALICE)
    assert "sip:alice@example.com\n" in operator("show", "alice")[1]


def test_a_subscriber_is_there_once(operator):
    operator("add", *ALICE)
    status, _, complaint = operator("add", *ALICE)
    assert status == 1
    assert "user-id: wv:alice@example.com is another subscriber's" in complaint


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--user-id", "wv:a@other.org"], "user-id: the domain is not example.com"),
        (["--user-id", "wv:/list@example.com"], "user-id: this is no user's address"),
        (["--user-id", "wv:a b@example.com", "--aor", "x"], "aor: not a URI"),
        (["--user-id", "wv:\udcff"], "user-id: it holds a control character"),
        (["--user-id", "wv:a", "--msisdn", "12"], "msisdn: a mobile number is +"),
        (["--user-id", "wv:a", "--sip-password", "a\nb"], "sip-password: it holds a"),
        (["--user-id", "wv:a", "--sip-user", "u" * 513], "sip-user: it is longer"),
    ],
)
def test_a_fault_names_its_field(operator, arguments, complaint):
    status, _, text = operator("add", "--password", "hush", *arguments)
    assert status == 1
    assert text.startswith(f"imps-gateway subscriber: {complaint}")
    assert "hush" not in text
    assert operator("list")[1] == ""


def test_a_password_is_read_from_standard_input(operator):
    both = ["--user-id", "wv:bob", "--password", "-", "--sip-password", "-"]
    assert operator("add", *both, stdin="one two\nthree\n")[0] == 0
    assert (
        "wv:bob@example.com,one two,sip:bob@example.com,,three,,yes\n"
        in operator("export")[1]
    )
    status, _, complaint = operator("set", "bob", "--password", "-", stdin="")
    assert (status, complaint) == (
        1,
        "imps-gateway subscriber: the password is empty\n",
    )


def test_only_what_is_given_changes(operator):
    operator("add", *ALICE, "--sip-user", "a", "--msisdn", "+358401234567")
    assert operator("set", "alice", "--msisdn", "", "--enabled", "no")[0] == 0
    line = "wv:alice@example.com,P1,sip:alice@example.com,a,,,no\n"
    assert operator("export")[1].endswith(line)
    assert operator("set", "+999", "--enabled", "no")[0] == 1
    assert operator("set", "nobody", "--enabled", "no")[2].endswith(
        "no subscriber nobody\n"
    )


def test_a_subscriber_is_removed(operator):
    operator("add", *ALICE)
    assert operator("remove", "alice") == (0, "", "")
    assert operator("remove", "alice")[0] == 1
    assert operator("list") == (0, "", "")


def test_an_export_is_imported_as_it_was(operator):
    operator("add", *ALICE, "--sip-user", 'a "quoted", name', "--msisdn", "+358401234")
    operator("add", "--user-id", "wv:bøb", "--password", " ü,\t".strip() + " ")
    file = operator.folder / "all.csv"
    assert operator("export", file)[0] == 0
    assert file.stat().st_mode & 0o777 == 0o600
    before = operator("export")[1]
    for name in ("alice", "bøb"):
        operator("remove", name)
    assert operator("import", file) == (0, "2 subscribers imported\n", "")
    assert operator("export")[1] == before
    assert operator("import", "-", stdin=before)[0] == 1
    assert operator("import", "-", "--replace", stdin=before)[0] == 0


def test_each_bad_line_is_named_and_nothing_imported(operator):
    operator("add", *ALICE)
    rows = [
        "user_id,Password,msisdn",
        "wv:bob,p,+3584012345",
        "wv:carol@other.org,hush,",
        '"two\nlines",hush,',
        "wv:bob,p,",
        "wv:dave,hush",
        "",
        '"x"y,hush,',
        "wv:eve,,",
        "wv:alice,p,",
        "wv:frank,p,+358 40-12345",
    ]
    file = operator.write("\n".join(rows) + "\n")
    status, output, complaints = operator("import", file)
    assert (status, output) == (1, "")
    assert complaints.replace(str(file), "F").splitlines() == [
        "F:3: user-id: the domain is not example.com",
        "F:4: user-id: it holds a control character",
        "F:6: aor: sip:bob@example.com is also on line 2",
        "F:6: user-id: wv:bob@example.com is also on line 2",
        "F:7: 2 columns where 3 are named",
        "F:9: ',' expected after '\"'",
        "F:10: password: it is empty",
        "F:11: aor: sip:alice@example.com is another subscriber's",
        "F:11: user-id: wv:alice@example.com is another subscriber's",
        "F:12: msisdn: +3584012345 is also on line 2",
        "nothing was imported; 10 faults",
    ]
    assert operator("list")[1].count("\n") == 1


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", ":1: the file is empty; its first line names the columns"),
        ("user-id,pasword\n", ":1: no column 'pasword'; the nearest known name is"),
        ("user-id,msisdn\nwv:a,\n", ":1: the column password is missing"),
        ("user-id,password,password\n", ":1: a column is named twice"),
        ('"user-id\n', ":1: unexpected end of data"),
    ],
)
def test_the_columns_must_be_known(operator, text, complaint):
    status, _, complaints = operator("import", operator.write(text))
    assert status == 1
    assert complaint in complaints


def test_a_line_that_is_not_utf_8_is_named(operator):
    file = operator.write("")
    file.write_bytes(b"user-id,password\nwv:a,b\nwv:b\xff,c\n")
    assert f"{file}:3: this is not UTF-8" in operator("import", file)[2]


def test_a_dry_run_checks_all_and_writes_nothing(operator):
    file = operator.write("user-id,password\nwv:a,p\nwv:b,p\n")
    done = (0, "2 subscribers would be imported\n", "")
    assert operator("import", file, "--dry-run") == done
    assert operator("list")[1] == ""
    operator("import", file)
    status, _, complaints = operator("import", file, "--dry-run")
    assert status == 1
    assert complaints.count("is another subscriber's") == 4


def test_a_file_that_is_not_there_is_named(operator):
    missing = operator.folder / "missing.csv"
    assert operator("import", missing)[2].endswith("No such file or directory\n")
    nowhere = operator.folder / "no" / "where.csv"
    assert operator("export", nowhere)[2].endswith("No such file or directory\n")


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_a_terminal_sees_a_bar():
    terminal = Terminal()
    draw = sheets.progress(terminal)
    draw(1, 4)
    draw(4, 4)
    first, last = terminal.getvalue().split("\r")[1:]
    assert first == f"[{'#' * 10}{'.' * 30}] 1/4 lines"
    assert last == f"[{'#' * 40}] 4/4 lines\n"
    sheets.progress(quiet := io.StringIO())(1, 4)
    assert quiet.getvalue() == ""


def test_many_lines_are_imported(operator):
    lines = [f"wv:u{n},p{n},+35840{n:07}" for n in range(5000)]
    file = operator.write("\n".join(["user-id,password,msisdn", *lines]))
    assert operator("import", file)[1] == "5000 subscribers imported\n"
    assert "+358400004999" in operator("show", "u4999")[1]
    assert operator("list")[1].count("\n") == 5000


def test_the_key_is_made_by_whichever_command_comes_first(operator):
    operator("list")
    assert (operator.folder / "var" / FILE).stat().st_mode & 0o777 == 0o600
    assert (operator.folder / "var" / "gateway.db").stat().st_mode & 0o777 == 0o600


def test_a_fault_of_the_configuration_ends_a_command(operator):
    operator.file.write_text("[gateway]\n")
    status, _, complaint = operator("list")
    assert status == 1
    assert "gateway.domain" in complaint


def test_a_store_that_is_away_ends_a_command(operator):
    operator.file.write_text(
        '[gateway]\ndomain = "example.com"\n'
        '[store]\nurl = "postgresql://u:hush@127.0.0.1:1/x"\n'
    )
    for group, command in (("subscriber", "list"), ("store", "migrate")):
        status, _, complaint = operator(command, group=group)
        assert status == 1
        assert complaint.startswith(f"imps-gateway {group}: the store is down")
        assert "hush" not in complaint


def test_migrate_makes_the_schema_and_says_so(operator):
    made = operator("migrate", group="store")
    assert made == (0, "the schema is 0001 now; it was empty\n", "")
    again = operator("migrate", group="store")
    assert again == (0, "the schema is up to date: 0001\n", "")


def test_a_later_schema_is_left_alone(operator):
    operator("migrate", group="store")
    connection = sqlite3.connect(operator.folder / "var" / "gateway.db")
    connection.execute("UPDATE alembic_version SET version_num = '9999'")
    connection.commit()
    connection.close()
    assert "later release" in operator("migrate", group="store")[2]
    assert "later release" in operator("list")[2]
