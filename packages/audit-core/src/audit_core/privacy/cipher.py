"""Authenticated encryption with a key for each text.

The key of a text comes from a secret and a random salt by HKDF-SHA-256 (RFC 5869), together with a commitment that stands beside
the ciphertext: AES-GCM alone lets one ciphertext decrypt under two keys, to two texts. The cipher is AES-256-GCM (NIST SP
800-38D). No two texts share a key, so the nonce may always be zero, and no number of texts wears a secret out.

    version (1 byte, 1) ‖ salt (32) ‖ commitment (32) ‖ ciphertext ‖ tag (16)

cryptography is imported when something is first encrypted: importing audit_core stays fast.
"""

from __future__ import annotations

import hmac
import os

from audit_core.privacy.errors import Tampered, WrongKey

KEY_BYTES = 32
_VERSION = b"\x01"
_SALT, _COMMITMENT, _TAG = 32, 32, 16
_NONCE = bytes(12)  # NIST SP 800-38D, section 8: unique for its key, which is used once


class KeyBytes(bytes):
    """A key that no text shows: neither a log line nor the page that shows the variables of a failed function."""

    def __repr__(self) -> str:
        return "KeyBytes(…)"

    __str__ = __repr__


def derive(secret: bytes, info: bytes, *, salt: bytes | None = None, length: int = KEY_BYTES) -> KeyBytes:
    """``length`` bytes for the purpose ``info`` (HKDF-SHA-256). What is derived for one purpose says nothing of another."""
    from cryptography.hazmat.primitives.hashes import SHA256
    from cryptography.hazmat.primitives.kdf.hkdf import HKDF

    return KeyBytes(HKDF(SHA256(), length=length, salt=salt, info=info).derive(secret))


def encrypt(secret: bytes, plaintext: bytes, *, bound_to: bytes) -> bytes:
    """``plaintext`` under a key derived from ``secret``. It decrypts only where ``bound_to`` is the same."""
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    salt = os.urandom(_SALT)
    key, commitment = _keys(secret, salt)
    return _VERSION + salt + commitment + AESGCM(key).encrypt(_NONCE, plaintext, bound_to)


def decrypt(secret: bytes, ciphertext: bytes, *, bound_to: bytes) -> bytes:
    """What was encrypted. Raises :class:`~audit_core.privacy.errors.WrongKey` or
    :class:`~audit_core.privacy.errors.Tampered`.
    """
    from cryptography.exceptions import InvalidTag
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    if ciphertext[:1] != _VERSION:
        raise Tampered(
            "This is no ciphertext of a version that is known here. Update audit-core, or restore the value from a backup."
        )
    if len(ciphertext) < 1 + _SALT + _COMMITMENT + _TAG:
        raise Tampered("The ciphertext is cut short. Restore it from a backup, or from another sink.")
    salt, rest = ciphertext[1 : 1 + _SALT], ciphertext[1 + _SALT :]
    key, commitment = _keys(secret, salt)
    if not hmac.compare_digest(rest[:_COMMITMENT], commitment):
        raise WrongKey(
            "The ciphertext was made with another key, or its first bytes were changed. Look up the key by the id beside it, and "
            "compare the ciphertext with that of another sink."
        )
    try:
        return AESGCM(key).decrypt(_NONCE, rest[_COMMITMENT:], bound_to)
    except InvalidTag:
        raise Tampered(
            "The ciphertext was changed, or stands where it was not made: another event, field, side or key. Compare the event "
            "with that of another sink."
        ) from None


def _keys(secret: bytes, salt: bytes) -> tuple[KeyBytes, bytes]:
    both = derive(secret, b"audit cipher v1", salt=salt, length=KEY_BYTES + _COMMITMENT)
    return KeyBytes(both[:KEY_BYTES]), both[KEY_BYTES:]
