"""Which change says most, and what kind of change it is (rule 5 of how the trail speaks)."""

from __future__ import annotations

from typing import Any

from audit_core.diff import FIELD, Change, Diff
from audit_core.summarizers.values import DATE_TYPES, MONEY_TYPES, is_long, size
from audit_core.summarizers.words import mapping, text

AUTOMATIC_RANK = 3
_AUTOMATIC_TYPES = frozenset(("AutoField", "BigAutoField", "SmallAutoField"))


def rank(change: Change) -> int:
    """How telling a change is: 0 for status and choices, 1 for relations, money and dates, 2 for the rest.

    What the model sets by itself has :data:`AUTOMATIC_RANK`, the last.

    Within a rank the model's order decides: whoever wrote the model put first what comes first.
    """
    if change.role == "automatic" or change.field in ("id", "pk") or is_of(change, _AUTOMATIC_TYPES):
        return AUTOMATIC_RANK
    if mapping(change.display) or change.field in ("status", "state"):
        return 0
    if text(change.relation) not in (FIELD, "") or is_of(change, MONEY_TYPES) or is_of(change, DATE_TYPES):
        return 1
    return 2


def is_of(change: Change, types: frozenset[str]) -> bool:
    """Whether the field is of one of these types."""
    return isinstance(change.field_type, str) and change.field_type in types


def by_telling(diff: Diff) -> list[Change]:
    """The changes, the most telling first."""
    return sorted(diff.values(), key=_telling)


def _telling(change: Change) -> tuple[int, float, int, str]:
    position = change.position if isinstance(change.position, int) else float("inf")
    money_or_date = 0 if text(change.relation) not in (FIELD, "") else 1 if is_of(change, MONEY_TYPES) else 2
    return rank(change), position, money_or_date, text(change.field)


def is_reference(change: Change) -> bool:
    """Whether the values are other objects."""
    if change.relation != FIELD:
        return True
    return any(mapping(value).keys() == {"pk", "repr"} for value in (change.before, change.after))


def is_measured(value: Any, change: Change) -> bool:
    """Whether ``value`` is too long to be shown, or no text at all, so that its size is told instead."""
    return (is_long(value) and not change.display) or (isinstance(value, dict) and size(value) is not None)
