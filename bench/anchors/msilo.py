"""The anchor "msilo": Kamailio's store for offline users, one worker.

SQLite in WAL (its ``synchronous`` is FULL by default) where the package
kamailio-sqlite-modules is there; else, and for PostgreSQL, a database of that server.
"""

from __future__ import annotations

import contextlib
import glob
import shutil
import socket
import sqlite3
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

from bench.processes import SERVER_CPU, Server, running

_CONFIG = Path(__file__).with_name("msilo.cfg")
_SCHEMAS = Path("/usr/share/kamailio")
_VERSIONS = "CREATE TABLE version (table_name TEXT, table_version INTEGER)"
_DATABASE = "msilo"
_START = 10.0


def has_sqlite() -> bool:
    """Tell whether Kamailio can store to SQLite on this machine."""
    return bool(glob.glob("/usr/lib/*/kamailio/modules/db_sqlite.so"))


@contextlib.contextmanager
def on_sqlite(folder: Path) -> Iterator[Server]:
    """Run it over a fresh SQLite file in this folder."""
    file = folder / "msilo.db"
    link = sqlite3.connect(file)
    link.execute(_VERSIONS)
    link.executescript((_SCHEMAS / "db_sqlite" / "msilo-create.sql").read_text())
    link.close()
    wal = ["-A", f'WAL="{file}=WAL"']
    with _kamailio(folder, f"sqlite:///{file}", "db_sqlite.so", wal) as server:
        yield server


@contextlib.contextmanager
def on_postgresql(folder: Path, port: int) -> Iterator[Server]:
    """Run it over a fresh database of a PostgreSQL server on that port."""
    server = f"postgresql://test@127.0.0.1:{port}"
    _psql(f"{server}/postgres", f"CREATE DATABASE {_DATABASE}")
    schema = (_SCHEMAS / "postgres" / "msilo-create.sql").read_text()
    _psql(f"{server}/{_DATABASE}", f"{_VERSIONS};{schema}")
    url = f"postgres://test@127.0.0.1:{port}/{_DATABASE}"
    try:
        with _kamailio(folder, url, "db_postgres.so", []) as kamailio:
            yield kamailio
    finally:
        _psql(f"{server}/postgres", f"DROP DATABASE {_DATABASE} WITH (FORCE)")


def _psql(url: str, sql: str) -> None:
    command = ["psql", "-q", "-v", "ON_ERROR_STOP=1", url, "-c", sql]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)


@contextlib.contextmanager
def _kamailio(
    folder: Path, url: str, module: str, defines: list[str]
) -> Iterator[Server]:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    program = shutil.which("kamailio") or "/usr/sbin/kamailio"
    command = [program, "-DD", "-E", "-f", str(_CONFIG)]
    command += ["-w", str(folder), "-Y", str(folder), "-P", str(folder / "pid")]
    command += ["-A", f"PORT_URI=udp:127.0.0.1:{port}", "-A", f'DBURL="{url}"']
    command += ["-A", f'DBMOD="{module}"', *defines]
    # A transaction waits for repeats: at these rates more of them than its default.
    command += ["-m", "512"]
    with (
        (folder / "msilo.log").open("w") as log,
        running(command, SERVER_CPU, stdout=log, stderr=log) as process,
    ):
        worker = _worker(process.pid, port)
        if worker is None or process.poll() is not None:
            raise RuntimeError(f"no anchor:\n{(folder / 'msilo.log').read_text()}")
        yield Server(port, worker)


def _worker(parent: int, port: int) -> int | None:
    """Wait for the child that takes the datagrams; its process id."""
    end = time.monotonic() + _START
    while time.monotonic() < end:
        # Kamailio renames no process: its first child is the only worker of UDP.
        children = Path(f"/proc/{parent}/task/{parent}/children")
        with contextlib.suppress(OSError):
            found = children.read_text().split()
            if found and _bound(port):
                return int(found[0])
        time.sleep(0.05)
    return None


def _bound(port: int) -> bool:
    local = f":{port:04X} "
    return local in Path("/proc/net/udp").read_text(encoding="ascii")
