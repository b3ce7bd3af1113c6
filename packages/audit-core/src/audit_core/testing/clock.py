"""A clock that is turned by hand."""

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta


class VirtualClock:
    """Time that stands still until it is advanced. Calling it gives the time of day, as a database's clock
    would.

    Pass the clock itself where a function that returns an aware ``datetime`` is wanted, and :meth:`monotonic`
    where one that returns seconds is.
    """

    def __init__(self, start: datetime = datetime(2026, 3, 3, 9, 0, tzinfo=UTC)) -> None:
        self._lock = threading.Lock()
        self._start = start
        self._passed = timedelta()

    def __call__(self) -> datetime:
        with self._lock:
            return self._start + self._passed

    def monotonic(self) -> float:
        """The seconds that have passed since the start."""
        with self._lock:
            return self._passed.total_seconds()

    def advance(self, seconds: float) -> None:
        """Let ``seconds`` pass; a negative number is a clock that jumps back."""
        with self._lock:
            self._passed += timedelta(seconds=seconds)
