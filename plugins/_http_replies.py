"""What the HTTP binding says by itself: heads of replies, refusals, redirects.

Status codes follow RFC 9110 15 and CSP transport binding 7.4 and 7.6; a reply never
carries caching headers (7.4: a redirect should not enclose them).
"""

from __future__ import annotations

from dataclasses import dataclass

from gateway.errors import Malformed, TooLarge, UnsupportedMedia

ABOUT = (
    "This is an IMPS (Wireless Village) access point: handsets POST CSP messages here."
)
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"

REASONS = {
    200: "OK",
    301: "Moved Permanently",
    307: "Temporary Redirect",
    400: "Bad Request",
    404: "Not Found",
    405: "Method Not Allowed",
    408: "Request Timeout",
    413: "Content Too Large",
    414: "URI Too Long",
    415: "Unsupported Media Type",
    417: "Expectation Failed",
    431: "Request Header Fields Too Large",
    500: "Internal Server Error",
    501: "Not Implemented",
    503: "Service Unavailable",
    505: "HTTP Version Not Supported",
}
_TEXT_TYPE = "text/plain; charset=utf-8"
_LONGEST_CAUSE = 300


@dataclass(frozen=True, slots=True)
class Refusal:
    """An answer that is not CSP: ``text`` is its one line for people.

    ``headers`` are whole header lines; ``close`` says that what follows on the
    connection can no longer be read as HTTP, or is not wanted.
    """

    status: int
    text: str
    headers: str = ""
    close: bool = False


NOT_FOUND = Refusal(404, "Nothing is served at this path.")
NOT_POST = Refusal(405, ABOUT, "Allow: POST\r\n")
INTERNAL = Refusal(500, "The gateway failed on this request.")
BUSY = Refusal(503, "No more connections are taken now.", "Retry-After: 10\r\n", True)
NO_STORE = Refusal(503, "The service is not available now.", "Retry-After: 10\r\n")
LATE_HEAD = Refusal(408, "The request did not arrive in time.", close=True)
LATE_BODY = Refusal(408, "The body did not arrive in time.", close=True)


def refusal_of(error: Malformed) -> Refusal:
    """Give the answer to a body that had no effect (CSP transport binding 7.6)."""
    text = str(error)[:_LONGEST_CAUSE] or "The body is no CSP message."
    if isinstance(error, UnsupportedMedia):
        return Refusal(415, text)
    if isinstance(error, TooLarge):
        return Refusal(413, text)
    return Refusal(400, text)


def redirect(status: int, location: str) -> Refusal:
    """Send a session's first POST elsewhere: 301 or 307 (CSP binding 7.4)."""
    return Refusal(status, location, f"Location: {location}\r\n")


def render(
    date: bytes,
    refusal: Refusal,
    *,
    connection: bytes = b"",
    with_body: bool = True,
) -> bytes:
    """Write a refusal; ``with_body`` is false in an answer to HEAD (RFC 9110 9.3.2)."""
    body = f"{refusal.text}\n".encode()
    head = (
        f"HTTP/1.1 {refusal.status} {REASONS[refusal.status]}\r\n"
        f"{refusal.headers}Content-Type: {_TEXT_TYPE}\r\n"
        f"Content-Length: {len(body)}\r\n"
    ).encode("latin-1")
    content = body if with_body else b""
    return b"%b%b%b\r\n%b" % (head, date, connection, content)
