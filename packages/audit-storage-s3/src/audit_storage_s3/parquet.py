"""Parquet, by pyarrow."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import IO

import pyarrow as pa
import pyarrow.parquet as pq

from audit_core.event import format_timestamp
from audit_storage_s3.rows import COLUMNS, Row

ROW_GROUP_ROWS = 20_000  # some 30 MB of text: a row group is held in memory when it is written
READ_ROWS = 1_000

_TYPES = {
    "seq": pa.int64(),
    "occurred_at": pa.timestamp("us", tz="UTC"),
    "fields": pa.list_(pa.string()),
}
_REPEATING = [name for name in COLUMNS if name not in ("id", "seq", "summary", "leaf_hash", "text", "fields")]
SCHEMA = pa.schema([(name, _TYPES.get(name, pa.string())) for name in COLUMNS])


class Parquet:
    """A row is a row; ``occurred_at`` is a timestamp in UTC with microseconds."""

    suffix = ".parquet"
    content_type = "application/vnd.apache.parquet"

    def __init__(self, compression: str) -> None:
        self._compression = compression

    def write(self, batches: Iterator[Sequence[Row]], into: IO[bytes]) -> None:
        """Write an object with these rows."""
        with pq.ParquetWriter(
            into, SCHEMA, compression=self._compression, use_dictionary=_REPEATING
        ) as writer:
            waiting: list[Row] = []
            for rows in batches:
                waiting += rows
                if len(waiting) >= ROW_GROUP_ROWS:
                    writer.write_table(_table(waiting))
                    waiting = []
            if waiting:
                writer.write_table(_table(waiting))

    def read(self, source: IO[bytes]) -> Iterator[Row]:
        """The rows of an object, in their order."""
        with pq.ParquetFile(source) as file:
            for batch in file.iter_batches(READ_ROWS):
                for row in batch.to_pylist():
                    row["occurred_at"] = format_timestamp(row["occurred_at"])
                    yield row

    def ids(self, source: IO[bytes]) -> Iterator[str]:
        """The ids in an object."""
        with pq.ParquetFile(source) as file:
            for batch in file.iter_batches(columns=["id"]):
                yield from batch.column(0).to_pylist()


def _table(rows: Sequence[Row]) -> pa.Table:
    return pa.Table.from_pylist(
        [{**row, "occurred_at": datetime.fromisoformat(row["occurred_at"])} for row in rows], SCHEMA
    )
