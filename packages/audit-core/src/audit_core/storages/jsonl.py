"""Events as JSON Lines in one append-only file: for small trails, and for what collects log files.

A line is the event's canonical JSON with ``seq`` and ``summary`` added at its end, in UTF-8, ended by one
line feed. When ``write`` returns, its events are on the disk (fsync). The ids in the file are kept in memory,
about 100 bytes an event, and are read before the first write: take another storage for millions of events.
"""

from __future__ import annotations

import json
import logging
import os
import time
from collections.abc import Collection, Generator, Iterator, Sequence
from contextlib import contextmanager
from datetime import date
from pathlib import Path
from typing import Any
from uuid import UUID

from audit_core.codec import canonical, leaf_hash, safe_text
from audit_core.errors import ConfigurationError, RetryableError
from audit_core.event import RecordedEvent
from audit_core.storages.matching import is_within

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

logger = logging.getLogger("audit.storages")


class JsonLinesStorage:
    """Appends to the file at ``path``, which it creates, readable for its owner only.

    Writers in several threads and processes take turns by ``flock`` on the file, which therefore belongs on a
    local disk; one that has waited for ``lock_timeout_seconds`` raises
    :class:`~audit_core.errors.RetryableError`. A last line without an end, left by a crash, is cut off by the
    next writer: its event was never acknowledged and comes again. A file that was moved away is forgotten
    with its ids. Windows has no ``flock``: there this raises :class:`~audit_core.errors.ConfigurationError`.
    """

    def __init__(self, path: str | os.PathLike[str], *, lock_timeout_seconds: float = 5.0) -> None:
        if fcntl is None:
            raise ConfigurationError(
                "The storage jsonl locks its file with flock(), which Windows does not have. Use another one."
            )
        self.path = Path(path)
        self._lock_timeout_seconds = lock_timeout_seconds
        self._ids: set[bytes] = set()
        self._inode: tuple[int, int] | None = None  # of the file that _ids were read from
        self._size_bytes = 0  # how far they were read
        self._lines = 0

    def setup(self) -> None:
        """Create the file, and the folders that lead to it."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self._locked() as fd:
            self._catch_up(fd)

    def check(self) -> list[str]:
        """Whether the file can be written, and each of its lines is an event."""
        if not self.path.exists():
            writable = os.access(self.path.parent, os.W_OK | os.X_OK)
            return [] if writable else [f"{self.path} cannot be created. {self._remedy()}"]
        try:
            with self._locked() as fd:
                self._catch_up(fd)
        except (ConfigurationError, RetryableError) as error:
            return [str(error)]
        return []

    def write(self, events: Sequence[RecordedEvent]) -> None:
        """Append those of ``events`` that are not in the file yet.

        Raises :class:`~audit_core.errors.RetryableError` when the disk is full or fails, leaving nothing
        behind, and :class:`~audit_core.errors.ConfigurationError` when the file cannot be opened or is
        damaged.
        """
        with self._locked() as fd:
            self._catch_up(fd)
            new: dict[bytes, RecordedEvent] = {}
            for event in events:
                if event.id.bytes not in self._ids:
                    new.setdefault(event.id.bytes, event)
            data = b"".join(_line(event) for event in new.values())
            try:
                _write_all(fd, data)
                # Also with nothing to append: another writer may have died between its write and its fsync.
                os.fsync(fd)
            except OSError as error:
                # The pages of a failed fsync count as clean though they are lost: they must be written anew.
                os.ftruncate(fd, self._size_bytes)
                raise RetryableError(f"{self.path} could not be written: {error}.") from error
            self._ids.update(new)
            self._size_bytes += len(data)
            self._lines += len(new)

    def read(
        self,
        *,
        since: date | None = None,
        until: date | None = None,
        tenants: Collection[str | None] | None = None,
    ) -> Iterator[RecordedEvent]:
        """The events of these days and tenants, in the order in which they were written."""
        if not self.path.exists():
            return
        with self.path.open("rb") as file:
            for number, line in enumerate(file, start=1):
                if line.endswith(b"\n"):  # else somebody is writing it, or was interrupted
                    data = self._parse(line, number)
                    seq, summary = data.pop("seq", None), data.pop("summary", None)
                    text = canonical(data)
                    event = RecordedEvent(UUID(data["id"]), text, leaf_hash(text), seq=seq, summary=summary)
                    if is_within(event, since=since, until=until, tenants=tenants):
                        yield event

    @contextmanager
    def _locked(self) -> Generator[int]:
        fd = self._open()
        try:
            self._lock(fd)
            yield fd
        finally:
            os.close(fd)  # unlocks it too

    def _open(self) -> int:
        try:
            return os.open(self.path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise ConfigurationError(
                f"{self.path} cannot be opened: {error.strerror}. {self._remedy()}"
            ) from error

    def _remedy(self) -> str:
        return f"Create the folder {self.path.parent} (setup() does), and let this process write there."

    def _lock(self, fd: int) -> None:
        deadline = time.monotonic() + self._lock_timeout_seconds
        while True:
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise RetryableError(
                        f"Another writer has kept {self.path} locked for {self._lock_timeout_seconds} s."
                    ) from None
                time.sleep(0.02)
            else:
                return

    def _catch_up(self, fd: int) -> None:
        """Read the ids that other writers have added, and cut off a last line that has no end."""
        status = os.fstat(fd)
        inode = (status.st_dev, status.st_ino)
        if inode != self._inode or status.st_size < self._size_bytes:
            self._ids, self._inode, self._size_bytes, self._lines = set(), inode, 0, 0
            self._sync_folder()
        if status.st_size == self._size_bytes:
            return
        with open(fd, "rb", closefd=False) as file:
            file.seek(self._size_bytes)
            for line in file:
                if not line.endswith(b"\n"):
                    logger.warning("%s: cut off %d bytes after the last whole line.", self.path, len(line))
                    os.ftruncate(fd, self._size_bytes)
                    return
                self._ids.add(UUID(self._parse(line, self._lines + 1)["id"]).bytes)
                self._size_bytes += len(line)
                self._lines += 1

    def _sync_folder(self) -> None:
        # The name of a new file is on the disk only when its folder is.
        folder = os.open(self.path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)

    def _parse(self, line: bytes, number: int) -> dict[str, Any]:
        try:
            data = json.loads(line)
            UUID(data["id"])
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise ConfigurationError(
                f"Line {number} of {self.path} is no event: the file is damaged or not ours. Move it away: "
                f"the next write begins a new one."
            ) from error
        return dict(data)


def _line(event: RecordedEvent) -> bytes:
    # The event's own text stays as it was hashed; what was added later comes after it.
    added = {"seq": event.seq, "summary": None if event.summary is None else safe_text(event.summary)}
    members = "".join(f',"{key}":{canonical(value)}' for key, value in added.items() if value is not None)
    return f"{event.text[:-1]}{members}}}\n".encode()


def _write_all(fd: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]
