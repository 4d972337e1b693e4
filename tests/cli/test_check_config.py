"""``check-config``: the check of the start, with every plugin, and nothing started."""

from __future__ import annotations

from pathlib import Path

import pytest

import plugins
from gateway import cli

ETC = Path(__file__).parent.parent.parent / "etc"


@pytest.mark.parametrize("name", ["gateway.toml", "demo.toml"])
def test_what_we_ship_is_ok(name, capsys):
    assert cli.main(["check-config", str(ETC / name)]) == 0
    assert capsys.readouterr().out == "ok\n"


def test_every_fault_is_a_line_that_names_the_file(tmp_path, capsys):
    file = tmp_path / "gateway.toml"
    file.write_text(
        "[gateway]\ndomian = 'example.com'\n"
        "[[binding]]\ntype = 'csp-http'\nendpoint = 'udp:1'\npaht = '/'\n"
        "[[binding]]\ntype = 'csp-htpp'\n"
    )
    assert cli.main(["check-config", str(file)]) == 1
    output = capsys.readouterr()
    assert output.out == ""
    assert [line.split(": ")[:2] for line in output.err.splitlines()] == [
        [str(file), "gateway.domain"],
        [str(file), "gateway.domian"],
        [str(file), "binding[1].endpoint"],
        [str(file), "binding[1].paht"],
        [str(file), "binding[2].type"],
    ]
    assert list(tmp_path.iterdir()) == [file]


def test_a_plugin_of_the_operator_is_found_where_the_file_says(
    tmp_path, capsys, monkeypatch
):
    monkeypatch.setattr(plugins, "__path__", list(plugins.__path__))
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "carrier_pigeon.py").write_text(
        "from zope.interface import implementer\n"
        "from twisted.plugin import IPlugin\n"
        "from gateway.configtable import Table\n"
        "from gateway.igateway import IBinding\n"
        "@implementer(IPlugin, IBinding)\n"
        "class Pigeon:\n"
        "    type = 'carrier-pigeon'\n"
        "    def parseConfig(self, table, path):\n"
        "        reader = Table(table, path)\n"
        "        birds = reader.integer('birds', 2, minimum=1)\n"
        "        reader.finish()\n"
        "        return birds\n"
        "pigeon = Pigeon()\n"
    )
    file = tmp_path / "gateway.toml"
    text = "[gateway]\ndomain = 'example.com'\nplugin_path = ['site']\n"
    file.write_text(f"{text}[[binding]]\ntype = 'carrier-pigeon'\nbirds = 0\n")
    assert cli.main(["check-config", str(file)]) == 1
    told = capsys.readouterr().err
    assert told.startswith(f"{file}: binding[1].birds: must be a whole number")
    file.write_text(f"{text}[[binding]]\ntype = 'carrier-pigeon'\nbirds = 3\n")
    assert cli.main(["check-config", str(file)]) == 0
