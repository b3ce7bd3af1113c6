"""Transactions that the application begins by a statement of its own, past Django: ``cursor.execute("BEGIN")``.

Django takes the connection for one in autocommit. A BEGIN of ours would fail, and the COMMIT in SQL is seen by nobody: so
each write has a savepoint, with its events in it.
"""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from django.db import transaction

if TYPE_CHECKING:
    from audit_django.capture.transactions import TransactionState

PQTRANS_OPEN = (2, 3)  # libpq's INTRANS and INERROR, in psycopg 2 and 3 alike
SERVER_STATUS_IN_TRANS = 1  # of the protocol of MariaDB and MySQL


def begun_in_sql(connection: Any) -> bool:
    """Whether such a transaction is open, as far as the driver knows without asking the server: mysqlclient does not."""
    driver = connection.connection
    match connection.vendor:
        case "sqlite":
            return bool(driver.in_transaction)
        case "postgresql":
            return driver.info.transaction_status in PQTRANS_OPEN
        case "mysql":
            return bool(getattr(driver, "server_status", 0) & SERVER_STATUS_IN_TRANS)  # PyMySQL tells
    return False


@contextmanager
def in_a_savepoint(state: TransactionState) -> Generator[None]:
    """A savepoint in that transaction; the events of the block are written at its end."""
    state.connection.autocommit = False  # so that atomic() does not BEGIN
    try:
        with transaction.atomic(using=state.connection.alias):
            yield
            state.flush()
    finally:
        state.connection.autocommit = True
        state.pending.undo()  # what is remembered of it may be rolled back
        state.over()
