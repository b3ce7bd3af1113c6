"""Moments in UTC, whatever the project's settings say of time zones."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

from django.db import models
from django.db.models.functions import Now as DatabaseNow


class UtcField(models.DateTimeField):  # type: ignore[type-arg]
    """An aware ``datetime``, also with ``USE_TZ = False``. Databases without a type for it are given UTC.

    For Django's migrations it is a ``DateTimeField``: the column is the same.
    """

    def deconstruct(self) -> tuple[str, str, Sequence[Any], dict[str, Any]]:
        name, _, args, kwargs = super().deconstruct()
        return name, "django.db.models.DateTimeField", args, kwargs

    def get_db_prep_value(self, value: Any, connection: Any, prepared: bool = False) -> Any:
        if isinstance(value, datetime) and connection.vendor != "postgresql":
            return connection.ops.adapt_datetimefield_value(value.astimezone(UTC).replace(tzinfo=None))
        return super().get_db_prep_value(value, connection, prepared)

    def from_db_value(self, value: datetime | None, expression: Any, connection: Any) -> datetime | None:
        """What the driver gives is naive, or has the time zone of the settings put beside it."""
        if value is None:
            return None
        if connection.vendor != "postgresql":
            return value.replace(tzinfo=UTC)
        if value.tzinfo is None:
            value = value.replace(tzinfo=ZoneInfo(connection.timezone_name))
        return value.astimezone(UTC)


class Now(DatabaseNow):
    """The database's time, in UTC. SQLite's has milliseconds and is compared as text: with six digits, as Django writes times."""

    output_field = UtcField()

    def as_mysql(self, compiler: Any, connection: Any, **extra: Any) -> Any:
        return self.as_sql(compiler, connection, template="UTC_TIMESTAMP(6)", **extra)

    def as_sqlite(self, compiler: Any, connection: Any, **extra: Any) -> Any:
        return self.as_sql(
            compiler,
            connection,
            template="STRFTIME('%%%%Y-%%%%m-%%%%d %%%%H:%%%%M:%%%%f000', 'NOW')",
            **extra,
        )
