"""Which rows a ``bulk_create()`` has made, where the objects do not know it: asked of the INSERT itself."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from typing import Any

from django.db import connections
from django.db.models import Model, QuerySet, sql

from audit_django.capture import guard


def returned(queryset: QuerySet[Any], using: str, insert: Callable[[], Any]) -> list[Model]:
    """Conflicts are ignored: ``INSERT … RETURNING`` gives back the rows that were inserted, and no others."""
    meta = queryset.model._meta.concrete_model._meta
    columns = list(meta.local_concrete_fields)
    new: list[Model] = []

    def returning(
        objs: Sequence[Model], fields: Sequence[Any], on_conflict: Any = None, **kwargs: Any
    ) -> list[Any]:
        query = sql.InsertQuery(queryset.model, on_conflict=on_conflict)
        query.insert_values(fields, list(objs))
        compiler = query.get_compiler(using=using)
        compiler.returning_fields = columns
        with connections[using].cursor() as cursor:
            [(statement, params)] = compiler.as_sql()
            cursor.execute(statement, params)
            rows: Any = cursor.fetchall()
        converters = compiler.get_converters([field.get_col(meta.db_table) for field in columns])
        names = [field.attname for field in columns]
        rows = compiler.apply_converters(rows, converters) if converters else rows
        new.extend(queryset.model.from_db(using, names, row) for row in rows)
        return []

    with _inserting(queryset, returning):
        insert()
    return new


def numbered(queryset: QuerySet[Any], using: str, insert: Callable[[], Any]) -> list[Model]:
    """No conflict is possible, and the database has no ``RETURNING``: rows are found by the numbers that it gave them."""
    new: list[Model] = []
    plain_insert = queryset._insert  # type: ignore[attr-defined]

    def numbering(objs: Sequence[Model], fields: Sequence[Any], **kwargs: Any) -> list[Any]:
        if queryset.model._meta.auto_field in (None, *fields):
            plain_insert(objs, fields=fields, **kwargs)
            new.extend(objs)
            return []
        query = sql.InsertQuery(queryset.model)
        query.insert_values(fields, list(objs))
        with connections[using].cursor() as cursor:
            [(statement, params)] = query.get_compiler(using=using).as_sql()
            cursor.execute(statement, params)
            keys = _keys_given(connections[using].vendor, cursor, len(objs))
        rows: QuerySet[Any] = QuerySet(model=queryset.model, using=using)
        found = rows.in_bulk(keys)
        if len(found) != len(objs):
            raise guard.EventNotWritten(
                f"Of {len(objs):,} new rows of {queryset.model._meta.label} only {len(found):,} were found again, so nothing "
                "was saved. Save the objects one by one."
            )
        new.extend(found[key] for key in keys)
        return []

    with _inserting(queryset, numbering):
        insert()
    return new


def _keys_given(vendor: str, cursor: Any, count: int) -> list[int]:
    """The keys of the rows that were just inserted. They follow one another, as their number was known beforehand.

    MySQL names the first of them (its manual, "AUTO_INCREMENT Handling in InnoDB", on simple inserts), SQLite the last.
    """
    if vendor == "sqlite":
        return list(range(cursor.lastrowid - count + 1, cursor.lastrowid + 1))
    first = cursor.lastrowid
    cursor.execute("SELECT @@auto_increment_increment")
    step = cursor.fetchone()[0]
    return list(range(first, first + count * step, step))


@contextmanager
def _inserting(queryset: Any, insert: Callable[..., list[Any]]) -> Generator[None]:
    """Let ``insert`` write what this queryset creates."""
    queryset._insert = insert
    try:
        yield
    finally:
        del queryset._insert
