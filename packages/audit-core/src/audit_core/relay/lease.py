"""Holding a lease: take it, renew it in time, give it back."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from types import TracebackType

from audit_core.errors import LeaseLost
from audit_core.log import Lease, Log


class Hold:
    """A lease for as long as a ``with`` block. The log's own clock decides when it expires; ``monotonic``
    only says when it is time to renew it, a third of its life before that becomes urgent.
    """

    def __init__(self, log: Log, lease: Lease, ttl_seconds: float, monotonic: Callable[[], float]) -> None:
        self.lease = lease
        self._log = log
        self._ttl_seconds = ttl_seconds
        self._monotonic = monotonic
        self._renewed_at = monotonic()

    @classmethod
    def take(
        cls, log: Log, name: str, owner: str, ttl_seconds: float, monotonic: Callable[[], float]
    ) -> Hold | None:
        """The lease on ``name``, or ``None`` when it cannot be had now. ``owner`` must be nobody else's
        name.
        """
        lease = log.acquire(name, owner, ttl_seconds)
        return None if lease is None else cls(log, lease, ttl_seconds, monotonic)

    def renew(self) -> None:
        """Make the lease last, if a third of it has passed. Raises :class:`~audit_core.errors.LeaseLost`."""
        now = self._monotonic()
        if now - self._renewed_at < self._ttl_seconds / 3:
            return
        lease = self._log.acquire(self.lease.name, self.lease.owner, self._ttl_seconds)
        if lease != self.lease:
            if lease is not None:  # it had expired: others may have moved the cursor since it was read
                self._log.release(lease)
            raise LeaseLost(
                f"The lease on {self.lease.name!r} could not be renewed: it expired, or was taken over, or "
                f"the cursor is paused."
            )
        self._renewed_at = now

    def __enter__(self) -> Hold:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if error is None:
            self._log.release(self.lease)
        else:
            with suppress(
                Exception
            ):  # what went wrong first is what matters, and the lease expires by itself
                self._log.release(self.lease)
