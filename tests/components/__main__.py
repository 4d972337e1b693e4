"""``python -m tests.components install``: bring in the Debian packages that lack.

It does nothing where all are found, and only says what is absent where the user is not
root or has no apt-get: the tests then name each one.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys

from tests.components import COMPONENTS


def install() -> int:
    """Install the packages of every absent component; return the exit status."""
    absent = [c for c in COMPONENTS.values() if not c.found()]
    if not absent:
        return 0
    packages = [package for component in absent for package in component.packages]
    if os.geteuid() != 0 or shutil.which("apt-get") is None:
        print(f"absent: apt-get install {' '.join(packages)}", file=sys.stderr)
        return 0
    quiet = ["-y", "-qq", "-o", "Dpkg::Use-Pty=0", "--no-install-recommends"]
    # At run level 1 the packages start none of their services.
    environment = {
        **os.environ,
        "DEBIAN_FRONTEND": "noninteractive",
        "RUNLEVEL": "1",
    }
    for command in (
        ["apt-get", "update", "-qq"],
        ["apt-get", "install", *quiet, *packages],
    ):
        print(" ".join(command), flush=True)
        done = subprocess.run(
            command, env=environment, stdout=subprocess.DEVNULL, check=False
        )
        if done.returncode:
            return done.returncode
    return 0


if __name__ == "__main__":
    if sys.argv[1:] != ["install"]:
        sys.exit("usage: python -m tests.components install")
    sys.exit(install())
