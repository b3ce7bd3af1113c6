"""The SELECT of a few rows by a key, compiled by the ORM once.

It is in the way of every write, and to build it takes longer than to run it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from django.core.exceptions import EmptyResultSet
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import Model, QuerySet

from audit_django.capture.round_trips import Statement
from audit_django.values import is_expression

if TYPE_CHECKING:
    from audit_django.capture.transactions import TransactionState

Lock = Literal["update", "delete"] | None
"""The lock that the rows are given until the transaction ends: the one that an UPDATE takes, that of a DELETE, or none.

A DELETE's makes inserts that refer to the row wait, an UPDATE's does not.
"""

PK = "pk"
MOST_KEYS = 20  # of which the statement is kept, for each number of keys one


@dataclass(frozen=True, slots=True)
class SelectRows:
    """The SELECT of ``columns`` (names of attributes) of the rows of ``model`` whose column ``by`` has one of ``count`` keys."""

    model: type[Model]
    columns: Sequence[str]
    by: str
    lock: Lock
    sql: str | None  # None: it is not the same for every key
    converters: Sequence[tuple[int, Any, Sequence[Any]]]

    def statement(self, keys: Sequence[Any], connection: BaseDatabaseWrapper) -> Statement:
        """The SELECT for these keys."""
        params = None if self.sql is None else _params(self.model, self.by, keys, connection)
        if self.sql is None or params is None:
            compiler = _compiler(self.model, self.columns, self.by, keys, self.lock, connection)
            return compiler.as_sql()  # type: ignore[no-any-return]
        return self.sql, params

    def values(self, row: Sequence[Any], connection: BaseDatabaseWrapper) -> list[Any]:
        """A row as the driver gave it, in the types of the model's fields."""
        values = list(row)
        for position, expression, functions in self.converters:
            for convert in functions:
                values[position] = convert(values[position], expression, connection)
        return values

    def objects(self, rows: Sequence[Any], connection: BaseDatabaseWrapper) -> Iterator[Model]:
        """Rows as the driver gave them, as objects."""
        for row in rows:
            yield self.model.from_db(connection.alias, self.columns, self.values(row, connection))


def fetch(
    model: type[Model], by: str, keys: Sequence[Any], connection: BaseDatabaseWrapper, lock: Lock = None
) -> list[Model]:
    """The whole rows with these keys, now."""
    try:
        select = select_rows(model, whole(model), by, keys, connection, lock)
        statement = select.statement(keys, connection)
    except EmptyResultSet:  # no row can have such a key
        return []
    with connection.cursor() as cursor:
        cursor.execute(*statement)
        return list(select.objects(cursor.fetchall(), connection))


def ask(
    state: TransactionState, model: type[Model], by: str, keys: Sequence[Any], lock: Lock = None
) -> list[Model]:
    """A list that will have the whole rows with these keys once the next statement is executed."""
    found: list[Model] = []
    connection = state.connection
    with suppress(EmptyResultSet):
        select = select_rows(model, whole(model), by, keys, connection, lock)
        statement = select.statement(keys, connection)
        state.prelude.read(statement, lambda rows: found.extend(select.objects(rows, connection)))
    return found


def ask_rows(state: TransactionState, rows: QuerySet[Any]) -> list[Model]:
    """The same for a queryset of whole rows."""
    found: list[Model] = []
    using, model = rows.db, rows.model
    compiler = rows.query.get_compiler(using=using)
    names = whole(model)

    def answer(answered: list[Any]) -> None:
        found.extend(model.from_db(using, names, row) for row in compiler.results_iter([answered]))

    with suppress(EmptyResultSet):
        state.prelude.read(compiler.as_sql(), answer)
    return found


_compiled: dict[tuple[Any, ...], SelectRows] = {}


def select_rows(
    model: type[Model],
    columns: Sequence[str],
    by: str,
    keys: Sequence[Any],
    connection: BaseDatabaseWrapper,
    lock: Lock = None,
) -> SelectRows:
    """The SELECT of these columns for so many keys. With a ``lock`` a transaction must be open, and rows come in key order."""
    place = (connection.alias, model, tuple(columns), by, len(keys), lock)
    found = _compiled.get(place)
    if found is None:
        compiler = _compiler(model, columns, by, keys, lock, connection)
        sql, params = compiler.as_sql()
        converters = compiler.get_converters([expression for expression, *_ in compiler.select])
        is_fixed = len(keys) <= MOST_KEYS and list(params) == _params(model, by, keys, connection)
        found = SelectRows(
            model,
            columns,
            by,
            lock,
            sql if is_fixed else None,
            [(place, expression, functions) for place, (functions, expression) in converters.items()],
        )
        if is_fixed:
            _compiled[place] = found
    return found


def whole(model: type[Model]) -> list[str]:
    """All columns, in the order in which ``from_db`` is given them."""
    return [field.attname for field in model._meta.concrete_fields]


def _compiler(
    model: type[Model],
    columns: Sequence[str],
    by: str,
    keys: Sequence[Any],
    lock: Lock,
    connection: BaseDatabaseWrapper,
) -> Any:
    rows: QuerySet[Any] = QuerySet(model=model, using=connection.alias)
    rows = rows.filter(**({by: keys[0]} if len(keys) == 1 else {f"{by}__in": keys}))
    rows = rows.order_by() if lock is None or len(keys) == 1 else rows.order_by("pk")
    if lock is not None:
        no_key = lock == "update" and connection.features.has_select_for_no_key_update
        rows = rows.select_for_update(no_key=no_key)
    return rows.values_list(*columns).query.get_compiler(connection=connection)


def _params(
    model: type[Model], by: str, keys: Sequence[Any], connection: BaseDatabaseWrapper
) -> list[Any] | None:
    """What the ORM makes of the keys. ``None`` for one that is SQL itself."""
    fields: Sequence[Any] = model._meta.pk_fields if by == PK else (model._meta.get_field(by),)
    rows = [key if len(fields) > 1 else (key,) for key in keys]
    if any(is_expression(value) for row in rows for value in row):
        return None
    return [
        field.get_db_prep_value(value, connection)
        for row in rows
        for field, value in zip(fields, row, strict=True)
    ]
