"""Values as people write them: rule 3 of how the trail speaks.

An event's values are plain JSON (:func:`audit_core.codec.plain`); what they stand for is told by the field's
type, by Django's name or SQLAlchemy's.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, tzinfo
from typing import Any, Final

from audit_core.diff import Change
from audit_core.summarizers import documents
from audit_core.summarizers.words import HIDDEN, clip, counted, lower, mapping, number, quoted, text

LONG_TEXT_CHARACTERS = 60
# fmt: off
_MONTHS: Final = (
    "January", "February", "March", "April", "May", "June", "July", "August", "September", "October",
    "November", "December",
)
# fmt: on
_DURATION = re.compile(r"(-?)P(\d+)DT(\d+)H(\d+)M(\d+(?:\.\d+)?)S")
_MODEL_OBJECT = re.compile(r"(\w+) object \((.*)\)")
_CAMEL = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[^\W_A-Z]+")


@dataclass(frozen=True, slots=True)
class Style:
    """How to write: times in ``zone``, a label in ``limit`` characters, at most ``clauses`` changes."""

    zone: tzinfo = UTC
    limit: int = 60
    clauses: int = 3


def is_empty(value: Any) -> bool:
    """Whether there is no value; ``0`` and ``False`` are values."""
    return value is None or value == "" or (isinstance(value, list | tuple | dict) and not value)


def field_words(change: Change, style: Style) -> str:
    """What people call the field, as it stands inside a sentence."""
    words = lower(text(change.label)) or text(text(change.field).replace("_", " "))
    return clip(words, style.limit) if words else "field"


def is_long(value: Any) -> bool:
    """Whether ``value`` is a text that is measured instead of quoted."""
    return isinstance(value, str) and len(value) > LONG_TEXT_CHARACTERS


def size(value: Any) -> tuple[int, str] | None:
    """The length and unit of a value that can be measured (text, bytes, a digest), or ``None`` for any other.

    The unit is ``"character"`` or ``"byte"``, or empty for a digest, which may be of either.
    """
    if isinstance(value, str):
        return len(value), "character"
    content = mapping(value)
    if content.keys() == {"base64"} and isinstance(encoded := content["base64"], str):
        return max(len(encoded) * 3 // 4 - encoded[-2:].count("="), 0), "byte"
    if content.keys() == {"sha256", "length"} and type(length := content["length"]) is int and length >= 0:
        return length, ""
    return None


def shown(value: Any, change: Change, style: Style, *, display: str = "", exact: bool = False) -> str:
    """``value`` as people write it; ``display`` is its display text.

    ``exact`` tells apart what reads alike otherwise: objects by their key, times by their seconds.
    """
    if display:
        words = clip(display, style.limit)
        return f"{words} ({clip(text(value), 30)})" if exact and display != text(value) else words
    kind = change.field_type
    if isinstance(value, str):
        write = _WRITERS.get(kind) if type(kind) is str else None
        if write is None and is_long(value):
            return counted(len(value), "character", "characters")
        return clip(write(value, style, exact), style.limit) if write else _words(value)
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int | float):
        return documents.whole_number(value, field_words(change, style))
    if isinstance(value, Mapping):
        if "repr" in value or "pk" in value:
            return reference(value, style, exact=exact)
        if measured := size(value):
            unit = measured[1] or ("byte" if kind in BINARY_TYPES else "character")
            return counted(measured[0], unit, f"{unit}s")
    return clip(documents.brief(value), style.limit)


def reference(value: Any, style: Style, *, exact: bool = False) -> str:
    """The label that an object had, its key beside it if ``exact`` or if it had none."""
    entry = mapping(value)
    if not entry:
        return clip(text(value), style.limit) or "an unnamed object"
    label, key = object_label(text(entry.get("repr"))), clip(text(entry.get("pk")), 40)
    if not label or label == HIDDEN:
        return label or key or "an unnamed object"
    return f"{clip(label, style.limit)} ({key})" if exact and key else clip(label, style.limit)


def object_label(label: str) -> str:
    """``label``, or words for what Django writes without ``__str__`` (``RiskClass object (3)``)."""
    if label.endswith(")") and (found := _MODEL_OBJECT.fullmatch(label)):
        return f"{class_words(found[1])} {found[2]}"
    return label


def class_words(name: str) -> str:
    """The words in the name of a class: ``"RiskClass"`` is a ``"risk class"``."""
    return " ".join(lower(word) for word in _CAMEL.findall(name)) or "object"


def _words(value: str) -> str:
    words = text(value)
    return quoted(words) if words else "blank"


def _number(value: str, style: Style, exact: bool) -> str:
    return number(value)


def _date(value: str, style: Style, exact: bool) -> str:
    try:
        return _day(date.fromisoformat(value))
    except ValueError:
        return _words(value)


def _datetime(value: str, style: Style, exact: bool) -> str:
    try:
        moment = datetime.fromisoformat(value)
        if moment.tzinfo:
            moment = moment.astimezone(style.zone)
    except (ValueError, OverflowError):
        return _words(value)
    name = moment.tzname() or ""
    zone = f" UTC{name}" if name[:1] in ("+", "-") else f" {name}" if name else ""
    clock = (
        moment.strftime("%H:%M:%S.%f" if moment.microsecond else "%H:%M:%S")
        if exact
        else moment.strftime("%H:%M")
    )
    return f"{_day(moment)}, {clock}{zone}"


def _day(value: date) -> str:
    return f"{value.day} {_MONTHS[value.month - 1]} {value.year}"


def _time(value: str, style: Style, exact: bool) -> str:
    try:
        moment = time.fromisoformat(value)
    except ValueError:
        return _words(value)
    clock = moment.isoformat("auto" if moment.microsecond or moment.second else "minutes")
    return f"{clock.removesuffix('+00:00')} UTC" if moment.tzinfo and clock.endswith("+00:00") else clock


def _duration(value: str, style: Style, exact: bool) -> str:
    if not (found := _DURATION.fullmatch(value)):
        return _words(value)
    sign, days, hours, minutes, seconds = found.groups()
    seconds = seconds.rstrip("0").rstrip(".") if "." in seconds else seconds
    units = ((hours, "h"), (minutes, "min"), (seconds, "s"))
    parts = [f"{amount.lstrip('0') or '0'} {unit}" for amount, unit in units if amount.strip("0")]
    if days.strip("0"):
        parts.insert(0, f"{number(days)} day{'' if days.lstrip('0') == '1' else 's'}")
    return sign + (" ".join(parts) or "0 min")


def _file(value: str, style: Style, exact: bool) -> str:
    name = text(value) if exact else text(value.replace("\\", "/").rpartition("/")[2])
    return quoted(name or text(value) or "blank")


BINARY_TYPES: Final = frozenset(("BinaryField", "LargeBinary", "BLOB", "BYTEA"))
MONEY_TYPES: Final = frozenset(("DecimalField", "MoneyField", "Numeric", "NUMERIC", "DECIMAL"))
DAY_TYPES: Final = frozenset(("DateField", "Date", "DATE"))
MOMENT_TYPES: Final = frozenset(("DateTimeField", "DateTime", "DATETIME", "TIMESTAMP"))
DATE_TYPES: Final = DAY_TYPES | MOMENT_TYPES

_Writer = Callable[[str, Style, bool], str]
_WRITERS: dict[str, _Writer] = {
    **dict.fromkeys(MONEY_TYPES, _number),
    **dict.fromkeys(("IntegerField", "BigIntegerField", "PositiveBigIntegerField", "FloatField"), _number),
    **dict.fromkeys(("Integer", "BigInteger", "BIGINT", "Float", "Double"), _number),
    **dict.fromkeys(DAY_TYPES, _date),
    **dict.fromkeys(MOMENT_TYPES, _datetime),
    **dict.fromkeys(("TimeField", "Time", "TIME"), _time),
    **dict.fromkeys(("DurationField", "Interval", "INTERVAL"), _duration),
    **dict.fromkeys(("FileField", "ImageField", "FilePathField"), _file),
}
