"""JSON values in words: which entries changed, never braces and never paths."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from audit_core.privacy import is_sealed
from audit_core.summarizers.words import HIDDEN, clip, counted, join, lower, number, quoted, text

_MISSING: Any = object()
_MAX_DEPTH = 3
_MAX_ENTRIES = 3
_LONG_CHARACTERS = 40
_NAME_CHARACTERS = 40
# A whole number that names something is not counted in thousands.
_NAMING_NUMBERS = frozenset(["code", "id", "no", "number", "pin", "postcode", "year", "zip"])


def entries(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[str]:
    """A phrase for each entry that differs: ``"deductible from 500 to 300"``, ``"glass set to yes"``."""
    return [_phrase(*entry) for entry in _differing(before, after, "", _MAX_DEPTH)]


def brief(value: Any, name: str = "") -> str:
    """A value in a few words: the entries of a document if they are few and simple, else how many there are.

    ``name`` is what the value is called: ``2026`` is a number of claims, but not of a year.
    """
    value = _unwrapped(value)
    if not isinstance(value, Mapping | list | tuple) or is_sealed(value):
        return _scalar(value, name)
    if not value or len(value) > _MAX_ENTRIES:
        return counted(len(value), "entry", "entries")
    if isinstance(value, Mapping):
        if all(map(_is_simple, value.values())):
            return join([f"{_name(key)} {brief(item, _name(key))}" for key, item in value.items()])
    elif all(map(_is_simple, value)):
        return join([brief(item, name) for item in value])
    return counted(len(value), "entry", "entries")


def whole_number(value: int | float, name: str) -> str:
    """``value`` with thousands separators, unless ``name`` says that it is a name (a year, a postcode)."""
    return text(value) if name.rpartition(" ")[2] in _NAMING_NUMBERS else number(value)


def _differing(
    before: Mapping[str, Any], after: Mapping[str, Any], inside: str, depth: int
) -> Iterator[tuple[str, Any, Any]]:
    for key in [*before, *(key for key in after if key not in before)]:
        old, new = before.get(key, _MISSING), after.get(key, _MISSING)
        if old == new and isinstance(old, bool) == isinstance(new, bool):
            continue
        name = _name(key) + inside
        if depth > 1 and _is_open(old) and _is_open(new):
            yield from _differing(old, new, f" in {_name(key)}{inside}", depth - 1)
        else:
            yield name, old, new


def _phrase(name: str, old: Any, new: Any) -> str:
    if is_sealed(old) or is_sealed(new):
        return f"{name} {HIDDEN}"
    had, has = not _is_blank(old), not _is_blank(new)
    if has:
        was, now = brief(old, name) if had else "", brief(new, name)
        return (
            f"{name} set to {now}"
            if not had
            else f"{name} from {was} to {now}"
            if was != now
            else f"{name} changed"
        )
    verb = "removed" if new is _MISSING else "cleared" if had else "added"
    return f"{name} {verb} (was {brief(old, name)})" if had else f"{name} {verb}"


def _is_blank(value: Any) -> bool:
    return (
        value is _MISSING or value is None or value == "" or (isinstance(value, Mapping | list) and not value)
    )


def _is_open(value: Any) -> bool:
    """Whether ``value`` is a document whose own entries are looked at."""
    value = _unwrapped(value)
    return isinstance(value, Mapping) and len(value) > 0 and not is_sealed(value)


def _is_simple(value: Any) -> bool:
    value = _unwrapped(value)
    return not isinstance(value, Mapping | list | tuple) and not _is_blank(value) and not _is_long(value)


def _is_long(value: Any) -> bool:
    return isinstance(value, str) and len(value) > _LONG_CHARACTERS


def _unwrapped(value: Any) -> Any:
    """The digits of a number that JSON could not hold (``{"$numberLong": …}``), any other value as it is."""
    if isinstance(value, Mapping) and len(value) == 1:
        digits = value.get("$numberLong", value.get("$numberDouble"))
        return number(digits) if isinstance(digits, str) else value
    return value


def _name(key: Any) -> str:
    words = text(text(key).replace("_", " "))
    return clip(lower(words), _NAME_CHARACTERS) if words else "the unnamed entry"


def _scalar(value: Any, name: str) -> str:
    if isinstance(value, str):
        words = text(value)
        return (
            counted(len(value), "character", "characters")
            if _is_long(value)
            else quoted(words)
            if words
            else "blank"
        )
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int | float):
        return whole_number(value, name)
    return HIDDEN if is_sealed(value) else "nothing"
