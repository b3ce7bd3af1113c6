"""Rows that wait for the end of their statement, in memory that stays flat.

The first parts are kept as they are. What is more goes to a file without a name, encrypted with a key that exists only here:
values that no table of the trail may hold in the clear must not lie on a disk either.
"""

from __future__ import annotations

import pickle
import tempfile
from collections.abc import Iterator, Sequence
from types import TracebackType
from typing import Any

from django.db.models import Model

PARTS_IN_MEMORY = 5


class Spool:
    """Parts of rows, given back in the order in which they came. Use it as a context manager: leaving it deletes the file."""

    def __init__(self) -> None:
        self._parts: list[list[Model]] = []
        self._sizes: list[int] = []  # of the parts in the file, in bytes
        self._file: Any = None
        self._cipher: Any = None
        self.rows = 0

    def append(self, rows: list[Model]) -> None:
        """Keep one part."""
        self.rows += len(rows)
        if len(self._parts) < PARTS_IN_MEMORY:
            self._parts.append(rows)
            return
        if self._file is None:
            from cryptography.hazmat.primitives.ciphers.aead import AESGCM

            self._file = tempfile.TemporaryFile(prefix="audit-")  # noqa: SIM115 - closed with the spool
            self._cipher = AESGCM(AESGCM.generate_key(256))
        # The key is used for nothing else, so the number of the part is a nonce (NIST SP 800-38D, section 8.2.1).
        part = self._cipher.encrypt(
            _nonce(len(self._sizes)), pickle.dumps(rows, pickle.HIGHEST_PROTOCOL), None
        )
        self._file.write(part)
        self._sizes.append(len(part))

    def __iter__(self) -> Iterator[Sequence[Model]]:
        yield from self._parts
        if self._file is not None:
            self._file.seek(0)
            for number, size in enumerate(self._sizes):
                # Nobody else can have written what this key decrypts.
                yield pickle.loads(self._cipher.decrypt(_nonce(number), self._file.read(size), None))  # noqa: S301

    def __enter__(self) -> Spool:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._parts.clear()
        if self._file is not None:
            self._file.close()


def _nonce(number: int) -> bytes:
    return number.to_bytes(12, "big")
