"""The csp-http binding in front of a constant reply: what HTTP alone costs.

Run as a program; prints the port it listens on. It also tells how much the load
generator can do (semantics of the bench lines: three times the result, or the line
says ``generator-bound``).
"""

from __future__ import annotations

from types import SimpleNamespace

from twisted.internet import reactor

from gateway.igateway import Peer, Reply
from plugins.http import http

REPLY = Reply("application/vnd.wv.csp.xml", b"a" * 600)


class ConstantSap:
    """Answers every exchange alike."""

    async def exchange(self, content_type: str, body: bytes, peer: Peer) -> Reply:
        """Give the constant."""
        return REPLY

    def opens_session(self, content_type: str, body: bytes) -> bool:
        """Redirect nobody."""
        return False

    def unwritten(self, reply: Reply) -> None:
        """Nothing depends on it here."""


def main() -> None:
    """Serve until killed."""
    table = {"type": "csp-http", "endpoint": "tcp:0:interface=127.0.0.1"}
    config = http.parseConfig(table, "binding[1]")
    gateway = SimpleNamespace(sap=ConstantSap())
    service = http.makeService(reactor, config, gateway)  # type: ignore[arg-type]
    service.startService()
    [(_, port)] = service.addresses
    print(port, flush=True)
    reactor.run()


if __name__ == "__main__":
    main()
