"""Masks: they tell whether two values are the same, and to who has no key nothing else.

HMAC-SHA-256 (RFC 2104) over the type and the canonical text of a value, so 1 and "1" have different masks. A plain hash is never
used: the few values that a social security number can have are tried in minutes. Two values are compared under one data key: who
destroys it makes the masks useless together with the ciphertexts.
"""

from __future__ import annotations

import hashlib
import hmac
from typing import Any

from audit_core.codec import canonical
from audit_core.privacy.keys import DataKey

_TYPES = {
    type(None): "null",
    bool: "boolean",
    int: "number",
    float: "number",
    str: "string",
    list: "array",
    dict: "object",
}


def mask(value: Any, key: DataKey) -> str:
    """The mask of a plain JSON value, 64 hexadecimal digits."""
    text = f"audit mask v1\0{_TYPES[type(value)]}\0{canonical(value)}"
    return hmac.new(key.mask_key, text.encode(), hashlib.sha256).hexdigest()
