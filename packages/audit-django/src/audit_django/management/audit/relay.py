"""``manage.py audit relay``: the relay as a process of its own."""

from __future__ import annotations

import signal
import threading
from argparse import ArgumentParser
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import replace
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db import connections

from audit_core.log import SEQUENCER, SUMMARIES
from audit_core.relay import Relay, Report, Worker
from audit_django.conf import get_settings

HELP = "Number committed events, write their sentences, and deliver them to the sinks."
EPILOG = """\
examples:
  manage.py audit relay                    work until SIGTERM or Ctrl-C
  manage.py audit relay --once             do what there is to do, then end (for cron)
  manage.py audit relay --database claims  the outbox of another database

Any number of these processes share the work. Exit code: 0 well, 1 a sink failed (with --once) or did not stop in time.
"""
LOOK_SECONDS = 0.2  # how soon a signal is noticed
_WORDS = {SEQUENCER: "sequenced", SUMMARIES: "summarized"}


def add_arguments(parser: ArgumentParser) -> None:
    """The options."""
    parser.add_argument(
        "--once", action="store_true", help="end when nothing is left or nothing can be done now"
    )
    parser.add_argument(
        "--database", help="the alias whose outbox is emptied; the first of AUDIT['DATABASES']"
    )
    parser.add_argument("--batch", type=int, metavar="N", help="events in one go (RELAY_OPTIONS batch_size)")


def run(command: BaseCommand, options: dict[str, Any]) -> int:
    """Run it; the exit code."""
    relay = _relay(options)
    if options["once"]:
        report = relay.run_once()
        command.stdout.write(_line(report) or "Nothing to do.")
        for failed in report.failures:
            command.stderr.write(f"{failed.name} failed: {failed.error} It is tried again by the next run.")
        return 1 if report.failures else 0
    stop = threading.Event()
    told: list[int] = []  # a handler that took the event's lock could wait for itself
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda signum, frame: told.append(signum))
    sinks = ", ".join(relay.sinks) or "no sink but the log itself"
    command.stdout.write(f"Relaying to {sinks}. Stop with Ctrl-C.")

    def show(report: Report) -> None:
        for failed in report.failures:
            command.stderr.write(f"{failed.name} failed and is tried again: {failed.error}")
        if options["verbosity"] > 0 and (line := _line(report)):
            command.stdout.write(line)

    worker = Worker(relay, release_connections=connections.close_all, on_report=show)
    with ThreadPoolExecutor(max_workers=1) as pool:
        work = pool.submit(worker.run, stop)
        while not told and not work.done():
            wait([work], timeout=LOOK_SECONDS)
        stop.set()
        in_time = work.result()
    command.stdout.write("Stopped.")
    return 0 if in_time else 1


def _relay(options: dict[str, Any]) -> Relay:
    from audit_django.relay import make_relay

    settings = get_settings()
    alias = options["database"] or settings.databases[0]
    if alias not in connections:
        raise CommandError(f"There is no database {alias!r}. There are: {', '.join(connections)}.")
    relay_settings = settings.relay_settings
    if options["batch"] is not None:
        if options["batch"] < 1:
            raise CommandError(f"--batch is {options['batch']}; it must be at least 1.")
        relay_settings = replace(relay_settings, batch_size=options["batch"])
    return make_relay(alias, relay_settings)


def _line(report: Report) -> str:
    parts = [
        f"{_WORDS.get(stage.name, f'to {stage.name}')} {stage.events:,}"
        + (f" ({stage.parked:,} parked)" if stage.parked else "")
        for stage in report.stages.values()
        if stage.moved
    ]
    return ", ".join(parts)
