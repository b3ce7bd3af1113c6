"""The operator: does at any moment what a person may do."""

from __future__ import annotations

from typing import TYPE_CHECKING

from audit_core.log import SEQUENCER, SUMMARIES, TRIMMER

if TYPE_CHECKING:
    from .world import World


class Operator:
    """Adds sinks, pauses, takes again, tidies up."""

    def __init__(self, world: World) -> None:
        self._world = world

    def begin(self) -> None:
        """The first sink is there from the beginning, the second perhaps."""
        waiting = list(self._world.sinks)
        self._start(waiting.pop(0))
        if self._world.random.random() < 0.5:
            self._start(waiting.pop(0))

    def end(self) -> None:
        """Put everything in order, but what is parked."""
        for cursor in self._world.log.cursors():
            self._world.log.resume(cursor.name)
        for name in self._world.sinks:
            if name not in self._world.started:
                self._add(name)

    def act(self) -> None:
        """One thing."""
        actions = [self._pause, self._resume, self._seek, self._seek_summaries, self._tidy]
        waiting = [name for name in self._world.sinks if name not in self._world.started]
        if waiting:
            self._add(waiting[0])
        else:
            self._world.random.choices(actions, [15, 20, 30, 10, 25])[0]()

    def cure_all(self) -> None:
        """Whatever was refused would be taken now."""
        for sink in self._world.sinks.values():
            sink.poison.clear()

    def _any_cursor(self) -> str:
        return self._world.random.choice([SEQUENCER, SUMMARIES, TRIMMER, *self._world.started])

    def _start(self, name: str, seq: int = 0) -> None:
        world = self._world
        world.log.start(name, seq)
        world.witness.sought(name, seq)
        world.sinks[name].first_seq = seq + 1
        world.started.append(name)
        world.note("operator starts", name, "at", seq)

    def _add(self, name: str) -> None:
        """Start a sink anywhere in what the log still has."""
        seqs = self._world.witness.seqs
        trimmed, head = seqs.get(TRIMMER, 0), len(self._world.witness.order)
        self._start(name, self._world.random.randint(trimmed, head))
        self._world.count("sinks added later", name)

    def _pause(self) -> None:
        name = self._any_cursor()
        self._world.log.pause(name)
        self._world.count("cursors paused", name)

    def _resume(self) -> None:
        paused = [cursor.name for cursor in self._world.log.cursors() if cursor.paused]
        name = self._world.random.choice(paused or self._world.started)
        self._world.log.resume(name)
        self._world.note("operator resumes", name)

    def _seek(self) -> None:
        """Take again what a sink has had, from anywhere after where it began."""
        world = self._world
        sink = world.sinks[world.random.choice(world.started)]
        before = world.log.cursor(sink.name).seq
        seq = world.random.randint(sink.first_seq - 1, before)
        again = world.witness.order[max(seq, world.witness.seqs.get(TRIMMER, 0)) : before]
        world.log.seek(sink.name, seq)
        world.witness.sought(sink.name, seq)
        sink.asked_again |= {event.id for event in again}
        world.count("seeks", sink.name, f"from {before} to {seq}")

    def _seek_summaries(self) -> None:
        world = self._world
        seq = world.random.randint(0, world.log.cursor(SUMMARIES).seq)
        world.log.seek(SUMMARIES, seq)
        world.witness.sought(SUMMARIES, seq)
        world.count("seeks", SUMMARIES, f"to {seq}")

    def _tidy(self) -> None:
        for name in self._world.log.release_expired():
            self._world.witness.freed(name)
            self._world.count("expired leases tidied", name)
