"""The relay: every stage, once, in the order of an event's way."""

from __future__ import annotations

import logging
import os
import random as _random
import socket
import threading
import time
from collections.abc import Callable, Collection, Mapping
from types import MappingProxyType

from audit_core.errors import ConfigurationError, LeaseLost
from audit_core.log import RESERVED, SEQUENCER, SUMMARIES, Log
from audit_core.relay.deliver import DeliverStage
from audit_core.relay.park import Retried, retry
from audit_core.relay.probe import Probe, no_probe
from audit_core.relay.report import Report, StageReport, State, words_of
from audit_core.relay.sequence import SequenceStage
from audit_core.relay.settings import RelaySettings, Start
from audit_core.relay.stage import NoHooks, RelayHooks, Stage, Tools
from audit_core.relay.summarize import SentenceWriter, SummaryStage
from audit_core.relay.tail import Tail
from audit_core.storages.contract import Storage
from audit_core.streams.contract import Stream
from audit_core.summarizers.contract import Summarizer

logger = logging.getLogger("audit.relay")
_NEVER = threading.Event()


class Relay:
    """Moves events from the outbox to ``log``, summarizes them, and delivers them to ``sinks``, by name.

    ``starts`` says where a sink begins that was never served: with the first event unless it is given.

    Safe to share between threads, and with other relays in other processes: leases see to it that one of them
    does each thing. ``summarizer`` and ``fallback`` are the ``grammar`` one unless given; the fallback does
    no I/O. Without ``summaries`` no sentences are written, and no sink waits for them. ``language`` is that
    of the sentences (BCP 47). ``monotonic``, ``random`` and ``probe`` are for tests.

    Raises :class:`~audit_core.errors.ConfigurationError` for a sink that is none, or has a reserved name.
    """

    def __init__(
        self,
        log: Log,
        sinks: Mapping[str, Storage | Stream] = MappingProxyType({}),
        *,
        starts: Mapping[str, Start] = MappingProxyType({}),
        summaries: bool = True,
        summarizer: Summarizer | None = None,
        fallback: Summarizer | None = None,
        language: str = "en",
        hooks: RelayHooks | None = None,
        owner: str | None = None,
        settings: RelaySettings | None = None,
        monotonic: Callable[[], float] = time.monotonic,
        random: Callable[[], float] = _random.random,
        probe: Probe = no_probe,
    ) -> None:
        if fallback is None:
            from audit_core.summarizers.grammar import GrammarSummarizer

            fallback = GrammarSummarizer()
        if reserved := sorted(RESERVED & sinks.keys()):
            raise ConfigurationError(
                f"A sink is called {reserved[0]!r}, which is a cursor of the log itself. Rename the sink."
            )
        self.settings = settings or RelaySettings()
        self._tools = Tools(
            log=log,
            tail=Tail(monotonic),
            readable=SUMMARIES if summaries else SEQUENCER,
            settings=self.settings,
            hooks=hooks or NoHooks(),
            owner=owner or f"{socket.gethostname()[:80]}:{os.getpid()}",
            monotonic=monotonic,
            random=random,
            probe=probe,
        )
        writer = SentenceWriter(
            summarizer or fallback,
            fallback,
            language,
            self.settings.summary_budget_seconds,
            self._tools.delay_seconds,
            monotonic,
        )
        self._sinks = {
            name: DeliverStage(self._tools, name, sink, starts.get(name, "first"))
            for name, sink in sinks.items()
        }
        stages: list[Stage] = [SequenceStage(self._tools)]
        if summaries:
            stages.append(SummaryStage(self._tools, writer))
        stages += self._sinks.values()
        self._stages = {stage.name: stage for stage in stages}
        self._complaints: dict[str, str] = {}

    @property
    def sinks(self) -> Collection[str]:
        """The names of the sinks."""
        return self._sinks.keys()

    def run_once(
        self,
        stop: threading.Event | None = None,
        *,
        only: Collection[str] | None = None,
        budget_seconds: float | None = None,
        patient: bool = False,
    ) -> Report:
        """Go round the stages until nothing is left, or nothing can be done now, and say what was done.

        A stage that fails, whatever with, stops no other; the error is in the report and in the log
        ``audit.relay``. ``only`` names the stages to run (:data:`~audit_core.log.SEQUENCER`,
        :data:`~audit_core.log.SUMMARIES` and sinks). ``stop`` ends the pass after the batch under way;
        ``budget_seconds`` ends it when they are over. ``patient`` lets a storage that asks for larger batches wait for them
        (:class:`~audit_core.storages.contract.BatchingStorage`): it is for callers that come again within seconds.
        """
        stop = stop or _NEVER
        names = [name for name in self._stages if only is None or name in only]
        reports: dict[str, StageReport] = {}
        deadline = None if budget_seconds is None else self._tools.monotonic() + budget_seconds
        over = False
        while names and not over:
            moved = False
            for name in tuple(names):
                over = stop.is_set() or (deadline is not None and self._tools.monotonic() >= deadline)
                if over:
                    break
                turn = self._turn(self._stages[name], stop, patient)
                reports[name] = reports[name].then(turn) if name in reports else turn
                moved = moved or turn.moved or turn.state is State.BUSY  # past trimmed events, say
                if turn.state not in (State.IDLE, State.BUSY):
                    names.remove(name)
            over = over or not moved
        return Report(MappingProxyType(reports))

    def retry(self, sink: str, stop: threading.Event | None = None) -> Retried:
        """Give ``sink`` its parked events again, in order; those that it takes are parked no longer.

        Raises :class:`~audit_core.errors.ConfigurationError` for an unknown sink, and what the log raises.
        """
        if sink not in self._sinks:
            known = ", ".join(sorted(self._sinks)) or "none"
            raise ConfigurationError(f"There is no sink {sink!r}. The sinks are: {known}.")
        return retry(self._tools, self._sinks[sink], stop or _NEVER)

    def _turn(self, stage: Stage, stop: threading.Event, patient: bool) -> StageReport:
        try:
            report = stage.turn(stop, patient=patient)
        except LeaseLost as error:
            logger.info("%s", error)
            return StageReport(stage.name, state=State.LOST, error=words_of(error))
        except Exception as error:  # noqa: BLE001 - the other stages must have their turn
            return self._broken(stage, error)
        self._complaints.pop(stage.name, None)
        return report

    def _broken(self, stage: Stage, error: Exception) -> StageReport:
        words = words_of(error)
        # A database that is down says the same at every pass: the traceback once, then a line.
        news = self._complaints.get(stage.name) != words
        self._complaints[stage.name] = words
        self._tools.tail.clear()
        logger.error("The relay's stage %r failed: %s", stage.name, words, exc_info=error if news else None)
        return StageReport(stage.name, state=State.BROKEN, error=words)
