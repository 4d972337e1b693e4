"""The four roots of everything that may go wrong on purpose.

Anything else that is raised is a defect of ours: it is logged with its traceback and
answered with the protocol's own "internal error".
"""

from __future__ import annotations


class Malformed(Exception):
    """The bytes are not the protocol: HTTP 400, SIP 400, or a dropped datagram."""


class UnsupportedMedia(Malformed):
    """The media type is none that this endpoint speaks: HTTP 415."""


class TooLarge(Malformed):
    """A limit on size, depth or count was passed: HTTP 413, SIP 513."""


class Refused(Exception):
    """A request is understood and denied; the error *is* the answer.

    ``code`` is a CSP status code (``gateway/data/status-codes.csv``), ``description``
    the text shown with it, ``try_again`` the seconds after which to try again.
    """

    def __init__(
        self, code: int, description: str = "", *, try_again: int | None = None
    ) -> None:
        super().__init__(f"{code} {description}".rstrip())
        self.code = code
        self.description = description
        self.try_again = try_again


class Unreachable(Exception):
    """The next hop or the store cannot be had now; ``permanent`` says: do not retry."""

    def __init__(self, reason: str, *, permanent: bool = False) -> None:
        super().__init__(reason)
        self.permanent = permanent


class ConfigError(Exception):
    """One fault of the configuration: ``path`` is ``section.key``."""

    def __init__(self, path: str, reason: str) -> None:
        super().__init__(f"{path}: {reason}")
        self.path = path
        self.reason = reason
