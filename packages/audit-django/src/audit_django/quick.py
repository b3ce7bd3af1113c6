"""The plain form of the most common values, found without a detour: this is in the way of every save.

What :mod:`audit_django.values` makes of a value of Django's own fields needs no field for most values: a short text is itself, a
date is its ISO form. A function of this module gives that form, or ``None`` for a value that has to take the long way.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from django.db import models
from django.db.models import Field

from audit_core.codec import MAX_SAFE_INTEGER

Quick = Callable[[Any], Any]

SHORT = 64  # characters: the digest that a long text is replaced by is no shorter


def quick_form(field: Field[Any, Any]) -> Quick | None:
    """The function for values of ``field``; ``None`` where there is none. Subclasses have none: they may change values."""
    if type(field) is models.DecimalField and field.decimal_places:
        return _decimal(field.decimal_places)
    return _FORMS.get(type(field))


def _text(value: Any) -> Any:
    is_short = type(value) is str and len(value) <= SHORT
    return value if is_short and value.isascii() and "\x00" not in value else None


def _integer(value: Any) -> Any:
    return value if type(value) is int and -MAX_SAFE_INTEGER <= value <= MAX_SAFE_INTEGER else None


def _boolean(value: Any) -> Any:
    return value if type(value) is bool else None


def _date(value: Any) -> Any:
    return value.isoformat() if type(value) is date else None


def _moment(value: Any) -> Any:
    return f"{value.isoformat()[:-6]}Z" if type(value) is datetime and value.tzinfo is UTC else None


def _uuid(value: Any) -> Any:
    return str(value) if type(value) is UUID else None


def _decimal(places: int) -> Quick:
    point = -places - 1

    def form(value: Any) -> Any:
        if type(value) is not Decimal:
            return None
        text = str(value)
        is_rounded = text[point : point + 1] == "." and len(text) <= 20 and "E" not in text
        return text if is_rounded and (value or text[0] != "-") else None  # there is no negative zero

    return form


_FORMS: dict[type[Field[Any, Any]], Quick] = {
    models.CharField: _text,
    models.TextField: _text,
    models.EmailField: _text,
    models.SlugField: _text,
    models.URLField: _text,
    models.IntegerField: _integer,
    models.BigIntegerField: _integer,
    models.SmallIntegerField: _integer,
    models.PositiveIntegerField: _integer,
    models.PositiveBigIntegerField: _integer,
    models.PositiveSmallIntegerField: _integer,
    models.AutoField: _integer,
    models.BigAutoField: _integer,
    models.SmallAutoField: _integer,
    models.BooleanField: _boolean,
    models.DateField: _date,
    models.DateTimeField: _moment,
    models.UUIDField: _uuid,
}
