"""Audit events in a SQLite file."""

import sqlite3
from contextlib import closing

from audit_core import hookimpl


class ExampleStorage:
    def __init__(self, path):
        self.path = path

    def setup(self):
        with closing(sqlite3.connect(self.path)) as db, db:
            db.execute("CREATE TABLE IF NOT EXISTS event (id PRIMARY KEY, seq, text, summary)")

    def write(self, events):
        rows = [(str(event.id), event.seq, event.text, event.summary) for event in events]
        with closing(sqlite3.connect(self.path)) as db, db:
            db.executemany("INSERT OR IGNORE INTO event VALUES (?, ?, ?, ?)", rows)


@hookimpl
def audit_register_storages():
    return {"example": ExampleStorage}
