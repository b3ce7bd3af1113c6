"""The values of Django's fields as plain JSON values, and when two of them are the same."""

from __future__ import annotations

import json
from decimal import ROUND_HALF_EVEN, ROUND_HALF_UP, Decimal
from math import isnan
from types import SimpleNamespace
from typing import Any

from django.conf import settings as django_settings
from django.core.exceptions import ValidationError
from django.db import DEFAULT_DB_ALIAS, connections, models
from django.db.models import Field
from django.db.models.fields.files import FieldFile
from django.utils import timezone

from audit_core.codec import canonical, plain
from audit_core.errors import EncodeError
from audit_core.plugins.manager import get_plugin_manager
from audit_django.conf import get_settings


def plain_value(field: Field[Any, Any], value: Any) -> Any:
    """``value`` of ``field`` as a plain JSON value.

    What neither JSON nor a plugin knows is asked of the field's own ``value_to_string``, which Django's serializers use. A
    document or an array that is longer than ``MAX_VALUE_BYTES`` as canonical JSON is kept as its digest, as a text is. Raises
    :class:`~audit_core.errors.EncodeError` naming the field.
    """
    if isinstance(value, FieldFile):
        value = value.name or ""
    elif isinstance(value, Decimal) and value.is_zero():
        value = value.copy_abs()  # databases do not agree on whether there is a negative zero
    max_bytes = get_settings().max_value_bytes
    try:
        found = plain(value, encode_unknown=get_plugin_manager().encode_value, max_bytes=max_bytes)
        if isinstance(found, list | dict):
            digest = plain(canonical(found), max_bytes=max_bytes)
            return digest if isinstance(digest, dict) else found
        return found
    except EncodeError as error:
        for form in _forms(field, value):
            try:
                return plain(form(), max_bytes=max_bytes)
            except (EncodeError, TypeError, ValueError):
                continue
        raise EncodeError(f"{field.model._meta.label}.{field.name}: {error}") from None


def _forms(field: Any, value: Any) -> list[Any]:
    """Other forms of a value that has no JSON form: what serializers write, what the database is given."""
    forms = [
        lambda: field.get_prep_value(value),
        lambda: field.get_db_prep_value(value, connection=connections[DEFAULT_DB_ALIAS], prepared=False),
    ]
    if type(field).value_to_string is not Field.value_to_string:
        forms.insert(0, lambda: field.value_to_string(SimpleNamespace(**{field.attname: value})))
    return forms


_WRITERS = ("pre_save", "get_prep_value", "get_db_prep_value", "get_db_prep_save")


def target_field(field: Any) -> Any:
    """The column that a relation refers to; ``None`` for what is no relation, or refers to a model that is not there."""
    remote = getattr(field, "remote_field", None)
    if remote is None or isinstance(remote.model, str):
        return None
    found = getattr(field, "target_field", None)
    return None if found is field else found


def source_fields(field: Any) -> set[Any]:
    """The columns that the database computes a generated one from."""
    expression = field.expression.resolve_expression(field._query, allow_joins=False)
    columns: Any = field._query._gen_cols([expression])
    return {column.target for column in columns}


def writes_its_own_way(field: Any) -> bool:
    """Whether a field that is not of ``django.db`` decides what the database is given."""
    kinds = {type(field), type(target_field(field) or field)}
    return any(
        not getattr(kind, name).__module__.startswith("django.db.") for kind in kinds for name in _WRITERS
    )


def normalized(field: Field[Any, Any], value: Any, vendor: str = "") -> Any:
    """What the database will give back for ``value``: ``Decimal("0.00")`` for ``0``, an aware datetime for a naive one.

    A value that the field cannot read is left as it is: the database took it.
    """
    if value is None:
        return None
    if isinstance(value, models.Model):  # in place of its key
        value = getattr(value, getattr(target_field(field), "attname", "pk"))
    try:
        result = field.to_python(value)
    except (ValidationError, TypeError, ValueError):
        return value
    if isinstance(field, models.DecimalField) and isinstance(result, Decimal) and result.is_finite():
        places: int | None = field.decimal_places
        if places is None:
            return result
        # Django rounds what it reads from SQLite to even; servers round away from zero.
        rounding = ROUND_HALF_EVEN if vendor == "sqlite" else ROUND_HALF_UP
        return result.quantize(Decimal(1).scaleb(-places), rounding, field.context)
    if isinstance(field, models.FloatField) and vendor == "sqlite" and isnan(result):
        return None  # which is what SQLite keeps of it
    if isinstance(field, models.DateTimeField) and django_settings.USE_TZ and timezone.is_naive(result):
        return timezone.make_aware(result, timezone.get_default_timezone())
    if isinstance(field, models.JSONField) and type(field).get_prep_value is models.JSONField.get_prep_value:
        parse_float = _as_jsonb_has_it if vendor == "postgresql" else None
        return json.loads(json.dumps(result, cls=field.encoder), cls=field.decoder, parse_float=parse_float)
    return result


def _as_jsonb_has_it(number: str) -> float | int:
    """PostgreSQL keeps numbers as decimals, without exponents: 1e16 comes back as an integer."""
    return int(Decimal(number)) if "e+" in number else float(number)


def is_expression(value: Any) -> bool:
    """Whether only the database knows what ``value`` will be (``F()``, ``Now()``, a database default)."""
    return type(value) not in _LITERALS and hasattr(value, "resolve_expression")


_LITERALS = frozenset({str, int, float, bool, bytes, type(None), Decimal})
