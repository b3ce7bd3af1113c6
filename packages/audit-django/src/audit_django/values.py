"""The values of Django's fields as plain JSON values, and when two of them are the same."""

from __future__ import annotations

import json
from decimal import Decimal
from types import SimpleNamespace
from typing import Any

from django.conf import settings as django_settings
from django.core.exceptions import ValidationError
from django.db import models
from django.db.backends.utils import format_number
from django.db.models import Field
from django.db.models.fields.files import FieldFile
from django.utils import timezone

from audit_core.codec import plain
from audit_core.errors import EncodeError
from audit_core.plugins.manager import get_plugin_manager
from audit_django.conf import get_settings


def plain_value(field: Field[Any, Any], value: Any) -> Any:
    """``value`` of ``field`` as a plain JSON value.

    What neither JSON nor a plugin knows is asked of the field's own ``value_to_string``, which Django's serializers use. Raises
    :class:`~audit_core.errors.EncodeError` naming the field.
    """
    if isinstance(value, FieldFile):
        value = value.name or ""
    try:
        return plain(
            value, encode_unknown=get_plugin_manager().encode_value, max_bytes=get_settings().max_value_bytes
        )
    except EncodeError as error:
        if type(field).value_to_string is not Field.value_to_string:
            return plain(field.value_to_string(SimpleNamespace(**{field.attname: value})))  # type: ignore[arg-type]
        raise EncodeError(f"{field.model._meta.label}.{field.name}: {error}") from None


def normalized(field: Field[Any, Any], value: Any) -> Any:
    """What the database will give back for ``value``: ``Decimal("0.00")`` for ``0``, an aware datetime for a naive one.

    A value that the field cannot read is left as it is: the database took it.
    """
    if value is None:
        return None
    try:
        result = field.to_python(value)
    except (ValidationError, TypeError, ValueError):
        return value
    if isinstance(field, models.DecimalField) and isinstance(result, Decimal) and result.is_finite():
        return Decimal(format_number(result, field.max_digits, field.decimal_places))  # type: ignore[arg-type]
    if isinstance(field, models.DateTimeField) and django_settings.USE_TZ and timezone.is_naive(result):
        return timezone.make_aware(result, timezone.get_default_timezone())
    if isinstance(field, models.JSONField):
        return json.loads(json.dumps(result, cls=field.encoder), cls=field.decoder)
    return result


def is_expression(value: Any) -> bool:
    """Whether only the database knows what ``value`` will be (``F()``, ``Now()``, a database default)."""
    return hasattr(value, "resolve_expression")
