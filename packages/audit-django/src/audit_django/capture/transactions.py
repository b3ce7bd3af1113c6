"""Django's transaction machinery, with the trail's events tied to it.

Methods of ``BaseDatabaseWrapper`` are wrapped, not hooks of ``transaction.on_commit``: an event must be written before the
COMMIT, in the same transaction, and the user's own callbacks must look as if we were not there.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from typing import Any

from django.db import DatabaseError, connections, transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import Model

from audit_core.event import RecordedEvent
from audit_core.plugins.manager import get_plugin_manager
from audit_django.capture import guard
from audit_django.capture.begun_in_sql import begun_in_sql, in_a_savepoint
from audit_django.capture.pending import Pending
from audit_django.capture.round_trips import Prelude
from audit_django.models.event import TABLE_PREFIX
from audit_django.outbox import DjangoOutbox

AfterCommit = Callable[[str, Sequence[RecordedEvent]], None]
"""Called with the alias of a transaction that has committed events, and those events if a plugin wants to see them."""

after_commit: list[AfterCommit] = []


class TransactionState:
    """What the trail knows of the transaction that is open on one connection."""

    def __init__(self, connection: BaseDatabaseWrapper) -> None:
        self.connection = connection
        self.pending = Pending()
        self.prelude = Prelude(connection)
        self._committed: list[RecordedEvent] | None = (
            None  # until autocommit is back and who wants to know is told
        )
        self.holds_write_lock = False
        self._flushing = False
        self._wrapped = False

    def record(self, recorded: RecordedEvent, *, required: bool) -> None:
        """Hold an event until the transaction commits."""
        self.pending.add(recorded, required=required)
        if not self._wrapped:
            # At the front: whoever uses `connection.execute_wrapper()` takes their own off the end.
            self.connection.execute_wrappers.insert(0, self._flush_before_read)
            self._wrapped = True

    def written(self, recorded: RecordedEvent) -> None:
        """An event that was written together with its row."""
        self.pending.add(recorded, required=True)
        self.pending.flushed(keep=get_plugin_manager().wants_recorded_events)

    def flush(self, *, commit: bool = False) -> None:
        """Write what is held, in one INSERT a table. Raises :class:`~audit_django.capture.guard.EventNotWritten`.

        ``commit``: the COMMIT comes next, and may have been sent along.
        """
        if not self.pending or self._flushing:
            return
        self._flushing = True
        try:
            required = [entry.recorded for entry in self.pending.entries() if entry.required]
            best_effort = [entry.recorded for entry in self.pending.entries() if not entry.required]
            self._write(required, best_effort, commit=commit)
            self.pending.flushed(keep=get_plugin_manager().wants_recorded_events)
        finally:
            self._flushing = False

    @contextmanager
    def held(self) -> Generator[None]:
        """Queries on our tables that need no event to be there: inside the block they write none."""
        outer, self._flushing = self._flushing, True
        try:
            yield
        finally:
            self._flushing = outer

    def _write(
        self, required: list[RecordedEvent], best_effort: list[RecordedEvent], *, commit: bool
    ) -> None:
        alias = self.connection.alias
        outbox = DjangoOutbox(alias)
        if required:
            is_last = not best_effort and not guard.losses(alias)
            with guard.writing(alias):
                outbox.append(required, commit=commit and is_last)
        best_effort = [*best_effort, *guard.losses_to_record(alias)]
        if best_effort:
            try:
                with transaction.atomic(
                    using=alias
                ):  # the failed INSERT must not take the business rows along
                    outbox.append(best_effort)
            except DatabaseError as error:
                guard.lost(best_effort, alias, error)

    def _flush_before_read(self, execute: Any, sql: Any, params: Any, many: bool, context: Any) -> Any:
        if (
            self.pending
            and not self._flushing
            and TABLE_PREFIX in str(sql)
            and not self.connection.needs_rollback
        ):
            self.flush()
        return execute(sql, params, many, context)

    def before_commit(self) -> None:
        """Write what is held; when that fails, leave the transaction rolled back and the connection usable."""
        try:
            self.flush(commit=True)
        except BaseException as error:
            if not isinstance(error, DatabaseError):  # for which alone Atomic.__exit__ rolls back by itself
                self.connection.rollback()
            raise
        if self.pending.wrote:
            self._committed = [*(self._committed or ()), *self.pending.kept()]

    def over(self) -> None:
        """The transaction ended, one way or the other."""
        self.pending.clear()
        self.prelude.drop()
        self.holds_write_lock = False
        if self._wrapped:
            self._wrapped = False
            if (
                self._flush_before_read in self.connection.execute_wrappers
            ):  # somebody may have emptied the list
                self.connection.execute_wrappers.remove(self._flush_before_read)

    def forget_committed(self) -> None:
        """The COMMIT failed: nobody is told."""
        self._committed = None

    def tell(self) -> None:
        """Tell who wants to know what has been committed."""
        committed, self._committed = self._committed, None
        if committed is not None:
            for listener in after_commit:
                listener(self.connection.alias, committed)


def state_of(connection: BaseDatabaseWrapper) -> TransactionState:
    """The trail's state of this connection."""
    try:
        return connection._audit_state  # type: ignore[no-any-return,attr-defined]
    except AttributeError:
        state = connection._audit_state = TransactionState(connection)  # type: ignore[attr-defined]
        return state


def _forget_the_parents() -> None:
    """A forked child has none of its parent's events."""
    for connection in connections.all(initialized_only=True):
        state_of(connection).over()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_the_parents)


@contextmanager
def joined(using: str) -> Generator[TransactionState]:
    """The transaction that is open on this alias, or one of our own around the block if none is.

    In somebody else's transaction an error passes through without marking it, as if we were not there: use
    :func:`~audit_django.capture.guard.recording` around what is ours.
    """
    connection = connections[using]
    state = state_of(connection)
    if connection.in_atomic_block:
        state.prelude.begin(own=False)
        try:
            yield state
        finally:
            state.prelude.left()
    elif (
        not connection.get_autocommit()
    ):  # nothing would keep the caller from committing the row without its event
        with transaction.atomic(using=using):
            yield state
    elif begun_in_sql(connection):
        with in_a_savepoint(state):
            yield state
    else:
        with _begin(connection), transaction.atomic(using=using):
            state.holds_write_lock = True
            state.prelude.begin(own=True)
            yield state


def take_write_lock(using: str, model: type[Model]) -> None:
    """Make SQLite wait for the writer before us, as the write to ``model``'s table that comes next would have.

    Our read of the values before would otherwise turn a transaction that begins with a write into one that reads first, which
    fails at once with "database is locked" when another process writes in between. An UPDATE of nothing takes the lock.
    """
    connection: Any = connections[using]
    state = state_of(connection)
    if connection.vendor != "sqlite" or state.holds_write_lock:
        return
    if connection.transaction_mode in (None, "DEFERRED"):
        table, column = map(
            connection.ops.quote_name, (model._meta.db_table, model._meta.pk_fields[0].column)
        )
        with connection.wrap_database_errors:
            connection.connection.execute(f"UPDATE {table} SET {column} = {column} WHERE 0")  # noqa: S608
    state.holds_write_lock = True


@contextmanager
def _begin(connection: Any) -> Generator[None]:
    """Let the transaction that is begun inside take SQLite's write lock with its BEGIN."""
    if connection.vendor != "sqlite" or connection.transaction_mode not in (None, "DEFERRED"):
        yield
        return
    mode = connection.transaction_mode
    connection.transaction_mode = "IMMEDIATE"
    try:
        yield
    finally:
        connection.transaction_mode = mode


def install() -> None:
    """Wrap the methods by which transactions begin and end. Doing it again changes nothing."""
    if getattr(BaseDatabaseWrapper.commit, "_audit", False):
        return

    def commit(call: Callable[[], Any], state: TransactionState) -> None:
        state.before_commit()
        try:
            call()
        except BaseException:
            state.forget_committed()
            raise
        state.over()

    def savepoint(call: Callable[[], Any], state: TransactionState) -> Any:
        sid = call()
        if sid is not None:
            state.pending.savepoint(sid)
        return sid

    def savepoint_rollback(call: Callable[[], Any], state: TransactionState, sid: str) -> None:
        call()
        state.pending.rollback_to(sid)

    def savepoint_commit(call: Callable[[], Any], state: TransactionState, sid: str) -> None:
        call()
        state.pending.release(sid)

    def rollback(call: Callable[[], Any], state: TransactionState) -> None:
        try:
            call()
        finally:
            state.pending.undo()
            state.over()

    def set_autocommit(
        call: Callable[[], Any], state: TransactionState, autocommit: bool, **kwargs: Any
    ) -> None:
        if autocommit and (state.pending or state.pending.wrote):  # switching it on commits what is open
            state.before_commit()
            call()
            state.over()
            state.tell()
        else:
            call()

    def run_and_clear_commit_hooks(call: Callable[[], Any], state: TransactionState) -> None:
        try:
            call()
        finally:
            state.tell()

    _wrap("commit", commit)
    _wrap("rollback", rollback)
    _wrap("close", rollback)
    _wrap("savepoint", savepoint)
    _wrap("savepoint_rollback", savepoint_rollback)
    _wrap("savepoint_commit", savepoint_commit)
    _wrap("set_autocommit", set_autocommit)
    _wrap("run_and_clear_commit_hooks", run_and_clear_commit_hooks)


def _wrap(name: str, around: Callable[..., Any]) -> None:
    original = getattr(BaseDatabaseWrapper, name)

    @functools.wraps(original)
    def method(self: BaseDatabaseWrapper, *args: Any, **kwargs: Any) -> Any:
        return around(lambda: original(self, *args, **kwargs), state_of(self), *args, **kwargs)

    method._audit = True  # type: ignore[attr-defined]
    setattr(BaseDatabaseWrapper, name, method)
