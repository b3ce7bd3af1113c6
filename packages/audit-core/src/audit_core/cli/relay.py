"""``audit relay`` and ``audit backfill``"""

from __future__ import annotations

import json
import signal
import threading
from collections import Counter
from collections.abc import Generator, Mapping
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from audit_core.cli.installation import TrailOption, trails
from audit_core.cli.output import EXIT_CODES, PROBLEMS, console
from audit_core.errors import ConfigurationError
from audit_core.log import SEQUENCER, SUMMARIES
from audit_core.operate.stats import stats
from audit_core.operate.trail import Trail
from audit_core.relay import Relay, Report, StageReport, State, Worker

RELAY_EPILOG = f"""Examples:

relay                     work until SIGTERM or Ctrl-C

relay --once              do what there is to do, then end (for cron)

relay --sink archive      serve this sink alone; others are for other processes

Any number of these processes share the work. On a terminal a line shows what moves; otherwise each pass is a line of JSON.

{EXIT_CODES} A problem is here a sink that failed (with --once), or a batch that did not end within stop_seconds."""

BACKFILL_EPILOG = f"""Examples:

backfill                  bring every sink up to date, then end

backfill --batch 2000     in larger batches

backfill --sink archive   one sink alone

{EXIT_CODES}"""

LOOK_SECONDS = 0.2  # how soon a signal is noticed
TURN_SECONDS = 0.5  # how often a bar moves
_WORDS = {SEQUENCER: "sequenced", SUMMARIES: "summarized"}

SinkOption = Annotated[
    list[str] | None,
    typer.Option("--sink", metavar="NAME", help="Deliver to this sink alone; may be repeated."),
]
BatchOption = Annotated[int | None, typer.Option("--batch", metavar="N", min=1, help="Events in one go.")]


def relay(
    ctx: typer.Context,
    once: Annotated[
        bool, typer.Option("--once", help="End when nothing is left or can be done now.")
    ] = False,
    sink: SinkOption = None,
    batch: BatchOption = None,
    database: TrailOption = None,
) -> None:
    """Number committed events, write their sentences, and deliver them to the sinks."""
    work = _relays(trails(ctx, database), sink, batch)
    with _shown(console()) as show:
        well = _once(work, sink, show) if once else _until_told(work, sink, show)
    if not well:
        raise typer.Exit(PROBLEMS)


def backfill(
    ctx: typer.Context,
    sink: SinkOption = None,
    batch: BatchOption = None,
    database: TrailOption = None,
) -> None:
    """Drain the outbox and bring the sinks up to date, with a progress bar; then end."""
    well = True
    for trail, relay in _relays(trails(ctx, database), sink, batch):
        well = _drain(trail, relay, sink) and well
    if not well:
        raise typer.Exit(PROBLEMS)


def _relays(chosen: list[Trail], sinks: list[str] | None, batch: int | None) -> list[tuple[Trail, Relay]]:
    for trail in chosen:
        for name in sinks or ():
            trail.check_sink(name)
            if name not in trail.sinks:
                raise ConfigurationError(
                    f"The sink {name!r} is not in the settings any more: nothing can be delivered to it."
                )
    settings = {} if batch is None else {"batch_size": batch}
    return [(trail, trail.relay(replace(trail.settings, **settings))) for trail in chosen]


def _stages(sinks: list[str] | None) -> list[str] | None:
    return None if sinks is None else [SEQUENCER, SUMMARIES, *sinks]


def _once(work: list[tuple[Trail, Relay]], sinks: list[str] | None, show: _Show) -> bool:
    well = True
    for trail, relay in work:
        report = relay.run_once(only=_stages(sinks))
        show(trail.name, report)
        well = well and not report.failures
    return well


def _until_told(work: list[tuple[Trail, Relay]], sinks: list[str] | None, show: _Show) -> bool:
    stop = threading.Event()
    told: list[int] = []  # a handler that took the event's lock could wait for itself
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda signum, frame: told.append(signum))
    show.line(
        state="started", trails=[trail.name for trail, _ in work], sinks=sinks or sorted(work[0][0].sinks)
    )
    with ThreadPoolExecutor(max_workers=len(work)) as pool:
        running = []
        for trail, relay in work:
            worker = Worker(
                relay,
                sinks=sinks,
                release_connections=trail.release_connections,
                release_pooled_connections=trail.release_pooled_connections,
                on_report=partial(show, trail.name),
            )
            running.append(pool.submit(worker.run, stop))
            trail.listen(worker.wake, stop)
        while not told and not any(future.done() for future in running):
            wait(running, timeout=LOOK_SECONDS)
        stop.set()
        results = [future.result() for future in running]  # each of them, for what it may raise
        show.line(state="stopped", signal=told[0] if told else None)
        return all(results)


class _Show:
    """Tells what every pass did, from whichever thread it was: a line of JSON for each stage that moved or failed."""

    def __init__(self, out: Console) -> None:
        self._out = out
        self._lock = threading.Lock()

    def __call__(self, trail: str, report: Report) -> None:
        with self._lock:
            for stage in report.stages.values():
                if stage.moved or stage.state in (State.FAILED, State.BROKEN):
                    self.told(trail, stage)

    def told(self, trail: str, stage: StageReport) -> None:
        """What one stage did."""
        self.line(
            trail=trail,
            stage=stage.name,
            events=stage.events,
            parked=stage.parked,
            state=stage.state,
            error=stage.error,
        )

    def line(self, **values: object) -> None:
        """One line, with the time."""
        at = datetime.now(UTC).isoformat(timespec="milliseconds")
        self._out.print(json.dumps({"at": at, **values}), soft_wrap=True)


class _Live(_Show):
    """Keeps one line of totals at the foot of a terminal, and tells failures above it."""

    def __init__(self, out: Console) -> None:
        super().__init__(out)
        self._totals: Counter[str] = Counter()
        self._failed: set[str] = set()
        self.status = out.status("Nothing to do yet. Stop with Ctrl-C.")

    def told(self, trail: str, stage: StageReport) -> None:
        """New totals, and what failed, once until it works again."""
        if stage.state in (State.FAILED, State.BROKEN):
            if stage.name not in self._failed:
                self._out.print(f"{stage.name} failed and is tried again: {stage.error}", style="red")
            self._failed.add(stage.name)
        else:
            self._failed.discard(stage.name)
        self._totals[_WORDS.get(stage.name, f"to {stage.name}")] += stage.events
        self._totals["parked"] += stage.parked
        self.status.update(self.totals)

    @property
    def totals(self) -> str:
        """What was done since the start."""
        done = ", ".join(f"{name} {count:,}" for name, count in self._totals.items() if count)
        return done or "Nothing to do."

    def line(self, **values: object) -> None:
        """People see the line of totals."""


@contextmanager
def _shown(out: Console) -> Generator[_Show]:
    if not out.is_terminal:
        yield _Show(out)
        return
    live = _Live(out)
    with live.status:
        yield live
    out.print(live.totals)


def _drain(trail: Trail, relay: Relay, sinks: list[str] | None) -> bool:
    """Run the relay until nothing moves, with a bar for the log and one for each sink; whether all is done."""
    before = stats(trail)
    ahead = before.waiting
    seqs: Mapping[str, int] = {reader.name: reader.seq for reader in before.readers}
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console()) as progress:
        bars = {SEQUENCER: progress.add_task("sequenced", total=ahead)}
        for name in (SUMMARIES, *(relay.sinks if sinks is None else sinks)):
            total = before.head + ahead - seqs.get(name, 0)
            bars[name] = progress.add_task(_WORDS.get(name, f"to {name}"), total=total)
        moved = True
        while moved:
            report = relay.run_once(only=_stages(sinks), budget_seconds=TURN_SECONDS)
            moved = report.moved
            for stage in report.stages.values():
                if stage.name in bars:
                    progress.advance(bars[stage.name], stage.events + stage.parked)
    return _say_rest(trail, report, sinks)


def _say_rest(trail: Trail, report: Report, sinks: list[str] | None) -> bool:
    well, out = True, console(stderr=True)
    for reader in stats(trail).readers:
        if reader.name not in report.stages or not (reader.lag_events or reader.parked):
            continue
        if sinks is not None and reader.name not in sinks:
            continue
        well = False
        if reader.parked:
            out.print(
                f"{reader.name}: {reader.parked:,} events are parked. `{trail.command} parked list` says why."
            )
        if reader.lag_events:
            why = reader.error or ("it is paused" if reader.state == "paused" else "another worker is at it")
            out.print(f"{reader.name}: {reader.lag_events:,} events are left: {why}")
    return well
