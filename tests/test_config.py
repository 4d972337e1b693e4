"""The configuration: what operators may write, and what they are told."""

from __future__ import annotations

import ipaddress
import math
import tomllib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.config import (
    Config,
    ConfigFaults,
    Core,
    Endpoint,
    Table,
    changes,
    duration,
    load,
    parse,
    plugin_path,
    size,
)
from gateway.errors import ConfigError
from plugins.http import http

ETC = Path(__file__).parent.parent / "etc"
MINIMAL = {"gateway": {"domain": "example.com"}}


class Checker:
    """A binding plugin's check: one required key."""

    def parseConfig(self, table, path):
        reader = Table(table, path)
        found = reader.endpoint("endpoint"), reader.string("path", "/csp")
        reader.finish()
        return found


def minimal(**sections) -> Config:
    document = {"gateway": {"domain": "example.com"}} | sections
    return parse(document, Path("/etc/imps/gateway.toml"))


def faults(checkers=None, **sections) -> list[str]:
    document = {"gateway": {"domain": "example.com"}} | sections
    with pytest.raises(ConfigFaults) as caught:
        parse(document, Path("/etc/imps/gateway.toml"), checkers)
    return [str(fault) for fault in caught.value.faults]


def without_path(found: Config) -> dict:
    sections = "gateway store sip session offline limits log bindings".split()
    return {name: getattr(found, name) for name in sections}


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("turn", 0),
        ("turn", "1h"),
        ("requests", 0),
        ("writes", 20_000),  # the store itself takes no more
        ("session_requests", 0),
        ("session_bytes", 0),
        ("session_burst", -1),
        ("registrations", 0),
        ("registration", 100),
    ],
)
def test_limits_that_would_stop_everything_are_faults(key, value):
    [fault] = faults(limits={key: value})
    assert fault.startswith(f"limits.{key}: ")


def test_a_change_of_a_limit_is_named():
    assert changes(minimal(), minimal(limits={"turn": 0.2})) == ("limits.turn",)


def test_the_sample_holds_every_default():
    sample = load(ETC / "gateway.toml", {"csp-http": http})
    defaults = parse(MINIMAL, ETC / "other.toml", {"csp-http": http})
    assert without_path(sample) == without_path(defaults)


def test_the_sample_names_every_key(monkeypatch):
    tables = []
    finish = Table.finish

    def remember(table: Table) -> None:
        tables.append(table)
        finish(table)

    monkeypatch.setattr(Table, "finish", remember)
    load(ETC / "gateway.toml", {"csp-http": http})
    for table in tables:
        assert set(table._known) == set(table._mapping)
    document = tomllib.loads((ETC / "gateway.toml").read_text())
    assert {table._path.split("[")[0] for table in tables} == set(document)


def test_every_key_of_the_sample_has_its_comment():
    lines = (ETC / "gateway.toml").read_text().splitlines()
    keys = [line for line in lines if " = " in line and not line.startswith("#")]
    assert keys
    assert [line for line in keys if "  #" not in line] == []


def test_the_demo_runs_the_embedded_core_on_loopback():
    demo = load(ETC / "demo.toml")
    assert demo.sip.embedded
    assert demo.sip.core == ()
    assert {endpoint.interface for endpoint in demo.sip.listen} == {"127.0.0.1"}
    assert demo.store.url == f"sqlite:///{ETC}/../var/demo.db"
    assert demo.gateway.state_dir == ETC / "../var"


def test_every_fault_is_named_at_once(tmp_path):
    file = tmp_path / "bad.toml"
    file.write_text(
        "[gateway]\ndomian = 'example.com'\nhold = '8y'\n"
        "[sip]\ncore = ['embedded', 'sip:127.0.0.1']\n"
        "[sessoin]\n[[binding]]\ntype = 'csp-htp'\n"
    )
    with pytest.raises(ConfigFaults) as caught:
        load(file, {"csp-http": Checker()})
    assert str(caught.value).splitlines() == [
        f"{file}: gateway.domain: is required: the domain of the handsets, such as "
        "'example.com'",
        f"{file}: gateway.hold: must be a duration from 0 to 60 s such as 8, '90s' or "
        "'7d', not '8y'",
        f"{file}: gateway.domian: unknown key; the nearest known name is 'domain'",
        f"{file}: sip.core: must be 'embedded' alone, or at least one SIP URI",
        f"{file}: binding[1].type: no such binding; the nearest known name is "
        "'csp-http'",
        f"{file}: sessoin: unknown section; the nearest known name is 'session'",
    ]


@pytest.mark.parametrize(
    ("section", "values", "key"),
    [
        ("gateway", {"domain": "a b"}, "gateway.domain"),
        ("gateway", {"domain": 5}, "gateway.domain"),
        ("gateway", {"domain": "x.org", "url": "ftp://x.org/"}, "gateway.url"),
        ("gateway", {"domain": "x.org", "hold": 61}, "gateway.hold"),
        ("gateway", {"domain": "x.org", "state_dir": ""}, "gateway.state_dir"),
        ("gateway", {"domain": "x.org", "plugin_path": [1]}, "gateway.plugin_path"),
        ("store", {"url": "mysql://root:hush@db/x"}, "store.url"),
        ("store", {"url": "sqlite:///"}, "store.url"),
        ("store", {"url": 5}, "store.url"),
        ("sip", {"listen": []}, "sip.listen"),
        ("sip", {"listen": ["sctp:5060"]}, "sip.listen"),
        ("sip", {"listen": ["udp:five"]}, "sip.listen"),
        ("sip", {"listen": ["ssl:5061"]}, "sip.listen"),
        ("sip", {"listen": ["ssl:5061:privateKey=/no/such.pem"]}, "sip.listen"),
        ("sip", {"listen": 5060}, "sip.listen"),
        ("sip", {"core": []}, "sip.core"),
        ("sip", {"core": "127.0.0.1:5060"}, "sip.core"),
        ("sip", {"core": "sip:h;transport=sctp"}, "sip.core"),
        ("sip", {"core": "sip:h:99999"}, "sip.core"),
        ("sip", {"core": "sips:h;transport=udp"}, "sip.core"),
        ("sip", {"trusted": ["10.0.0.0/33"]}, "sip.trusted"),
        ("sip", {"trusted": [10]}, "sip.trusted"),
        ("sip", {"expires": 5}, "sip.expires"),
        ("session", {"keep_alive": 30}, "session.keep_alive"),
        ("session", {"keep_alive": 90.5}, "session.keep_alive"),
        ("session", {"keep_alive_min": 900, "keep_alive_max": 800}, None),
        ("session", {"per_user": 0}, "session.per_user"),
        ("session", {"per_user": True}, "session.per_user"),
        ("session", {"re_establish": "yes"}, "session.re_establish"),
        ("offline", {"max_bytes": "2 MB1"}, "offline.max_bytes"),
        ("offline", {"max_messages": -1}, "offline.max_messages"),
        ("offline", {"default_age": "8d"}, "offline.default_age"),
        ("offline", {"max_size": "3MiB"}, "offline.max_size"),
        ("log", {"level": "loud"}, "log.level"),
    ],
)
def test_a_faulty_value_is_named_by_its_key(section, values, key):
    found = faults(**{section: values})
    assert len(found) == 1
    assert found[0].startswith(f"{key or 'session.keep_alive_min'}: ")
    assert "hush" not in found[0]


@pytest.mark.parametrize("value", [5, "x", [1]])
def test_a_section_must_be_a_table(value):
    assert faults(sip=value) == ["sip: must be a table: [sip]"]
    assert faults(binding=value)[0].startswith("binding: must be a list of tables")


def test_a_default_gives_way_to_the_limit_that_was_set():
    offline = minimal(offline={"max_age": "1d", "max_bytes": "100KiB"}).offline
    assert offline.default_age == 86400
    assert offline.max_size == 102400
    assert minimal(session={"keep_alive_max": "5m"}).session.keep_alive == 300
    assert minimal(session={"keep_alive_min": "1h"}).session.keep_alive == 3600


def test_relative_paths_are_relative_to_the_file():
    found = minimal()
    assert found.gateway.state_dir == Path("/etc/imps/var")
    assert found.store.url == "sqlite:////etc/imps/var/gateway.db"
    assert minimal(store={"url": "sqlite:////srv/x.db"}).store.url == (
        "sqlite:////srv/x.db"
    )
    assert minimal(store={"url": "sqlite:///:memory:"}).store.url == (
        "sqlite:///:memory:"
    )
    database = "postgresql://imps:hush@db/imps"
    assert minimal(store={"url": database}).store.url == database


def test_a_password_in_the_store_url_is_never_shown():
    found = minimal(store={"url": "postgresql://imps:hush@db/imps"})
    assert "hush" not in repr(found)
    assert "hush" not in faults(store={"url": "postgres://imps:hush@db/x"})[0]


def test_domains_are_folded_and_sip_follows_the_gateway():
    found = parse({"gateway": {"domain": "Example.COM"}}, Path("/x.toml"))
    assert found.gateway.domain == found.sip.domain == "example.com"
    assert minimal(sip={"domain": "SIP.example.com"}).sip.domain == "sip.example.com"


def test_the_core_is_one_address_or_several_or_embedded():
    assert minimal().sip.core == (Core("udp", "127.0.0.1", 5060),)
    written = ["sip:a.example.com", "sip:[::1]:5070;transport=tcp", "sips:c"]
    found = minimal(sip={"core": written}).sip
    assert found.core == (
        Core("udp", "a.example.com", 5060),
        Core("tcp", "::1", 5070),
        Core("tls", "c", 5061),
    )
    assert [Core.parse(str(core)) for core in found.core] == list(found.core)
    assert minimal(sip={"core": "embedded"}).sip.embedded


def test_trusted_peers_are_networks():
    found = minimal(sip={"trusted": ["10.1.2.3/8", "::1"]}).sip.trusted
    assert found == (ipaddress.ip_network("10.0.0.0/8"), ipaddress.ip_network("::1"))


def test_endpoints_take_colons_quoted_and_files_from_the_base():
    found = Endpoint.parse(r"udp:5060:interface=\:\:1")
    assert (found.kind, found.port, found.interface) == ("udp", 5060, "::1")
    assert str(found) == r"udp:5060:interface=\:\:1"
    assert found.transport == "udp"
    tls = Endpoint.parse("ssl:5061:privateKey=key.pem:certKey=/c.pem", Path("/etc"))
    assert tls.text == "ssl:5061:privateKey=/etc/key.pem:certKey=/c.pem"
    assert tls.transport == "tls"
    assert Endpoint.parse("tcp:port=80").port == 80
    assert Endpoint.parse("unix:/run/imps.sock").port == 0


@pytest.mark.parametrize(
    ("text", "seconds"),
    [(5, 5), (0.5, 0.5), ("90s", 90), ("1.5m", 90), ("2h", 7200), ("1w", 604800)],
)
def test_durations_are_seconds_or_a_number_with_a_unit(text, seconds):
    assert duration(text) == seconds


@pytest.mark.parametrize(
    "text", ["", "5", "s", "-5s", "5y", None, True, [5], math.inf, math.nan]
)
def test_other_durations_are_refused(text):
    with pytest.raises(ValueError, match="seconds"):
        duration(text)


@pytest.mark.parametrize(
    ("text", "octets"),
    [(5, 5), ("5", 5), ("5B", 5), ("3kB", 3000), ("2KiB", 2048), ("2MiB", 2097152)],
)
def test_sizes_are_bytes_or_a_number_with_a_unit(text, octets):
    assert size(text) == octets


@pytest.mark.parametrize("text", ["", "KiB", "-5", "1.5MB", "5XB", None, True, 1.5])
def test_other_sizes_are_refused(text):
    with pytest.raises(ValueError, match="bytes"):
        size(text)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"[gateway\n", "TOML: Expected"),
        (b"domain = '\xff'\n", "file: is not UTF-8"),
        (None, "file: cannot be read: No such file or directory"),
    ],
)
def test_a_file_that_is_no_toml_is_one_fault(tmp_path, content, reason):
    file = tmp_path / "gateway.toml"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(ConfigFaults, match=reason) as caught:
        load(file)
    assert str(caught.value).startswith(f"{file}: ")
    assert len(caught.value.faults) == 1


def test_each_binding_is_checked_by_its_plugin_with_absolute_paths(tmp_path):
    (tmp_path / "key.pem").write_text("")
    document = MINIMAL | {
        "binding": [
            {"type": "csp-http", "endpoint": "tcp:0"},
            {"type": "csp-http", "endpoint": "ssl:0:privateKey=key.pem", "path": "/"},
        ]
    }
    found = parse(document, tmp_path / "x.toml", {"csp-http": Checker()})
    plain, secure = (binding.settings for binding in found.bindings)
    assert plain == (Endpoint.parse("tcp:0"), "/csp")
    assert secure[0].text == f"ssl:0:privateKey={tmp_path}/key.pem"


def test_faults_of_bindings_carry_their_place_in_the_file():
    found = faults(
        {"csp-http": Checker()},
        binding=[
            {"type": "csp-http", "endpoint": "tcp:0"},
            {"type": "csp-http", "endpont": "tcp:0", "path": 5},
            {"endpoint": "tcp:0"},
        ],
    )
    assert [fault.split(":")[0] for fault in found] == [
        "binding[2].endpoint",
        "binding[2].path",
        "binding[2].endpont",
        "binding[3].type",
    ]
    assert found[2].endswith("unknown key; the nearest known name is 'endpoint'")


def test_a_plugin_may_raise_a_single_fault():
    class Broken:
        def parseConfig(self, table, path):
            raise ConfigError(f"{path}.endpoint", "is in use")

    tables = [{"type": "csp-http"}]
    assert faults({"csp-http": Broken()}, binding=tables) == [
        "binding[1].endpoint: is in use"
    ]


def test_without_checkers_bindings_stay_tables():
    assert minimal(binding=[]).bindings == ()
    (binding,) = minimal(binding=[{"type": "csp-wsp", "key_file": "k"}]).bindings
    assert binding.settings == {"type": "csp-wsp", "key_file": "/etc/imps/k"}


def test_passwords_are_not_repeated_in_faults():
    table = Table({"password": "hush", "rate": "fast"}, "smsc[1]")
    table.string("password", "", pattern="[0-9]+", allowed="digits")
    table.integer("rate", 5, minimum=1, maximum=9)
    with pytest.raises(ConfigFaults) as caught:
        table.finish()
    assert str(caught.value).splitlines() == [
        "smsc[1].password: must be digits",
        "smsc[1].rate: must be a whole number from 1 to 9, not 'fast'",
    ]


def test_tables_read_choices_and_numbers():
    table = Table({"minimum_tls": "1.2", "redirect_status": 307, "on": True}, "t")
    assert table.choice("minimum_tls", "1.3", ("1.2", "1.3")) == "1.2"
    assert table.number_choice("redirect_status", 301, (301, 307)) == 307
    assert table.boolean("on", False) is True
    assert "minimum_tls" in table
    table.finish()
    table = Table({"minimum_tls": 1.2, "redirect_status": 302}, "t")
    assert table.choice("minimum_tls", "1.3", ("1.2", "1.3")) == "1.3"
    assert table.number_choice("redirect_status", 301, (301, 307)) == 301
    with pytest.raises(ConfigFaults, match="one of '1.2', '1.3', not 1.2"):
        table.finish()


def test_changes_name_the_keys_that_differ():
    old = minimal()
    new = minimal(
        offline={"max_messages": 9},
        log={"level": "debug"},
        binding=[{"type": "csp-http"}, {"type": "cir-tcp"}],
    )
    assert changes(old, old) == ()
    assert changes(old, new) == (
        "offline.max_messages",
        "log.level",
        "binding[1]",
        "binding[2]",
    )


def test_plugin_folders_are_known_before_the_plugins(tmp_path):
    file = tmp_path / "gateway.toml"
    file.write_text("[gateway]\nplugin_path = ['site']\n[sip]\nlisten = 5\n")
    assert plugin_path(file) == (tmp_path / "site",)
    file.write_text("[gateway")
    assert plugin_path(file) == ()
    assert plugin_path(tmp_path / "absent.toml") == ()


SAMPLE = tomllib.loads((ETC / "gateway.toml").read_text())
KEYS = [
    (section, key)
    for section, table in SAMPLE.items()
    for key in [*(table[0] if section == "binding" else table), "other"]
]
PLAIN = (
    st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=20)
    | st.sampled_from(["udp:5060", "sip:127.0.0.1", "embedded", "7d", "2MiB", "::1"])
)
VALUES: st.SearchStrategy[Any] = (
    PLAIN | st.lists(PLAIN, max_size=3) | st.just({"a": {}})
)


@settings(deadline=None)
@given(st.dictionaries(st.sampled_from(KEYS), VALUES, max_size=5))
def test_whatever_is_written_is_taken_or_told(written):
    document: dict[str, Any] = {"gateway": {"domain": "example.com"}}
    for (section, key), value in written.items():
        document.setdefault(section, {})[key] = value
    if "binding" in document:
        document["binding"] = [{"type": "csp-http"} | document["binding"]]
    try:
        found = parse(document, Path("/etc/imps/gateway.toml"), {"csp-http": http})
    except ConfigFaults as refused:
        named = {str(fault).split(":")[0] for fault in refused.faults}
        assert named
        # A fault lies with a key that was written, or with the limit beside it.
        sections = {name.split(".")[0].split("[")[0] for name in named}
        assert sections <= {section for section, _ in written}
    else:
        assert isinstance(found, Config)
