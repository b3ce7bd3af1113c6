"""The SELECT of one row by its primary key, locked: compiled by the ORM once, because it is in the way of every save."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import Model, QuerySet

from audit_django.capture.round_trips import Statement
from audit_django.values import is_expression


@dataclass(frozen=True, slots=True)
class SelectRow:
    """The SELECT of ``columns`` (names of attributes) of the rows of ``model``."""

    model: type[Model]
    columns: Sequence[str]
    sql: str | None  # None: it is not the same for every key
    converters: Sequence[tuple[int, Any, Sequence[Any]]]

    def statement(self, pk: Any, connection: BaseDatabaseWrapper) -> Statement:
        """The SELECT for one key."""
        params = None if self.sql is None else _params(self.model, pk, connection)
        if self.sql is None or params is None:
            return _compiler(self.model, self.columns, pk, connection).as_sql()  # type: ignore[no-any-return]
        return self.sql, params

    def values(self, row: Sequence[Any], connection: BaseDatabaseWrapper) -> list[Any]:
        """A row as the driver gave it, in the types of the model's fields."""
        values = list(row)
        for position, expression, functions in self.converters:
            for convert in functions:
                values[position] = convert(values[position], expression, connection)
        return values


_compiled: dict[tuple[str, type[Model], tuple[str, ...]], SelectRow] = {}


def select_row(
    model: type[Model], columns: tuple[str, ...], pk: Any, connection: BaseDatabaseWrapper
) -> SelectRow:
    """The SELECT of these columns. A transaction must be open, and ``pk`` may be any key.

    The lock is the one that an UPDATE takes: a stronger one would make inserts that refer to the row wait.
    """
    place = (connection.alias, model, columns)
    found = _compiled.get(place)
    if found is None:
        compiler = _compiler(model, columns, pk, connection)
        sql, params = compiler.as_sql()
        converters = compiler.get_converters([expression for expression, *_ in compiler.select])
        is_fixed = list(params) == _params(model, pk, connection)
        found = SelectRow(
            model,
            columns,
            sql if is_fixed else None,
            [(place, expression, functions) for place, (functions, expression) in converters.items()],
        )
        _compiled[place] = found
    return found


def _compiler(model: type[Model], columns: Sequence[str], pk: Any, connection: BaseDatabaseWrapper) -> Any:
    rows: QuerySet[Any] = QuerySet(model=model, using=connection.alias).filter(pk=pk).order_by()
    locked = rows.select_for_update(no_key=connection.features.has_select_for_no_key_update)
    return locked.values_list(*columns).query.get_compiler(connection=connection)


def _params(model: type[Model], pk: Any, connection: BaseDatabaseWrapper) -> list[Any] | None:
    """What the ORM makes of the key. ``None`` for one that is SQL itself."""
    keys = model._meta.pk_fields
    values = pk if len(keys) > 1 else (pk,)
    if any(map(is_expression, values)):
        return None
    return [key.get_db_prep_value(value, connection) for key, value in zip(keys, values, strict=True)]
