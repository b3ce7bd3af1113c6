"""The events of a transaction with savepoints, against a model of what a database does (Hypothesis, stateful)."""

import pytest
from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from audit_core.testing import make_event
from audit_django.capture.pending import Pending


class Savepoints(RuleBasedStateMachine):
    """The database is a list of rows and a stack of savepoints; the truth is the list of events that were not rolled back."""

    def __init__(self):
        super().__init__()
        self.pending = self.make_pending()
        self.rows = []
        self.truth = []
        self.stack = []
        self.count = 0

    def make_pending(self):
        return Pending()

    @rule()
    def record(self):
        recorded = make_event(action=f"event-{self.count}")
        self.count += 1
        self.pending.add(recorded, required=True)
        self.truth.append(recorded)

    @rule()
    def flush(self):
        self.rows += [entry.recorded for entry in self.pending.entries()]
        self.pending.flushed()

    @rule()
    def savepoint(self):
        sid = f"s{self.count}"
        self.count += 1
        self.stack.append((sid, list(self.rows), list(self.truth)))
        self.pending.savepoint(sid)

    def choose(self, depth):
        """One of the open savepoints; those made since are gone."""
        del self.stack[len(self.stack) - depth % len(self.stack) :]
        return self.stack[-1]

    @precondition(lambda self: self.stack)
    @rule(depth=st.integers(0, 3), keep=st.booleans())
    def rollback(self, depth, keep):
        sid, rows, truth = self.choose(depth)
        self.rows, self.truth = list(rows), list(truth)
        self.pending.rollback_to(sid)
        if not keep:  # as Django does: roll back, then release
            self.stack.pop()
            self.pending.release(sid)

    @precondition(lambda self: self.stack)
    @rule(depth=st.integers(0, 3))
    def release(self, depth):
        sid, _, _ = self.choose(depth)
        self.stack.pop()
        self.pending.release(sid)

    @rule()
    def commit(self):
        self.flush()
        assert self.rows == self.truth
        self.pending.clear()
        self.rows, self.truth, self.stack = [], [], []

    @invariant()
    def written_and_held_together_are_what_happened(self):
        held = [entry.recorded for entry in self.pending.entries()]
        together = [*self.rows, *held]
        assert sorted(e.id for e in together) == sorted(e.id for e in self.truth)


class TestSavepoints(Savepoints.TestCase):
    settings = settings(max_examples=100, stateful_step_count=30, deadline=None)


class Forgetful(Pending):
    """Forgets that a rolled-back savepoint also undoes the write of events from before it."""

    def rollback_to(self, sid):
        made = self._savepoints.get(sid)
        self._entries = [entry for entry in self._entries if entry.tick < (made or 0)]


class Clinging(Pending):
    """Keeps the events of a rolled-back savepoint."""

    def rollback_to(self, sid):
        pass


# The same examples in every run: a mutant that is caught once is caught always.
quickly = settings(max_examples=500, deadline=None, database=None, phases=[Phase.generate], derandomize=True)


@pytest.mark.parametrize("mutant", [Forgetful, Clinging])
def test_a_mutant_is_caught(mutant):
    class Mutated(Savepoints):
        def make_pending(self):
            return mutant()

    with pytest.raises(AssertionError):
        run_state_machine_as_test(Mutated, settings=quickly)
