"""Text search through the database's own index.

The text that is searched holds an event's words (labels, values as people see them) as they were at the time; it is written
with the event, so a change is found the moment it is committed. Each database has its own way: PostgreSQL a GIN index
over the words, MariaDB and MySQL a FULLTEXT index, SQLite an FTS5 table that a trigger brings up to date every few events.
No query uses LIKE on more than a few rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from hashlib import blake2s
from typing import Any

from django.db import models
from django.db.models import Lookup
from django.db.models.sql.compiler import SQLCompiler

from audit_core.words import words_in

EVENT_TABLE = "audit_django_event"
FTS_TABLE = "audit_django_event_fts"
FTS_BATCH = 64  # events that SQLite indexes at once
_INDEXED = f"SELECT coalesce(max(id), 0) FROM {FTS_TABLE}_docsize"  # noqa: S608  names of our own tables
FTS_WAITS = f"number > ({_INDEXED})"  # those that are not indexed yet
# InnoDB indexes neither words of one or two characters nor these (INNODB_FT_DEFAULT_STOPWORD): asking for one finds nothing.
_INNODB_STOPWORDS = frozenset(
    "about are com for from how that the this und was what when where who will with www".split()
)


class SearchField(models.TextField):  # type: ignore[type-arg]
    """The words of an event. ``search__words="jane doe"`` matches rows that hold every word, or words that begin with it."""


@SearchField.register_lookup
class Words(Lookup):
    """All of these words occur; the last may be the beginning of one, so that typing finds."""

    lookup_name = "words"

    def get_prep_lookup(self) -> str:
        return str(self.rhs)

    def _words(self) -> list[str]:
        return words_in(self.rhs)

    def _innodb_words(self) -> list[str]:
        return [w for w in self._words() if len(w) > 2 and w not in _INNODB_STOPWORDS]

    def as_sql(self, compiler: SQLCompiler, connection: Any) -> tuple[str, tuple[Any, ...]]:
        raise NotImplementedError(f"The audit trail cannot search text on {connection.vendor}.")

    def as_postgresql(self, compiler: SQLCompiler, connection: Any) -> tuple[str, tuple[Any, ...]]:
        words = self._words()
        if not words:
            return "FALSE", ()
        return self._in_words(
            compiler, connection, " & ".join([*(f"'{w}'" for w in words[:-1]), f"'{words[-1]}':*"])
        )

    def _in_words(self, compiler: SQLCompiler, connection: Any, query: str) -> tuple[str, tuple[Any, ...]]:
        """The words are there already, so no parser of PostgreSQL's has to find them, which takes longer than the index."""
        column, params = self.process_lhs(compiler, connection)
        return f"array_to_tsvector(string_to_array({column}, ' ')) @@ %s::tsquery", (*params, query)

    def as_sqlite(self, compiler: SQLCompiler, connection: Any) -> tuple[str, tuple[Any, ...]]:
        words = self._words()
        if not words:
            return "0 = 1", ()
        query = " ".join([*(f'"{w}"' for w in words[:-1]), f'"{words[-1]}" *'])
        return self._in_index(
            compiler, connection, query, [*(f" {w} " for w in words[:-1]), f" {words[-1]}"], " AND "
        )

    def _in_index(
        self, compiler: SQLCompiler, connection: Any, query: str, parts: Sequence[str], joined_by: str
    ) -> tuple[str, tuple[Any, ...]]:
        """What the index finds, and those of the few events that it does not have yet whose words hold these ``parts``."""
        table = compiler.query.get_initial_alias()
        quote = connection.ops.quote_name
        waiting = joined_by.join(["instr(' ' || search || ' ', %s)"] * len(parts))
        return (
            f"{quote(table)}.{quote('number')} IN "  # noqa: S608  names of our own tables
            f"(SELECT rowid FROM {FTS_TABLE} WHERE {FTS_TABLE} MATCH %s "
            f"UNION ALL SELECT number FROM {EVENT_TABLE} WHERE {FTS_WAITS} AND ({waiting}))",
            (query, *parts),
        )

    def as_mysql(self, compiler: SQLCompiler, connection: Any) -> tuple[str, tuple[Any, ...]]:
        column, params = self.process_lhs(compiler, connection)
        words = self._innodb_words()
        if not words:
            return "0 = 1", ()
        query = " ".join([*(f'+"{w}"' for w in words[:-1]), f"+{words[-1]}*"])
        return f"MATCH({column}) AGAINST (%s IN BOOLEAN MODE)", (*params, query)


@SearchField.register_lookup
class WordsHere(Words):
    """The same, found by reading the row: for a few rows that are known by another condition."""

    lookup_name = "words_here"

    def as_mysql(self, compiler: SQLCompiler, connection: Any) -> tuple[str, tuple[Any, ...]]:
        # A MATCH would ask the index for every row there is. The words hold nothing that LIKE could take for a pattern.
        column, params = self.process_lhs(compiler, connection)
        words = self._innodb_words()
        if not words:
            return "0 = 1", ()
        patterns = [*(f"% {word} %" for word in words[:-1]), f"% {words[-1]}%"]
        condition = f"CONCAT(' ', {column}, ' ') LIKE %s"
        return " AND ".join([condition] * len(patterns)), tuple(
            v for pattern in patterns for v in (*params, pattern)
        )


@SearchField.register_lookup
class AnyWord(Words):
    """One of these words occurs, as it is."""

    lookup_name = "any_word"

    def as_postgresql(self, compiler: SQLCompiler, connection: Any) -> tuple[str, tuple[Any, ...]]:
        return self._in_words(compiler, connection, " | ".join(f"'{word}'" for word in self._words()))

    def as_sqlite(self, compiler: SQLCompiler, connection: Any) -> tuple[str, tuple[Any, ...]]:
        words = self._words()
        query = " OR ".join(f'"{word}"' for word in words)
        return self._in_index(compiler, connection, query, [f" {word} " for word in words], " OR ")

    def as_mysql(self, compiler: SQLCompiler, connection: Any) -> tuple[str, tuple[Any, ...]]:
        column, params = self.process_lhs(compiler, connection)
        return f"MATCH({column}) AGAINST (%s IN BOOLEAN MODE)", (*params, " ".join(self._words()))


def mask_token(mask: str) -> str:
    """The word by which events with the sealed value of this mask are found."""
    return "zm" + blake2s(mask.encode(), digest_size=12).hexdigest()


@cache
def field_token(name: str) -> str:
    """The word by which events that changed the field ``name`` are found in the same index."""
    return "zf" + blake2s(name.encode(), digest_size=6).hexdigest()
