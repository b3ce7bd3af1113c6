"""Rows to bytes and back: JSON Lines with gzip or zstd, and Parquet.

Readers get the rows one by one and writers take them by the batch, so that compaction holds a part of an object at a time.
"""

from __future__ import annotations

import gzip
import io
import json
from collections.abc import Iterator, Sequence
from typing import IO, Any, Protocol

from audit_core.errors import ConfigurationError
from audit_storage_s3.errors import DamagedObject
from audit_storage_s3.rows import Row

GZIP_LEVEL = 5  # of 9: above it twice the time saves two per cent

_line = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode


class Format(Protocol):
    """How the rows of an object are written and read."""

    suffix: str
    content_type: str

    def write(self, batches: Iterator[Sequence[Row]], into: IO[bytes]) -> None:
        """Write an object with these rows."""

    def read(self, source: IO[bytes]) -> Iterator[Row]:
        """The rows of an object, in their order."""

    def ids(self, source: IO[bytes]) -> Iterator[str]:
        """The ids in an object."""


def format_of(name: str, compression: str) -> Format:
    """The format of these settings. Raises :class:`~audit_core.errors.ConfigurationError` when its library is missing."""
    if name == "parquet":
        try:
            from audit_storage_s3.parquet import Parquet
        except ImportError as error:
            raise _not_installed("Parquet", "pyarrow", "parquet") from error
        return Parquet(compression)
    return JsonLines(compression)


class JsonLines:
    """A row is a line of JSON, in UTF-8. zstd is Python's own since 3.14, and a backport of it before."""

    content_type = "application/x-ndjson"

    def __init__(self, compression: str) -> None:
        self._zstd = _import_zstd() if compression == "zstd" else None
        self.suffix = ".jsonl.zst" if self._zstd else ".jsonl.gz"

    def write(self, batches: Iterator[Sequence[Row]], into: IO[bytes]) -> None:
        """Write an object with these rows."""
        with self._open(into, "wb") as file:
            for rows in batches:
                file.write("".join(f"{_line(row)}\n" for row in rows).encode())

    def read(self, source: IO[bytes]) -> Iterator[Row]:
        """The rows of an object, in their order."""
        with self._open(source, "rb") as file:
            for line in file:
                yield json.loads(line)

    def ids(self, source: IO[bytes]) -> Iterator[str]:
        """The ids in an object."""
        return (row["id"] for row in self.read(source))

    def _open(self, file: IO[bytes], mode: str) -> Any:
        if self._zstd is not None:
            return self._zstd.open(file, mode)
        if mode == "wb":
            return gzip.GzipFile("", mode, GZIP_LEVEL, file, mtime=0)
        return gzip.open(file)


def encoded(format_: Format, rows: Sequence[Row]) -> bytes:
    """An object with these rows, in memory."""
    into = io.BytesIO()
    format_.write(iter([rows]), into)
    return into.getvalue()


def decoded(format_: Format, body: bytes, key: str) -> Iterator[Row]:
    """The rows of the object of this key. Raises :class:`~audit_storage_s3.errors.DamagedObject` when they cannot be read."""
    rows = format_.read(io.BytesIO(body))
    while True:
        try:
            row = next(rows)
        except StopIteration:
            return
        except (
            Exception
        ) as error:  # each library has errors of its own, and EOFError, zlib.error and OSError besides
            raise DamagedObject(
                f"{key} cannot be read ({type(error).__name__}: {error}). {DamagedObject.REMEDY}"
            ) from error
        yield row


def _import_zstd() -> Any:
    try:
        from compression import zstd  # type: ignore[import-not-found,unused-ignore]  # Python 3.14
    except ImportError:
        try:
            from backports import zstd
        except ImportError as error:
            raise _not_installed("zstd", "backports.zstd", "zstd") from error
    return zstd


def _not_installed(what: str, package: str, extra: str) -> ConfigurationError:
    return ConfigurationError(
        f"{what} needs {package}, which is not installed. Run: pip install 'audit-storage-s3[{extra}]'"
    )
