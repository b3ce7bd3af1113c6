"""How long the timeline's pages take on the server when the trail is large.

    python benchmarks/timeline.py 1000000                                    # SQLite
    AUDIT_TEST_DATABASE=postgres AUDIT_TEST_POSTGRES=… python benchmarks/timeline.py 1000000

Fills the events table of a test database (in batches, as a restore would), then asks for each page through Django's test client
and prints the median of its times, and the number of its queries.
"""

from __future__ import annotations

import argparse
import os
import random
import statistics
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "packages/audit-django/tests"))
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "django_settings")

import django

django.setup()

from django.contrib.auth.models import User
from django.db import connection, transaction
from django.test import Client
from django.test.utils import CaptureQueriesContext, setup_databases, teardown_databases

from audit_core.diff import Change
from audit_core.event import Actor, Event, RecordedEvent, Target
from audit_core.ids import uuid7
from audit_django.outbox import insert_events

BATCH = 2000
ROUNDS = 7
STATES = ("Draft", "Pending", "Approved", "Expired", "Canceled")
START = datetime(2024, 1, 1, tzinfo=UTC)


def event(number: int, total: int, chance: random.Random) -> RecordedEvent:
    """The ``number``-th event of a trail that spans two years: few kinds, many objects, one rare word."""
    actor = chance.randrange(200)
    kind = chance.choice(("Policy", "Claim", "Customer", "Document"))
    key = chance.randrange(total // 20 + 1)
    before, after = chance.sample(STATES, 2)
    label = f"{kind[0]}-{key}" + (" zanzibar" if number % 100_000 == 7 else "")
    return RecordedEvent.of(
        Event(
            id=uuid7(),
            occurred_at=START + timedelta(days=730) * number / total,
            action=chance.choice(("update", "update", "update", "create", "delete")),
            actor=Actor(id=str(actor), username=f"user{actor}", repr=f"User {actor}"),
            target=Target(type=f"testapp.{kind}", id=str(key), repr=label, kind=kind.lower()),
            tenant=f"tenant-{actor % 5}",
            diff={"status": Change(field="status", field_type="CharField", before=before, after=after)},
        )
    )


def fill(total: int) -> None:
    """Insert the events, newest last."""
    chance = random.Random(1)
    started = time.perf_counter()
    for first in range(0, total, BATCH):
        with transaction.atomic():
            insert_events(
                connection, [event(n, total, chance) for n in range(first, min(first + BATCH, total))]
            )
        if first % 100_000 == 0:
            print(f"\r{first:,} of {total:,}", end="", file=sys.stderr, flush=True)
    print(f"\rfilled {total:,} events in {time.perf_counter() - started:,.0f} s", file=sys.stderr)
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE TABLE audit_django_event" if connection.vendor == "mysql" else "ANALYZE")


def measure(client: Client, name: str, address: str) -> None:
    """Print one line of the table."""
    times = []
    for _ in range(ROUNDS):
        started = time.perf_counter()
        response = client.get(address)
        times.append(time.perf_counter() - started)
        assert response.status_code == 200, (address, response.status_code)
    with CaptureQueriesContext(connection) as queries:
        client.get(address)
    print(f"{name:<34} {statistics.median(times) * 1000:8.1f} ms {len(queries):3d} queries")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("events", type=int, nargs="?", default=100_000)
    total = parser.parse_args().events
    config = setup_databases(verbosity=0, interactive=False, aliases=["default"])
    try:
        fill(total)
        client = Client()
        client.force_login(User.objects.create_superuser("admin"))
        print(f"{connection.vendor}, {total:,} events")
        pages = {
            "first page": "",
            "model": "?model=testapp.Policy",
            "one object": "?model=testapp.Policy&object=3",
            "actor": "?actor=17",
            "action": "?action=delete",
            "last week of the trail": "?since=2025-12-24&until=2025-12-31",
            "one week, two years ago": "?since=2024-01-08&until=2024-01-14",
            "actor and an old week": "?actor=17&since=2024-01-08&until=2024-01-14",
            "a word in half of all events": "?q=approved",
            "a rare word": "?q=zanzibar",
            "a word nobody wrote": "?q=nowhere",
        }
        for name, query in pages.items():
            measure(client, name, f"/audit/{query}")
        address = "/audit/"
        for _ in range(20):
            page = client.get(address)
            text = page.content.decode()
            marker = text.find("cursor=")
            if marker < 0:
                break
            address = "/audit/?" + text[marker : text.find('"', marker)].replace("&amp;", "&")
        measure(client, "twenty pages further", address)
    finally:
        teardown_databases(config, verbosity=0)


if __name__ == "__main__":
    main()
