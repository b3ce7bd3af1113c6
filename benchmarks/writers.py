"""How much of plain Django's throughput several writers at once keep under audit, on PostgreSQL.

    AUDIT_TEST_POSTGRES=… python benchmarks/writers.py                # 8 processes
    AUDIT_TEST_POSTGRES=… python benchmarks/writers.py --writers 2 --seconds 5

Each writer is a process with a connection of its own. It creates a row, updates one field of it, and begins again, in autocommit.
The kinds take turns in short rounds; a ratio is the median over the rounds. Meanwhile the server is asked who waits for a lock:
an audit trail must not make writers of different rows wait for each other.
"""

from __future__ import annotations

import argparse
import multiprocessing
import statistics
import time
from contextlib import closing

import capture

OPTIONS = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
OPTIONS.add_argument("--writers", type=int, default=8)
OPTIONS.add_argument("--rounds", type=int, default=7)
OPTIONS.add_argument("--seconds", type=float, default=2.0, help="of one kind in one round")
OPTIONS.add_argument("--delay-ms", type=float, default=0.0)
KINDS = ("plain", "floor", "exact", "instance")


def write(inbox, outbox) -> None:
    """A writer: told a kind and a time to stop at, it answers how often it has written."""
    from capture_models.models import KINDS as AUDITED
    from capture_models.models import Floor, Plain
    from django.db import connection

    models = {"plain": Plain, "floor": Floor, **AUDITED}
    connection.close()  # the parent's
    while (order := inbox.get()) is not None:
        kind, stop = order
        written = 0
        while time.monotonic() < stop:
            policy = capture.make(models[kind], written)
            with capture.around(kind):
                policy.save()
            policy.status = "approved"
            with capture.around(kind):
                policy.save()
            written += 2
        outbox.put(written)


WAITING = """
    SELECT count(*) FILTER (WHERE wait_event_type = 'Lock'), count(*) FILTER (WHERE wait_event_type = 'LWLock'), count(*)
    FROM pg_stat_activity WHERE datname = current_database() AND state = 'active' AND pid <> pg_backend_pid()
"""


def run(options: argparse.Namespace) -> None:
    from django.core.management import call_command
    from django.db import connection

    call_command("migrate", verbosity=0)
    call_command("migrate", verbosity=0, run_syncdb=True)
    with connection.cursor() as cursor:
        cursor.execute(capture.floor_table(connection.vendor))
    connection.close()
    context = multiprocessing.get_context("fork")
    outbox = context.Queue()
    inboxes = [context.Queue() for _ in range(options.writers)]
    processes = [context.Process(target=write, args=(inbox, outbox)) for inbox in inboxes]
    for process in processes:
        process.start()
    rates: dict[str, list[float]] = {kind: [] for kind in KINDS}
    waits = dict.fromkeys(KINDS, (0, 0, 0))
    for n in range(options.rounds + 1):
        for kind in KINDS[n % len(KINDS) :] + KINDS[: n % len(KINDS)]:
            stop = time.monotonic() + options.seconds
            for inbox in inboxes:
                inbox.put((kind, stop))
            seen = _watch(connection, stop)
            written = sum(outbox.get() for _ in processes)
            if n:  # the first round warms up
                rates[kind].append(written / options.seconds)
                waits[kind] = tuple(map(sum, zip(waits[kind], seen, strict=True)))
    for inbox in inboxes:
        inbox.put(None)
    for process in processes:
        process.join()
    print(f"{options.writers} writers, {options.rounds} rounds of {options.seconds:g} s\n")
    print(
        f"{'':12}{'writes/s':>12}{'of plain':>12}{'of floor':>12}   active sessions that waited for a lock; a latch"
    )
    for kind in KINDS:
        of_plain, of_floor = (
            statistics.median(own / other for own, other in zip(rates[kind], rates[base], strict=True))
            for base in ("plain", "floor")
        )
        locks, latches, active = waits[kind]
        rate = f"{statistics.median(rates[kind]):>12,.0f}{of_plain:>12.2f}{of_floor:>12.2f}"
        print(f"{kind:12}{rate}   {locks}; {latches} of {active} seen")


def _watch(connection, stop: float) -> tuple[int, ...]:
    """How many active sessions waited for a lock or a latch, and how many there were, over all looks until then."""
    total = (0, 0, 0)
    with closing(connection.copy()) as watcher, watcher.cursor() as cursor:
        while time.monotonic() < stop:
            cursor.execute(WAITING)
            total = tuple(map(sum, zip(total, cursor.fetchone(), strict=True)))
            time.sleep(0.02)
    return total


def main() -> None:
    capture.on_postgres(OPTIONS.parse_args(), run)


if __name__ == "__main__":
    main()
