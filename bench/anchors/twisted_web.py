"""The anchor "bare twisted.web": a Site with one Resource and a constant reply.

Run as a program; prints the port it listens on. Nothing is changed from what Twisted's
own documentation shows, the access log included.
"""

from __future__ import annotations

import sys

from twisted.internet import endpoints, reactor
from twisted.python import log
from twisted.web import resource, server

REPLY = b"a" * 600


class Constant(resource.Resource):
    """Answers every POST alike."""

    isLeaf = True

    def render_POST(self, request: server.Request) -> bytes:
        """Give the constant."""
        request.setHeader(b"content-type", b"application/vnd.wv.csp.xml")
        return REPLY


def main() -> None:
    """Serve until killed."""
    log.startLogging(sys.stderr, setStdout=False)
    endpoint = endpoints.TCP4ServerEndpoint(reactor, 0, interface="127.0.0.1")
    endpoint.listen(server.Site(Constant())).addCallback(
        lambda port: print(port.getHost().port, flush=True)
    )
    reactor.run()


if __name__ == "__main__":
    main()
