"""The real third-party programs that tests run against, and where they come from.

One table serves three readers: the installer (``python -m tests.components install``),
the fixtures, and the closing table of ``make test``. Standard library only: the
installer runs before anything is installed.
"""

from __future__ import annotations

import glob
import shutil
import subprocess
from dataclasses import dataclass
from functools import cache
from pathlib import Path

HERE = Path(__file__).parent


@dataclass(frozen=True, slots=True, kw_only=True)
class Component:
    """A program that a test needs.

    ``packages`` are Debian packages; ``probes`` are program names, or glob patterns of
    files, all of which must be there for the component to be found.
    """

    name: str
    packages: tuple[str, ...]
    probes: tuple[str, ...]
    # For what takes a permission besides: a command that succeeds only with it.
    permitted: tuple[str, ...] = ()

    def found(self) -> bool:
        """Tell whether every probe is on this machine, and may be used."""
        return all(_probe(probe) for probe in self.probes) and _works(self.permitted)

    def version(self) -> str:
        """Return the version of the Debian package, or "other" for a local build."""
        if shutil.which("dpkg-query") is None:
            return "other"
        query = ["dpkg-query", "-W", "-f", "${Version}", self.packages[0]]
        answer = subprocess.run(query, capture_output=True, text=True, check=False)
        return answer.stdout or "other"


def _probe(probe: str) -> bool:
    if "/" in probe:
        return bool(glob.glob(probe))
    # sbin is not in the PATH of an ordinary user, and the programs run as well.
    return shutil.which(probe) is not None or Path("/usr/sbin", probe).exists()


@cache
def _works(command: tuple[str, ...]) -> bool:
    if not command:
        return True
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.returncode == 0 and "lo" in done.stdout


_MODULES = "/usr/lib/*/kamailio/modules"

COMPONENTS: dict[str, Component] = {
    component.name: component
    for component in (
        Component(
            name="kamailio",
            packages=(
                "kamailio",
                "kamailio-extra-modules",
                "kamailio-postgres-modules",
                "kamailio-presence-modules",
                "kamailio-tls-modules",
                "kamailio-utils-modules",
                "kamailio-xml-modules",
            ),
            probes=(
                "kamailio",
                f"{_MODULES}/db_postgres.so",
                f"{_MODULES}/msrp.so",
                f"{_MODULES}/presence.so",
                f"{_MODULES}/tls.so",
                f"{_MODULES}/xcap_server.so",
                f"{_MODULES}/xhttp.so",
            ),
        ),
        Component(name="sipp", packages=("sip-tester",), probes=("sipp",)),
        Component(name="baresip", packages=("baresip-core",), probes=("baresip",)),
        Component(name="tshark", packages=("tshark",), probes=("tshark",)),
        # Live captures on the loopback interface: root, or the right to capture.
        Component(
            name="capture",
            packages=("tshark",),
            probes=("tshark", "dumpcap"),
            permitted=("dumpcap", "-D"),
        ),
        Component(
            name="postgresql",
            packages=("postgresql-15",),
            probes=("/usr/lib/postgresql/*/bin/initdb",),
        ),
        Component(name="strace", packages=("strace",), probes=("strace",)),
        Component(name="tmux", packages=("tmux",), probes=("tmux",)),
    )
}
