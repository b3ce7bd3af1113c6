"""The outbox and the log in an SQLite file, for programs without a framework. Needs SQLite 3.35 or newer.

database = SqliteDatabase("shop.db")
with database.transaction() as connection:
    connection.execute("UPDATE orders SET status = 'paid' WHERE id = 7")
    database.outbox.append([event])
Relay(database.log, {"archive": storage}).run_once()
"""

from audit_core.sqlite.database import SqliteDatabase
from audit_core.sqlite.outbox import append

__all__ = ["SqliteDatabase", "append"]
