"""Between the halves: a sentence for each event, before the sinks are served, and never a reason to wait."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from uuid import UUID

from audit_core.event import Event, RecordedEvent
from audit_core.log import SEQUENCER, SUMMARIES
from audit_core.relay.report import StageReport, State, words_of
from audit_core.relay.stage import Tools
from audit_core.summarizers.contract import MAX_SUMMARY_CHARACTERS, Summarizer

logger = logging.getLogger("audit.relay")


class SummaryStage:
    """Writes the sentences of what is sequenced; its cursor is how far the sinks may read."""

    name = SUMMARIES

    def __init__(self, tools: Tools, writer: SentenceWriter) -> None:
        self._tools = tools
        self._writer = writer

    def turn(self, stop: threading.Event, *, patient: bool = False) -> StageReport:
        """Some batches. Without anything to do this is one query, and no lease is taken."""
        tools, log, size = self._tools, self._tools.log, self._tools.settings.batch_size
        seqs = {cursor.name: cursor.seq for cursor in log.cursors()}
        head = seqs.get(SEQUENCER, 0)
        if seqs.get(SUMMARIES, 0) >= head:
            return StageReport(self.name)
        settings = tools.settings
        hold = tools.hold(self.name, max(settings.lease_seconds, 2 * settings.summary_budget_seconds))
        if hold is None:
            return StageReport(self.name, state=State.HELD)
        with hold:
            start = position = log.cursor(self.name).seq
            for _ in range(settings.batches_per_turn):
                if position >= head or stop.is_set():
                    break
                hold.renew()
                through = min(position + size, head)
                events = log.read(position, through - position)
                # What has a sentence was written by a worker that died before it moved the cursor.
                blank = [event for event in events if event.summary is None]
                sentences = self._writer.write(blank)
                tools.probe("summaries.before_save")
                if sentences:
                    log.save_summaries(hold.lease, sentences)
                tools.probe("summaries.after_save")
                log.advance(hold.lease, through)
                tools.tail.add([_told(event, sentences) for event in events])
                tools.probe("summaries.after_advance")
                position = through
        done = position >= head
        return StageReport(self.name, position - start, state=State.IDLE if done else State.BUSY)


def _told(event: RecordedEvent, sentences: Mapping[UUID, str]) -> RecordedEvent:
    """``event`` as the log has it now; what was parsed of it is not kept, because it is many times as large."""
    return replace(event, summary=event.summary or sentences.get(event.id))


class SentenceWriter:
    """Asks ``summarizer``, and ``fallback`` for what it does not write within the budget.

    A summarizer that failed or was late is left alone for a while, longer each time, so that a backlog is not
    slowed down by a provider that is out of order. The fallback is called in the same thread: it must be
    quick and do no I/O.
    """

    def __init__(
        self,
        summarizer: Summarizer,
        fallback: Summarizer,
        language: str,
        budget_seconds: float,
        delay_seconds: Callable[[int, BaseException], float],
        monotonic: Callable[[], float],
    ) -> None:
        self._summarizer = summarizer
        self._fallback = fallback
        self._language = language
        self._budget_seconds = budget_seconds
        self._delay_seconds = delay_seconds
        self._monotonic = monotonic
        self._failures = 0
        self._resume_at = float("-inf")
        self._late: threading.Thread | None = None

    def write(self, events: Sequence[RecordedEvent]) -> dict[UUID, str]:
        """A sentence for each event; none for an event of which even the fallback can say nothing."""
        sentences = self._ask(events) if events and self._may_ask() else {}
        for recorded in events:
            if recorded.id not in sentences and (sentence := self._fall_back(recorded)):
                sentences[recorded.id] = sentence
        return sentences

    def _may_ask(self) -> bool:
        return (
            self._summarizer is not self._fallback
            and self._monotonic() >= self._resume_at
            and not (self._late and self._late.is_alive())  # a second call would only queue behind it
        )

    def _ask(self, events: Sequence[RecordedEvent]) -> dict[UUID, str]:
        try:
            written = self._call([recorded.event for recorded in events])
            if len(written) != len(events):
                raise ValueError(f"{len(events)} events were summarized in {len(written)} sentences")
        except Exception as error:  # noqa: BLE001 - a provider's failure is not ours
            self._failures += 1
            self._resume_at = self._monotonic() + self._delay_seconds(self._failures, error)
            logger.warning("The summarizer failed, so the fallback writes for it: %s", words_of(error))
            return {}
        self._failures = 0
        pairs = zip(events, written, strict=True)
        return {recorded.id: sentence for recorded, sentence in pairs if _is_sentence(sentence)}

    def _call(self, events: Sequence[Event]) -> Sequence[str]:
        answer: list[Sequence[str]] = []
        failure: list[Exception] = []

        def call() -> None:
            try:
                answer.append(self._summarizer.summarize(events, self._language))
            except Exception as error:  # noqa: BLE001 - handed to the caller
                failure.append(error)

        # A thread cannot be stopped, so one that is late is left behind; as a daemon it holds up no exit.
        thread = threading.Thread(target=call, name="audit-summarizer", daemon=True)
        thread.start()
        thread.join(self._budget_seconds)
        if failure:
            raise failure[0]
        if not answer:
            self._late = thread
            raise TimeoutError(f"no sentences within {self._budget_seconds:g} s for {len(events)} events")
        return answer[0]

    def _fall_back(self, recorded: RecordedEvent) -> str | None:
        try:
            [sentence] = self._fallback.summarize([recorded.event], self._language)
        except Exception:
            logger.exception(
                "Event %s stays without a sentence: the fallback summarizer failed.", recorded.id
            )
            return None
        return sentence if _is_sentence(sentence) else None


def _is_sentence(sentence: object) -> bool:
    return isinstance(sentence, str) and len(sentence.strip()) > 0 and len(sentence) <= MAX_SUMMARY_CHARACTERS
