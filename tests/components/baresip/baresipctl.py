"""One command to baresip over its control port: netstring-framed JSON on TCP."""

from __future__ import annotations

import json
import socket


def command(port: int, name: str, parameters: str = "") -> str:
    """Send one command and return its answer's text.

    Raises OSError when baresip is not there, and RuntimeError when it refuses.
    """
    request = {"command": name, "params": parameters, "token": "1"}
    data = json.dumps(request).encode()
    with socket.create_connection(("127.0.0.1", port), 5) as connection:
        connection.sendall(b"%d:%s," % (len(data), data))
        answer = _response(connection)
    if not answer.get("ok"):
        raise RuntimeError(f"baresip refuses {name}: {answer}")
    return str(answer.get("data", ""))


def _response(connection: socket.socket) -> dict[str, object]:
    buffer = b""
    while part := connection.recv(65536):
        buffer += part
        while b":" in buffer:
            length, _, rest = buffer.partition(b":")
            end = int(length)
            if len(rest) <= end:
                break
            message, buffer = json.loads(rest[:end]), rest[end + 1 :]
            # Events of the terminal come between.
            if message.get("response"):
                return dict(message)
    raise OSError("baresip closed the control connection")
