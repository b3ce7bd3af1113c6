"""What becomes of one batch, decided without any I/O.

The driver writes what :meth:`Batch.next` gives and says how it went: :meth:`Batch.accepted`, or
:meth:`Batch.refused` for an error that :func:`verdict` calls a refusal. An outage ends the batch: what is
:attr:`Batch.settled` stays so, the rest comes again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import StrEnum

from audit_core.errors import PartialWrite, PermanentError
from audit_core.event import RecordedEvent
from audit_core.log import TargetKey, seq_of, target_key
from audit_core.relay.report import words_of


class Verdict(StrEnum):
    """What an error says about the events that were written."""

    OUTAGE = "outage"  # nothing: the same events may be taken later
    REFUSED = "refused"  # at least one of them will never be taken
    PARTIAL = "partial"  # the named ones will never be taken, the others were


def verdict(error: Exception, events: Sequence[RecordedEvent]) -> Verdict:
    """How to take ``error``. Whatever is not known to be a refusal is an outage, because waiting loses
    nothing.
    """
    if isinstance(error, PermanentError):
        return Verdict.REFUSED
    if isinstance(error, PartialWrite):
        named = error.reasons.keys()
        if named and named <= {event.id for event in events}:
            return Verdict.PARTIAL
    return Verdict.OUTAGE


class Blocked:
    """The targets of which something is parked, each from the seq at which that began."""

    def __init__(self, first_seqs: Mapping[TargetKey, int]) -> None:
        self._first_seqs = dict(first_seqs)

    def add(self, recorded: RecordedEvent) -> None:
        """``recorded`` is parked now."""
        key = target_key(recorded)
        if key is not None:
            self._first_seqs[key] = min(seq_of(recorded), self._first_seqs.get(key, seq_of(recorded)))

    def holds(self, recorded: RecordedEvent) -> bool:
        """Whether ``recorded`` comes after a parked event of the same target, or is it."""
        if not self._first_seqs:
            return False
        key = target_key(recorded)
        first_seq = None if key is None else self._first_seqs.get(key)
        return first_seq is not None and seq_of(recorded) >= first_seq


class Batch:
    """The events of one batch, in order of seq, up to ``through``."""

    def __init__(self, events: Sequence[RecordedEvent], blocked: Blocked, through: int) -> None:
        self._blocked = blocked
        self._through = through
        self._pieces = [list(events)] if events else []  # the piece to write next is the last
        self.delivered: list[RecordedEvent] = []
        self.refusals: list[tuple[RecordedEvent, str, Exception | None]] = []

    def next(self) -> Sequence[RecordedEvent] | None:
        """The events to write now, or ``None`` when every event is settled."""
        while self._pieces:
            piece = self._pieces.pop()
            held = [event for event in piece if self._blocked.holds(event)]
            for event in held:
                self.refusals.append((event, "It comes after a parked event of the same target.", None))
            if held:
                piece = [event for event in piece if not self._blocked.holds(event)]
            if piece:
                self._pieces.append(piece)
                return piece
        return None

    def accepted(self) -> None:
        """The store has what :meth:`next` gave."""
        self.delivered += self._pieces.pop()

    def refused(self, error: Exception) -> None:
        """The store refused what :meth:`next` gave: look for the culprit in halves, or park it."""
        piece = self._pieces.pop()
        if isinstance(error, PartialWrite):
            for event in piece:
                if event.id in error.reasons:
                    self._refuse(event, error.reasons[event.id], error)
                else:
                    self.delivered.append(event)
        elif len(piece) == 1:
            self._refuse(piece[0], words_of(error), error)
        else:
            middle = len(piece) // 2
            self._pieces += [piece[middle:], piece[:middle]]

    @property
    def settled(self) -> int:
        """The seq up to which every event was delivered or refused."""
        return seq_of(self._pieces[-1][0]) - 1 if self._pieces else self._through

    def _refuse(self, event: RecordedEvent, reason: str, error: Exception) -> None:
        self.refusals.append((event, reason, error))
        self._blocked.add(event)
