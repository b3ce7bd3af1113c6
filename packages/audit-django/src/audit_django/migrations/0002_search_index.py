"""The full-text index, in each database's own way."""

from django.db import migrations

from audit_django.models.search import FTS_BATCH, FTS_TABLE, FTS_WAITS

TABLE = "audit_django_event"

CREATE = {
    "postgresql": [
        f"CREATE INDEX audit_event_search ON {TABLE} USING gin (array_to_tsvector(string_to_array(search, ' ')))",
        # Texts of two kilobytes are compressed, and this is the quickest way; not every server is built with it.
        f"DO $$ BEGIN ALTER TABLE {TABLE} ALTER COLUMN text SET COMPRESSION lz4; "
        "EXCEPTION WHEN feature_not_supported THEN NULL; END $$",
    ],
    "mysql": [
        f"CREATE FULLTEXT INDEX audit_event_search ON {TABLE} (search)",
    ],
    # External content: the words are stored once, in the event table. Events are only ever added and, by pruning, removed.
    # They are indexed 64 at a time, as PostgreSQL's index does it too: one by one they cost as much as the rest of the event.
    # What waits is read by the search (see models.search).
    "sqlite": [
        f"CREATE VIRTUAL TABLE {FTS_TABLE} USING fts5"
        f"(search, content='{TABLE}', content_rowid='number', tokenize='unicode61 remove_diacritics 0')",
        f"CREATE TRIGGER {FTS_TABLE}_insert AFTER INSERT ON {TABLE} WHEN new.number % {FTS_BATCH} = 0 BEGIN "
        f"INSERT INTO {FTS_TABLE} (rowid, search) SELECT number, search FROM {TABLE} WHERE {FTS_WAITS}; END",
        f"CREATE TRIGGER {FTS_TABLE}_delete AFTER DELETE ON {TABLE} "
        f"WHEN EXISTS (SELECT 1 FROM {FTS_TABLE}_docsize WHERE id = old.number) BEGIN "
        f"INSERT INTO {FTS_TABLE} ({FTS_TABLE}, rowid, search) VALUES ('delete', old.number, old.search); END",
    ],
}
DROP = {
    "postgresql": ["DROP INDEX audit_event_search"],
    "mysql": [f"DROP INDEX audit_event_search ON {TABLE}"],
    "sqlite": [
        f"DROP TRIGGER {FTS_TABLE}_insert",
        f"DROP TRIGGER {FTS_TABLE}_delete",
        f"DROP TABLE {FTS_TABLE}",
    ],
}


def _run(statements):
    def run(apps, schema_editor):
        for statement in statements.get(schema_editor.connection.vendor, ()):
            schema_editor.execute(statement)

    return run


class Migration(migrations.Migration):
    dependencies = [("audit_django", "0001_initial")]
    operations = [migrations.RunPython(_run(CREATE), _run(DROP), atomic=False)]
