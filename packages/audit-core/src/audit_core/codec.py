"""The one serializer for everything that is hashed, sent and shown.

The text of an event is canonical JSON after RFC 8785: no white space, keys in the order of their UTF-16 code units. The
values are chosen so that no serializer can write them differently: integers beyond ±(2**53 - 1), decimals, dates and
UUIDs are strings, and a float is a number only where every language writes the same shortest decimal.

PostgreSQL's ``jsonb`` refuses NUL and UTF-8 refuses lone surrogates: both are written as the six visible characters
``\\u0000`` and ``\\ud800``.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from typing import Any
from uuid import UUID

from audit_core.errors import EncodeError
from audit_core.event import SCHEMA_VERSION, Event

MAX_SAFE_INTEGER = 2**53 - 1  # the largest that a double holds exactly (RFC 8785, appendix D)
MAX_VALUE_BYTES = 64 * 1024  # a longer text or binary value is kept as digest and length
_UNSAFE_TEXT = re.compile("[\x00\ud800-\udfff]")

Encoder = Callable[[object], Any]
"""Turns a value that JSON does not know into one that it does, or returns ``None`` when it does not know it either."""


def plain(value: object, *, encode_unknown: Encoder | None = None, max_bytes: int = MAX_VALUE_BYTES) -> Any:
    """``value`` as a plain JSON value: ``None``, ``bool``, ``int``, ``float``, ``str``, ``list`` or ``dict``.

    ``encode_unknown`` is asked for types that are not known here (the ``audit_encode_value`` hook). A text or bytes longer
    than ``max_bytes`` becomes ``{"sha256": …, "length": …}``; ``length`` is in characters for text, in bytes for bytes.
    Raises :class:`~audit_core.errors.EncodeError`.
    """
    kind = type(value)
    if value is None or kind is bool:
        return value
    if kind is str:
        return _text(value, max_bytes)  # type: ignore[arg-type]
    if kind is int:
        return value if -MAX_SAFE_INTEGER <= value <= MAX_SAFE_INTEGER else str(value)  # type: ignore[operator]
    if kind is float:
        return _number(value)  # type: ignore[arg-type]
    if kind in _SCALARS:
        return _scalar(value)  # type: ignore[arg-type]
    return _other(value, encode_unknown, max_bytes)


_SCALARS = frozenset({Decimal, UUID, datetime, date, time, timedelta})


def _other(value: object, encode_unknown: Encoder | None, max_bytes: int) -> Any:
    # Subclasses (SafeString, IntegerChoices, a Decimal of somebody's own) are found by isinstance, enums before all.
    match value:
        case Enum():
            return plain(value.value, encode_unknown=encode_unknown, max_bytes=max_bytes)
        case str():
            return _text(str(value), max_bytes)
        case int():
            return plain(int(value))
        case float():
            return plain(float(value))
        case Decimal() | UUID() | date() | time() | timedelta():
            return _scalar(value)
        case bytes() | bytearray() | memoryview():
            return _binary(bytes(value), max_bytes)
        case Mapping():
            return {_key(key): _nested(item, encode_unknown, max_bytes) for key, item in value.items()}
        case list() | tuple():
            return [_nested(item, encode_unknown, max_bytes) for item in value]
        case set() | frozenset():
            items = [_nested(item, encode_unknown, max_bytes) for item in value]
            return sorted(items, key=canonical)
    encoded = encode_unknown(value) if encode_unknown else None
    if encoded is not None:
        return plain(encoded, max_bytes=max_bytes)
    raise EncodeError(
        f"A value of type {type(value).__module__}.{type(value).__qualname__} has no JSON form. Give it one with the hook "
        f"audit_encode_value, or exclude the field from the audit trail."
    )


def _scalar(value: Decimal | UUID | date | time | timedelta) -> str:
    match value:
        case datetime():
            return (value.astimezone(UTC) if value.tzinfo else value).isoformat().replace("+00:00", "Z")
        case date() | time():
            return value.isoformat()
        case timedelta():
            return format_duration(value)
        case Decimal() if value.is_finite():
            return format(value, "f") if -20 < value.adjusted() < 40 else str(value)
    return str(value)


def _text(value: str, max_bytes: int) -> Any:
    # The length in characters is cheap to know and never above the length in bytes; four bytes are the most for one.
    if len(value) * 4 > max_bytes:
        raw = value.encode("utf-8", "surrogatepass")
        if len(raw) > max_bytes:
            return {"sha256": hashlib.sha256(raw).hexdigest(), "length": len(value)}
    return safe_text(value)


def safe_text(value: str) -> str:
    """``value`` with NUL and lone surrogates made visible, so that every database and UTF-8 can hold it."""
    if value.isascii() and "\x00" not in value:
        return value
    return _UNSAFE_TEXT.sub(lambda match: f"\\u{ord(match[0]):04x}", value)


def _binary(value: bytes, max_bytes: int) -> dict[str, Any]:
    if len(value) > max_bytes:
        return {"sha256": hashlib.sha256(value).hexdigest(), "length": len(value)}
    return {"base64": base64.b64encode(value).decode("ascii")}


def _number(value: float) -> int | float | str:
    if value.is_integer() and abs(value) <= MAX_SAFE_INTEGER:
        return int(value)
    # Between these bounds ECMAScript, Python, Go, Java and Rust all write the shortest digits without an exponent.
    return value if 1e-3 <= abs(value) < 1e7 else repr(value)


def _nested(value: object, encode_unknown: Encoder | None, max_bytes: int) -> Any:
    """Inside a document no field type says what a string was, so numbers keep theirs (MongoDB Extended JSON 2.0)."""
    if type(value) is int and not -MAX_SAFE_INTEGER <= value <= MAX_SAFE_INTEGER:
        return {"$numberLong": str(value)}
    if type(value) is float and isinstance(text := _number(value), str):
        return {"$numberDouble": text}
    return plain(value, encode_unknown=encode_unknown, max_bytes=max_bytes)


def _key(key: object) -> str:
    text = plain(key)
    return text if isinstance(text, str) else canonical(text)


def from_plain(value: Any) -> Any:
    """The document that :func:`plain` was given, with the numbers that JSON could not hold put back."""
    if isinstance(value, list):
        return [from_plain(item) for item in value]
    if not isinstance(value, dict):
        return value
    if len(value) == 1:
        match value:
            case {"$numberLong": str(text)}:
                return int(text)
            case {"$numberDouble": str(text)}:
                return float(text)
    return {key: from_plain(item) for key, item in value.items()}


def format_duration(value: timedelta) -> str:
    """``value`` as an ISO 8601 duration of days, hours, minutes and seconds (``-P0DT00H15M00.5S``)."""
    sign = "-" if value < timedelta() else ""
    value = abs(value)
    minutes, seconds = divmod(value.seconds, 60)
    hours, minutes = divmod(minutes, 60)
    fraction = f".{value.microseconds:06d}" if value.microseconds else ""
    return f"{sign}P{value.days}DT{hours:02d}H{minutes:02d}M{seconds:02d}{fraction}S"


def canonical(value: Any) -> str:
    """The canonical JSON text (RFC 8785) of a plain value."""
    text = _dumps_sorted(value)
    # Code points and UTF-16 code units sort alike unless a key leaves the basic plane.
    return text if text.isascii() or not _ASTRAL.search(text) else _dumps(_ordered(value))


def _as_dict(value: Any) -> dict[str, Any]:
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError(f"a {type(value).__name__} is no plain JSON value")


_ASTRAL = re.compile("[\U00010000-\U0010ffff]")
_FORM: dict[str, Any] = {
    "ensure_ascii": False,
    "separators": (",", ":"),
    "allow_nan": False,
    "default": _as_dict,
}
_dumps = json.JSONEncoder(**_FORM).encode
_dumps_sorted = json.JSONEncoder(sort_keys=True, **_FORM).encode


def in_order(keys: Iterable[str]) -> list[str]:
    """Keys in the order of their UTF-16 code units, which is that of RFC 8785."""
    return sorted(keys, key=lambda key: key.encode("utf-16-be"))


def _ordered(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _ordered(value[key]) for key in in_order(value)}
    if isinstance(value, list | tuple):
        return [_ordered(item) for item in value]
    return value


def encode(event: Event) -> str:
    """The canonical text of ``event``: that of its JSON form (:meth:`~audit_core.event.Event.to_dict`).

    Raises :class:`~audit_core.errors.EncodeError` when the event holds something that is not a plain JSON value.
    """
    from audit_core.event_text import event_text

    try:
        return event_text(event)
    except (TypeError, ValueError) as error:
        raise EncodeError(
            f"Event {event.id} ({event.action}) holds a value that is not plain JSON: {error}. "
            f"Pass what you put into `extra` through audit_core.codec.plain() first."
        ) from error


Upcaster = Callable[[dict[str, Any]], dict[str, Any]]

UPCASTERS: dict[int, Upcaster] = {}
"""From each older schema version, the step that makes its JSON form that of the next. Events are never rewritten."""


def decode(text: str) -> Event:
    """The event whose text this is, brought up to the current schema version.

    An event written by a newer version is read as far as it is known. Raises ``ValueError`` for text that is no event.
    """
    data = json.loads(text)
    try:
        version = data.get("schema_version", 1)
        while version < SCHEMA_VERSION:
            data = UPCASTERS[version](data)
            version += 1
        return Event.from_dict(data)
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"This text is no event: {error!r}") from error


def leaf_hash(text: str) -> bytes:
    """The Merkle leaf hash of an event's text: SHA-256 over a zero byte and the UTF-8 text (RFC 6962, section 2.1)."""
    return hashlib.sha256(b"\x00" + text.encode()).digest()
