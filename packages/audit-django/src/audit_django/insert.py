"""INSERTs of the trail's own rows, in as few statements as each database takes."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db import models
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models.constants import OnConflict

from audit_django.capture.round_trips import Statement, execute

ARRAYS_FROM_ROWS = 20
FEW_PARAMS = 900  # which every database takes


def insert(
    connection: BaseDatabaseWrapper,
    model: type[models.Model],
    rows: Sequence[Sequence[Any]],
    on_conflict: OnConflict | None = None,
) -> None:
    """Execute :func:`inserts`."""
    execute(connection, inserts(connection, model, rows, on_conflict), commit=False)


def inserts(
    connection: BaseDatabaseWrapper,
    model: type[models.Model],
    rows: Sequence[Sequence[Any]],
    on_conflict: OnConflict | None = None,
) -> list[Statement]:
    """The INSERT of these rows, each with a value for every field but the automatic key, as one statement.

    ``on_conflict`` says what becomes of rows whose unique key is there already: the new ones are left out, or replace the old.

    More statements only where the database limits the parameters of one. Written by hand because this is in the way of every
    save: the ORM builds the same statement anew each time. PostgreSQL is given many rows as an array a column, because its
    driver takes longer to find a thousand placeholders than the server to insert the rows.
    """
    parts = into(connection, model, on_conflict)
    if connection.vendor == "postgresql" and len(rows) >= ARRAYS_FROM_ROWS:
        return [parts.of_arrays(rows, connection)]
    width = len(parts.fields)
    size = max(1, len(rows))
    if size * width > FEW_PARAMS:
        size = max(1, _max_params(connection) // width)
    batches = [rows[start : start + size] for start in range(0, len(rows), size)]
    return [
        (
            f"{parts.start}VALUES {', '.join([parts.row] * len(batch))}{parts.suffix}",
            [value for row in batch for value in parts.prepared(row, connection)],
        )
        for batch in batches
    ]


@dataclass(frozen=True, slots=True)
class Into:
    """The parts of an INSERT into one table: ``start`` ends before its values, ``suffix`` is what follows them."""

    start: str
    row: str
    suffix: str
    fields: Sequence[models.Field[Any, Any]]
    others: Sequence[tuple[int, models.Field[Any, Any]]]  # those that are no texts, with their places

    def prepared(self, row: Sequence[Any], connection: BaseDatabaseWrapper) -> list[Any]:
        """A row as the driver is given it."""
        values = list(row)
        for n, field in self.others:
            values[n] = field.get_db_prep_value(values[n], connection, prepared=True)
        return values

    def of_arrays(self, rows: Sequence[Sequence[Any]], connection: BaseDatabaseWrapper) -> Statement:
        """The rows as one array a column, each in one text where none of its values has the separator in it.

        PostgreSQL splits a text faster than its driver writes an array, in which each quote and backslash has to be escaped.
        """
        arrays, values = [], []
        for field, column in zip(self.fields, zip(*rows, strict=True), strict=True):
            kind = field.db_type(connection)
            text = _joined(column)
            arrays.append(
                f"%s::{kind}[]"
                if text is None
                else f"string_to_array(%s, E{_BETWEEN!r}, E{_NULL!r})::{kind}[]"
            )
            values.append(list(column) if text is None else text)
        return f"{self.start}SELECT * FROM unnest({', '.join(arrays)}){self.suffix}", values  # noqa: S608


_BETWEEN, _NULL = "\x1f", "\x1e"  # ASCII's unit separator and record separator; JSON texts have neither


def _joined(column: Sequence[Any]) -> str | None:
    """The values in one text, as PostgreSQL reads them; ``None`` when one of them has a separator in it."""
    first = next((value for value in column if value is not None), None)
    write: Callable[[Any], str] = str
    match first:
        case bytes():
            write = _hex
        case datetime():
            write = datetime.isoformat
    texts = [_NULL if value is None else value if type(value) is str else write(value) for value in column]
    text = _BETWEEN.join(texts)
    is_plain = text.count(_BETWEEN) == len(texts) - 1 and text.count(_NULL) == column.count(None)
    return text if is_plain else None


def _hex(value: bytes) -> str:
    return rf"\x{value.hex()}"


_INTO: dict[tuple[str, type[models.Model], OnConflict | None], Into] = {}


def into(
    connection: BaseDatabaseWrapper, model: type[models.Model], on_conflict: OnConflict | None = None
) -> Into:
    """The INSERT into the table of ``model``, put together once for each kind of database."""
    key = (connection.vendor, model, on_conflict)
    if (found := _INTO.get(key)) is not None:
        return found
    operations = connection.ops
    fields = [field for field in model._meta.local_concrete_fields if not isinstance(field, models.AutoField)]
    columns = ", ".join(operations.quote_name(str(field.column)) for field in fields)
    verb = operations.insert_statement(on_conflict=on_conflict)
    unique, others = _unique_columns(model, fields) if on_conflict is OnConflict.UPDATE else ([], [])
    suffix = operations.on_conflict_suffix_sql(fields, on_conflict, others, unique)
    made = _INTO[key] = Into(
        start=f"{verb} {operations.quote_name(model._meta.db_table)} ({columns}) ",
        row=f"({', '.join(['%s'] * len(fields))})",
        suffix=f" {suffix}" if suffix else "",
        fields=fields,
        # A text is what the database is given for every field of ours that is not one of these.
        others=[
            (n, field)
            for n, field in enumerate(fields)
            if not isinstance(field, models.CharField | models.TextField)
        ],
    )
    return made


def _unique_columns(
    model: type[models.Model], fields: Sequence[models.Field[Any, Any]]
) -> tuple[list[str], list[str]]:
    """The columns of the model's one unique constraint, and the others."""
    [constraint] = [c for c in model._meta.constraints if isinstance(c, models.UniqueConstraint)]
    columns = [str(field.column) for field in fields if field.name in constraint.fields]
    return columns, [str(field.column) for field in fields if field.name not in constraint.fields]


def _max_params(connection: BaseDatabaseWrapper) -> int:
    if connection.vendor == "sqlite":  # Django's figure is SQLite's least; the library in use allows far more
        return int(min(connection.connection.getlimit(sqlite3.SQLITE_LIMIT_VARIABLE_NUMBER), 30_000))
    return connection.features.max_query_params or 30_000  # PostgreSQL's protocol ends at 65,535
