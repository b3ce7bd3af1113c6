"""Threads of which one moves at a time, so that a run is the same whenever it is played."""

from __future__ import annotations

from collections.abc import Callable
from threading import Lock, Thread


class Fiber:
    """A thread that moves only while :meth:`run` or :meth:`resume` waits for it.

    A generator could be paused too, but not from within the relay, whose calls know nothing of it.
    """

    def __init__(self) -> None:
        self._task: Callable[[], None] | None = None
        self._error: BaseException | None = None
        self._may_go, self._has_stopped = Lock(), Lock()
        self._may_go.acquire()
        self._has_stopped.acquire()
        self._thread = Thread(target=self._loop, daemon=True)
        self._thread.start()

    @property
    def paused(self) -> bool:
        """Whether it is in the middle of its task."""
        return self._task is not None

    def run(self, task: Callable[[], None]) -> None:
        """Call ``task`` until it ends or pauses. Raises what it raises."""
        self._task = task
        self.resume()

    def resume(self) -> None:
        """Go on where :meth:`pause` was called. Raises what the task raises."""
        self._may_go.release()
        self._has_stopped.acquire()
        if self._error is not None:
            error, self._error = self._error, None
            raise error

    def pause(self) -> None:
        """Called within the task: let the others move until :meth:`resume`."""
        self._has_stopped.release()
        self._may_go.acquire()

    def close(self) -> None:
        """End the thread, which must not be paused."""
        self._may_go.release()
        self._thread.join()

    def _loop(self) -> None:
        while self._may_go.acquire() and self._task is not None:
            try:
                self._task()
            except BaseException as error:
                self._error = error
            self._task = None
            self._has_stopped.release()
