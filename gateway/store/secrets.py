"""Passwords at rest: sealed by AES-256-GCM with a key of the state directory.

The login digests of CSP and SIP need a password in clear, so it cannot be hashed; a
copy of the database alone shows none. A sealed text is ``1:KEYID:BASE64``; the key id
tells a lost key from a damaged row.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import os
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from gateway.errors import ConfigError

FILE = "secret.key"
_KEY = 32
_NONCE = 12


class Secrets:
    """Seals and unseals texts with one key."""

    __slots__ = ("_cipher", "_key", "key_id")

    def __init__(self, key: bytes) -> None:
        self._key = key
        self._cipher = AESGCM(key)
        self.key_id = hashlib.sha256(b"key id" + key).hexdigest()[:8]

    @classmethod
    def open(cls, state_dir: Path) -> Secrets:
        """Read the key, or make it when there is none; the file's mode is 0600.

        Raises ``ConfigError`` on ``gateway.state_dir`` when neither is possible.
        """
        path = state_dir / FILE
        try:
            state_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
            if not path.exists():
                _create(path)
            text = path.read_bytes()
        except OSError as error:
            raise ConfigError(
                "gateway.state_dir", f"no key in {path}: {error.strerror}"
            ) from None
        try:
            key = base64.b64decode(text, validate=False)
        except ValueError:
            key = b""
        if len(key) != _KEY:
            raise ConfigError("gateway.state_dir", f"{path} holds no key of ours")
        return cls(key)

    def seal(self, text: str, context: str) -> str:
        """Seal a text; only the same ``context`` opens it again. Empty stays empty."""
        if not text:
            return ""
        nonce = os.urandom(_NONCE)
        sealed = self._cipher.encrypt(nonce, text.encode(), context.encode())
        return f"1:{self.key_id}:{base64.b64encode(nonce + sealed).decode()}"

    def unseal(self, sealed: str, context: str) -> str:
        """Open a sealed text.

        Raises ``ConfigError`` on ``gateway.state_dir`` when it was sealed by another
        key, or for something else.
        """
        if not sealed:
            return ""
        _, _, rest = sealed.partition(":")
        key_id, _, encoded = rest.partition(":")
        if key_id != self.key_id:
            raise ConfigError(
                "gateway.state_dir",
                f"its {FILE} is not the key that sealed the stored passwords",
            )
        try:
            data = base64.b64decode(encoded)
            clear = self._cipher.decrypt(data[:_NONCE], data[_NONCE:], context.encode())
        except (InvalidTag, ValueError):
            raise ConfigError(
                "store.url", "a stored password was altered; set it anew"
            ) from None
        return clear.decode()

    def derive(self, purpose: str) -> bytes:
        """Return a key of 32 bytes for another purpose, the same at every start."""
        return hmac.digest(self._key, b"derive " + purpose.encode(), "sha256")


def _create(path: Path) -> None:
    """Make the key file in one step, so that of two commands one wins."""
    draft = path.with_name(f".{path.name}.{os.getpid()}.{os.urandom(4).hex()}")
    handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(base64.b64encode(os.urandom(_KEY)) + b"\n")
            file.flush()
            os.fsync(file.fileno())
        try:
            os.link(draft, path)
        except FileExistsError:
            pass
    finally:
        draft.unlink()
    directory = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)
