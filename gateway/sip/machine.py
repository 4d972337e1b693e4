"""The rules of SIP transactions: states, what happens to them, what is done then.

RFC 3261 17.1.1 (INVITE client), 17.1.2 (client), 17.2.1 (INVITE server), 17.2.2
(server), with the Accepted state of RFC 6026. Everything that decides how a
transaction goes on stands in this file; ``transaction`` carries it out. What a table
does not list is ignored in that state, as the RFC wants.

Timer K has no state here: it only absorbs repeated final responses, and a response
that matches no transaction is dropped anyway. Instead of Timer E or A alone, each
transaction has one clock that ticks at their intervals and ends at B, F or H.
"""

from __future__ import annotations

from enum import IntEnum, auto
from typing import Final


class Kind(IntEnum):
    """Which of the four machines a transaction runs."""

    CLIENT = auto()
    INVITE_CLIENT = auto()
    SERVER = auto()
    INVITE_SERVER = auto()


class State(IntEnum):
    """The states of all four, by the names of the RFC."""

    CALLING = auto()
    TRYING = auto()
    PROCEEDING = auto()
    COMPLETED = auto()
    CONFIRMED = auto()
    ACCEPTED = auto()
    TERMINATED = auto()


class Input(IntEnum):
    """What can happen: a response (received or to be sent), a request, a timer."""

    PROVISIONAL = auto()
    SUCCESS = auto()
    FAILURE = auto()
    REPEATED = auto()  # the request came again
    ACK = auto()
    TICK = auto()  # timers A, E, G
    EXPIRED = auto()  # timers B, F, H
    LINGERED = auto()  # timers D, I, J, L, M
    BROKEN = auto()  # the transport failed


class Action(IntEnum):
    """What is then done, in the order of the table."""

    TELL = auto()  # hand the response to the user
    TELL_ACK = auto()
    TELL_TIMEOUT = auto()
    TELL_BROKEN = auto()
    SEND = auto()  # the request, or the last response, once more or first
    SEND_ACK = auto()
    GUARD = auto()  # timers G and H
    QUIET = auto()  # no more ticks
    LINGER = auto()  # timers D, I, J, L, M


Rules = dict[State, dict[Input, tuple[State, tuple[Action, ...]]]]

_S, _I, _A = State, Input, Action

_CLIENT_PENDING: Final = {
    _I.PROVISIONAL: (_S.PROCEEDING, (_A.TELL,)),
    _I.SUCCESS: (_S.TERMINATED, (_A.TELL,)),
    _I.FAILURE: (_S.TERMINATED, (_A.TELL,)),
    _I.EXPIRED: (_S.TERMINATED, (_A.TELL_TIMEOUT,)),
    _I.BROKEN: (_S.TERMINATED, (_A.TELL_BROKEN,)),
}
_CLIENT: Final[Rules] = {
    _S.TRYING: {**_CLIENT_PENDING, _I.TICK: (_S.TRYING, (_A.SEND,))},
    _S.PROCEEDING: {**_CLIENT_PENDING, _I.TICK: (_S.PROCEEDING, (_A.SEND,))},
}

_INVITE_CLIENT_PENDING: Final = {
    _I.PROVISIONAL: (_S.PROCEEDING, (_A.QUIET, _A.TELL)),
    _I.SUCCESS: (_S.ACCEPTED, (_A.TELL, _A.LINGER)),
    _I.FAILURE: (_S.COMPLETED, (_A.SEND_ACK, _A.TELL, _A.LINGER)),
    _I.BROKEN: (_S.TERMINATED, (_A.TELL_BROKEN,)),
}
_INVITE_CLIENT: Final[Rules] = {
    _S.CALLING: {
        **_INVITE_CLIENT_PENDING,
        _I.TICK: (_S.CALLING, (_A.SEND,)),
        _I.EXPIRED: (_S.TERMINATED, (_A.TELL_TIMEOUT,)),
    },
    _S.PROCEEDING: _INVITE_CLIENT_PENDING,
    _S.COMPLETED: {
        _I.FAILURE: (_S.COMPLETED, (_A.SEND_ACK,)),
        _I.LINGERED: (_S.TERMINATED, ()),
    },
    _S.ACCEPTED: {
        _I.SUCCESS: (_S.ACCEPTED, (_A.TELL,)),
        _I.LINGERED: (_S.TERMINATED, ()),
    },
}

_SERVER_PENDING: Final = {
    _I.PROVISIONAL: (_S.PROCEEDING, (_A.SEND,)),
    _I.SUCCESS: (_S.COMPLETED, (_A.SEND, _A.LINGER)),
    _I.FAILURE: (_S.COMPLETED, (_A.SEND, _A.LINGER)),
    # Not of the RFC: a user that never answers would keep it for ever. The client
    # has given up by then (RFC 4320 3.2), so nothing is sent.
    _I.EXPIRED: (_S.TERMINATED, ()),
}
_SERVER: Final[Rules] = {
    _S.TRYING: _SERVER_PENDING,
    _S.PROCEEDING: {**_SERVER_PENDING, _I.REPEATED: (_S.PROCEEDING, (_A.SEND,))},
    _S.COMPLETED: {
        _I.REPEATED: (_S.COMPLETED, (_A.SEND,)),
        _I.LINGERED: (_S.TERMINATED, ()),
    },
}

_INVITE_SERVER: Final[Rules] = {
    _S.PROCEEDING: {
        _I.REPEATED: (_S.PROCEEDING, (_A.SEND,)),
        _I.PROVISIONAL: (_S.PROCEEDING, (_A.SEND,)),
        _I.SUCCESS: (_S.ACCEPTED, (_A.SEND, _A.LINGER)),
        _I.FAILURE: (_S.COMPLETED, (_A.SEND, _A.GUARD)),
    },
    _S.COMPLETED: {
        _I.REPEATED: (_S.COMPLETED, (_A.SEND,)),
        _I.TICK: (_S.COMPLETED, (_A.SEND,)),
        _I.ACK: (_S.CONFIRMED, (_A.LINGER,)),
        _I.EXPIRED: (_S.TERMINATED, (_A.TELL_TIMEOUT,)),
    },
    _S.CONFIRMED: {_I.LINGERED: (_S.TERMINATED, ())},
    _S.ACCEPTED: {
        # The user repeats the 2xx until the ACK comes (RFC 3261 13.3.1.4).
        _I.SUCCESS: (_S.ACCEPTED, (_A.SEND,)),
        _I.ACK: (_S.ACCEPTED, (_A.TELL_ACK,)),
        _I.LINGERED: (_S.TERMINATED, ()),
    },
}

RULES: Final[dict[Kind, Rules]] = {
    Kind.CLIENT: _CLIENT,
    Kind.INVITE_CLIENT: _INVITE_CLIENT,
    Kind.SERVER: _SERVER,
    Kind.INVITE_SERVER: _INVITE_SERVER,
}

FIRST: Final[dict[Kind, State]] = {
    Kind.CLIENT: State.TRYING,
    Kind.INVITE_CLIENT: State.CALLING,
    Kind.SERVER: State.TRYING,
    Kind.INVITE_SERVER: State.PROCEEDING,
}


def input_of(status: int) -> Input:
    """Class a response status as the machines do."""
    if status < 200:
        return Input.PROVISIONAL
    return Input.SUCCESS if status < 300 else Input.FAILURE
