"""Statements that share a round trip to the server.

A write in autocommit needs a BEGIN and the row as it was before it, and an event and a COMMIT after it. PostgreSQL takes
several of them in one simple query, which psycopg 3 sends where it binds on the client's side, as it does in Django unless told
otherwise. Elsewhere (bound on the server's side, a pipeline, psycopg 2, other databases) they go one by one, and nothing else
is different.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from django.db import NotSupportedError, ProgrammingError
from django.db.backends.base.base import BaseDatabaseWrapper

Statement = tuple[str, Sequence[Any]]
"""SQL with its parameters."""


@lru_cache(maxsize=1)
def _client_cursor() -> type | None:
    """psycopg 3's cursor that binds on the client's side; ``None`` when Django uses another driver."""
    try:
        from django.db.backends.postgresql.psycopg_any import is_psycopg3
    except ImportError:  # neither of them is installed
        return None
    if not is_psycopg3:
        return None
    import psycopg

    return psycopg.ClientCursor


def can_share(connection: BaseDatabaseWrapper) -> bool:
    """Whether one message to this server may hold several statements."""
    if connection.vendor != "postgresql" or connection.features.uses_server_side_binding:  # type: ignore[attr-defined]
        return False
    driver: Any = connection.connection
    return _client_cursor() is not None and driver is not None and driver._pipeline is None


def in_transaction(connection: BaseDatabaseWrapper) -> bool:
    """Whether PostgreSQL has a transaction open, or one that failed. No query: the server says it with every answer."""
    driver: Any = connection.connection
    return bool(driver.pgconn.transaction_status)


def is_over(connection: BaseDatabaseWrapper) -> bool:
    """After an error: whether it was the COMMIT sent along that failed, so that no transaction is left to roll back."""
    return can_share(connection) and not in_transaction(connection)


def execute(connection: BaseDatabaseWrapper, statements: Sequence[Statement], *, commit: bool) -> None:
    """Execute these statements, and the COMMIT of the open transaction with them where that saves a round trip.

    The driver sees by itself whether it was: in no transaction, its ``commit()`` does nothing.
    """
    if not statements:
        return
    with connection.cursor() as cursor:
        if can_share(connection):
            text = "; ".join(sql for sql, _ in statements)
            values = [value for _, params in statements for value in params]
            cursor.execute(f"{text}; COMMIT" if commit else text, values)
        else:
            for sql, params in statements:
                cursor.execute(sql, params)


@dataclass(slots=True)
class Companion:
    """Rows to be inserted by the very statement that writes another row, in as many copies as it writes rows: one, or none.

    That statement begins with ``start``. ``inserts`` is called when it is on its way, and gives each INSERT up to its SELECT,
    with the values to select; nothing when there is nothing to insert. Then, or where a server cannot, ``written`` stays false.
    """

    start: str
    inserts: Callable[[], Sequence[Statement]]
    written: bool = False


class Prelude:
    """What goes to the server with the next statement on a connection: a BEGIN, reads that nobody waits for yet, a companion."""

    def __init__(self, connection: BaseDatabaseWrapper) -> None:
        self._connection = connection
        self._begins = False
        self._is_own = False
        self._reads: list[tuple[Statement, Callable[[list[Any]], None]]] = []
        self._companion: Companion | None = None

    def begin(self, *, own: bool) -> None:
        """Django has begun a transaction, for which the driver would send a BEGIN before the first statement.

        ``own``: it is ours, around one write. Nothing is done where the transaction has begun already.
        """
        if not self._begins and can_share(self._connection) and not in_transaction(self._connection):
            self._begins, self._is_own = True, own
            self._wait()

    def read(self, statement: Statement, answer: Callable[[list[Any]], None]) -> None:
        """Read, at the latest with the next statement, and give ``answer`` the rows as the driver made them."""
        if can_share(self._connection):
            self._reads.append((statement, answer))
            self._wait()
        else:
            self._read_now(statement, answer)

    def sent_with(self, write: Callable[[], Any], companion: Companion | None = None) -> Any:
        """What ``write`` returns, whose first statement takes the reads along.

        With a companion that statement can be the whole of a transaction of ours, and needs neither BEGIN nor COMMIT.
        """
        self._companion = companion
        try:
            result = write()
        except BaseException:
            self.drop()
            raise
        finally:
            self._companion = None
        self.send()
        return result

    def send(self) -> None:
        """Read what no statement has taken along."""
        while self._reads:  # the last takes the others along
            statement, answer = self._reads.pop()
            self._read_now(statement, answer)

    def left(self) -> None:
        """A block in a transaction of the user's is over: a BEGIN that no statement has taken along is the driver's again."""
        if self._begins and not self._is_own and not self._reads:
            self.drop()

    def drop(self) -> None:
        """The transaction, or the write that this was for, is over."""
        self._begins = False
        self._reads = []
        if self._take_along in self._connection.execute_wrappers:
            self._connection.execute_wrappers.remove(self._take_along)

    def _wait(self) -> None:
        if self._take_along not in self._connection.execute_wrappers:
            # At the end: what others have put around statements sees their own and not ours.
            self._connection.execute_wrappers.append(self._take_along)

    def _read_now(self, statement: Statement, answer: Callable[[list[Any]], None]) -> None:
        with self._connection.cursor() as cursor:
            cursor.execute(*statement)
            answer(cursor.fetchall())

    def _take_along(self, execute: Any, sql: Any, params: Any, many: bool, context: Any) -> Any:
        cursor = context["cursor"].cursor
        if many or not isinstance(sql, str) or not _binds_on_client(cursor):
            self.send()
            return execute(sql, params, many, context)
        is_alone = self._begins and self._is_own and not self._reads
        companion = self._companion if is_alone else None
        if companion is not None and sql.startswith(companion.start) and " RETURNING " not in sql:
            return self._with_companion(companion, execute, sql, params, context)
        begins, reads = self._begins and self._take_begin(), self._reads
        self.drop()
        before = ["BEGIN"] * begins
        if isinstance(
            params, list | tuple
        ):  # one text for all keys, which the driver needs to parse but once
            before += [text for (text, _), _ in reads]
            params = [*(value for (_, own), _ in reads for value in own), *params]
        else:
            texts = [cursor.mogrify(*statement) for statement, _ in reads]
            before += texts if params is None else [text.replace("%", "%%") for text in texts]
        with self._without_begin_of_the_driver() if begins else nullcontext():
            result = execute("; ".join([*before, sql]), params, many, context)
        if begins:
            cursor.nextset()
        for _, answer in reads:
            answer(cursor.fetchall())
            cursor.nextset()
        return result

    def _with_companion(
        self, companion: Companion, execute: Any, sql: str, params: Sequence[Any], context: Any
    ) -> Any:
        self._companion = None
        inserts = companion.inserts()
        # To make them may have taken a statement of its own, a label or a key: the transaction has begun then.
        if not inserts or not self._begins or not self._take_begin():
            return self._take_along(execute, sql, params, False, context)
        self.drop()
        *others, last = (f"{insert} FROM written" for insert, _ in inserts)
        parts = [f"{sql} RETURNING 1", *others]
        names = ["written", *(f"companion_{n}" for n in range(len(others)))]
        text = ", ".join(f"{name} AS ({part})" for name, part in zip(names, parts, strict=True))
        values = [*params, *(value for _, own in inserts for value in own)]
        try:
            with self._without_begin_of_the_driver():
                result = execute(f"WITH {text} {last}", values, False, context)
        except (NotSupportedError, ProgrammingError):
            self.begin(
                own=True
            )  # nothing was written: a table has rules, or is missing, which the statements tell one by one
            return self._take_along(execute, sql, params, False, context)
        companion.written = bool(context["cursor"].rowcount)
        if not companion.written:  # there is no such row, and no transaction: what is tried next begins one
            self.begin(own=True)
        return result

    def _take_begin(self) -> bool:
        """Whether the BEGIN is ours to send: the driver's own would wait for its answer."""
        driver: Any = self._connection.connection
        options = (driver.isolation_level, driver.read_only, driver.deferrable)
        return not in_transaction(self._connection) and all(option is None for option in options)

    @contextmanager
    def _without_begin_of_the_driver(self) -> Generator[None]:
        """psycopg sends a BEGIN before the statement unless it is told that this is autocommit: for this one statement it is.

        The attribute, because the property refuses to be set back inside a transaction.
        """
        driver: Any = self._connection.connection
        before, driver._autocommit = driver._autocommit, True
        try:
            yield
        finally:
            driver._autocommit = before


def _binds_on_client(cursor: Any) -> bool:
    expected = _client_cursor()
    return expected is not None and isinstance(cursor, expected)
