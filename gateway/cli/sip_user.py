"""``imps-gateway sip-user …``: the SIP twin of the handset for the terminal.

With ``--send`` or ``--expect`` it runs an errand and its exit status tells the outcome;
without, it shows what comes and sends what is typed.
"""

from __future__ import annotations

import argparse
import os
import secrets
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.defer import TimeoutError as DeferredTimeout

from gateway.cli._display import Display
from gateway.cli._errand import add_options, password
from gateway.cli._sip_line import Line, open_line
from gateway.cli._sip_terminal import SipTerminal
from gateway.config import Core
from gateway.errors import Malformed, Unreachable
from gateway.sip.uri import Uri

SUMMARY = "a SIP user for the terminal, interactive or in one line"

_LEAVE_SECONDS: Final = 3.0


async def _call(
    reactor: Any,
    options: argparse.Namespace,
    terminal: SipTerminal,
    registered: Callable[[], None],
) -> int:
    """Talk within the time, and take the registration away whatever happened."""
    fault = terminal.display.fault
    terminal.waiting = talk = Deferred.fromCoroutine(terminal.converse(registered))
    if not terminal.errand.interactive:
        talk.addTimeout(options.timeout, reactor)
    try:
        status = await talk
    except DeferredTimeout:
        fault(f"timed out, waiting for {terminal.errand.remaining()}")
        status = 1
    except CancelledError:
        fault("left without waiting for an answer")
        return 1
    except (Unreachable, Malformed) as error:
        fault(str(error))
        if terminal.errand.interactive:
            for what in terminal.errand.unsent():
                fault(f"not sent: {what}")
        return 1
    bye = Deferred.fromCoroutine(terminal.hang_up())
    terminal.waiting = bye
    try:
        await bye.addTimeout(_LEAVE_SECONDS, reactor)
    except (DeferredTimeout, CancelledError, Unreachable, Malformed):
        fault("no answer to the de-registration")
    return status


async def _main(
    reactor: Any,
    options: argparse.Namespace,
    secret: str,
    registered: Callable[[], None],
    shown: Display,
) -> int:
    async def connect() -> Line:
        return await open_line(
            reactor, options.core, terminal.received, terminal.lost, options.ca
        )

    terminal = SipTerminal(
        aor=options.aor,
        user=options.user or Uri.parse(options.aor).user or "",
        password=secret,
        clock=reactor,
        token=lambda: secrets.token_hex(8),
        connect=connect,
        display=shown,
    )
    terminal.errand.sends = [(to, text) for to, text in options.send]
    terminal.errand.expects = options.expect
    terminal.errand.reply = options.reply
    if terminal.errand.interactive:
        from gateway.cli._reactor import seat

        seat(terminal, terminal.errand, shown, options.to)
    status = await _call(reactor, options, terminal, registered)
    terminal.close()
    await shown.finish()
    return status


def _address(text: str) -> str:
    try:
        uri = Uri.parse(text)
    except Malformed as error:
        raise argparse.ArgumentTypeError(str(error)) from None
    if uri.scheme not in ("sip", "sips") or not uri.user:
        raise argparse.ArgumentTypeError(f"{text} is not sip:USER@DOMAIN")
    return text


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="imps-gateway sip-user", description=SUMMARY, allow_abbrev=False
    )
    parser.add_argument(
        "--core",
        type=Core.parse,
        required=True,
        help="such as 'sip:127.0.0.1:5060;transport=tcp'; without it, udp",
    )
    parser.add_argument(
        "--aor", type=_address, required=True, help="such as sip:bob@example.com"
    )
    parser.add_argument("--user", help="the Digest user (default: that of --aor)")
    parser.add_argument("--to", default="", help="to whom typed texts go")
    parser.add_argument(
        "--send",
        nargs=2,
        metavar=("ADDRESS", "TEXT"),
        action="append",
        default=[],
        help="send TEXT (may be repeated)",
    )
    add_options(parser)
    parser.add_argument(
        "--ca", type=Path, metavar="FILE", help="certificate to trust, in PEM"
    )
    parser.add_argument(
        "--background",
        action="store_true",
        help="go on in the background as soon as the registration stands",
    )
    return parser


def run(arguments: list[str]) -> int:
    """Run the SIP user; 0 when the errand was done or the user left.

    With ``--background``, 0 when it registered and goes on as a process of its own.
    """
    parser = _parser()
    options = parser.parse_args(arguments)
    secret = password(options.password)
    if secret is None:
        parser.error("--password is needed where no terminal can be asked")
    if not options.background:
        return _converse(options, secret, lambda: None)
    if not (options.send or options.expect):
        parser.error("--background needs --send or --expect")
    reading, writing = os.pipe()
    if os.fork():
        os.close(writing)
        with os.fdopen(reading, "rb") as registered:
            return 0 if registered.read(1) else 1
    # The child. It forked before there was a reactor, which does not survive that.
    os.close(reading)
    return _converse(options, secret, lambda: _tell_parent(writing))


def _tell_parent(writing: int) -> None:
    os.write(writing, b"1")
    os.close(writing)


def _converse(
    options: argparse.Namespace, secret: str, registered: Callable[[], None]
) -> int:
    # The reactor is chosen here and nowhere earlier.
    from gateway.cli._reactor import display, react

    with display(not (options.send or options.expect)) as shown:
        return react(lambda reactor: _main(reactor, options, secret, registered, shown))
