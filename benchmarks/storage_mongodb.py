"""How fast the MongoDB storage writes and pages, against the bare client.

    AUDIT_TEST_MONGODB=mongodb://… python benchmarks/storage_mongodb.py --events 5000

- write: `storage.write` in batches against `insert_many` of the same documents in the same batches, into a collection
  with the same indexes, in turns; both rates and their ratio
- pages: the first and a deep page of a target's and a tenant's history against the bare query, median of some

Memory is the peak of what Python holds while the storage writes. A server that scans where MongoDB would use an index
(FerretDB on SQLite) makes the pages slow on both sides: there only their ratio says something.
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
import tracemalloc
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from typing import TypeVar
from uuid import uuid4

from pymongo import DESCENDING

from audit_core.codec import leaf_hash
from audit_core.event import RecordedEvent
from audit_core.ids import uuid7
from audit_core.query import EventQuery
from audit_core.testing import make_event
from audit_storage_mongodb.documents import document_of
from audit_storage_mongodb.storage import MongoStorage

T = TypeVar("T")
BATCH = 500
TENANTS = 4
TARGETS = 20


def make(count: int, first_seq: int) -> Iterator[RecordedEvent]:
    """Events as the log gives them: text, leaf hash, seq and sentence; parsed by whoever needs to."""
    templates = [
        make_event(
            target=f"policies.Policy:{target + 1}",
            diff={"status": ("pending", "approved"), "premium": ("120.00", "135.50")},
            tenant=f"tenant-{target % TENANTS}",
        )
        for target in range(TARGETS)
    ]
    for n in range(count):
        template = templates[n % TARGETS]
        id_ = uuid7()
        text = template.text.replace(str(template.id), str(id_))
        summary = "Alice changed the status of policy P-1 from pending to approved."
        yield RecordedEvent(id_, text, leaf_hash(text), seq=first_seq + n, summary=summary)


def batched(items: Iterable[T], size: int = BATCH) -> Iterator[list[T]]:
    iterator = iter(items)
    while batch := list(islice(iterator, size)):
        yield batch


def seconds(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def write(storage: MongoStorage, bare: MongoStorage, total: int, rounds: int) -> None:
    ours, theirs = [], []
    for number in range(rounds):
        events = list(make(total // rounds, number * total))
        fresh = [RecordedEvent(e.id, e.text, e.leaf_hash, seq=e.seq, summary=e.summary) for e in events]
        documents = [document_of(event) for event in fresh]
        turns = [
            (ours, lambda: [storage.write(batch) for batch in batched(events)]),  # noqa: B023
            (theirs, lambda: [bare._events.insert_many(b, ordered=False) for b in batched(documents)]),  # noqa: B023
        ]
        for times, work in turns if number % 2 else reversed(turns):
            times.append(seconds(work))
    rate, bare_rate = (total // rounds / statistics.median(times) for times in (ours, theirs))
    print(f"storage.write {rate:>10,.0f} events/s")
    print(f"bare client   {bare_rate:>10,.0f} events/s    ratio {rate / bare_rate:.2f}")


def memory(storage: MongoStorage, total: int) -> None:
    tracemalloc.start()
    peaks = []
    for _ in range(2):
        tracemalloc.reset_peak()
        for batch in batched(make(total // 4, 10**9)):
            storage.write(batch)
        peaks.append(tracemalloc.get_traced_memory()[1] / 2**20)
    tracemalloc.stop()
    print(f"peak memory   {peaks[0]:>10.1f} MiB, later {peaks[1]:.1f} MiB")


def pages(storage: MongoStorage, depth: int) -> None:
    for name, filters, bare in (
        (
            "target",
            {"target_types": ["policies.Policy"], "target_id": "1"},
            {"target_type": "policies.Policy", "target_id": "1"},
        ),
        ("tenant", {"tenants": ["tenant-1"]}, {"tenant": "tenant-1"}),
    ):
        key = "order" if name == "target" else "time_order"
        cursor = None
        for number in (1, depth):
            for _ in range(number - 1):
                following = storage.search(EventQuery(limit=5, cursor=cursor, **filters)).next
                if following is None:
                    break
                cursor = following
            query = EventQuery(limit=50, cursor=cursor, **filters)
            first = storage.search(query).events[0]
            place = storage._events.find_one({"_id": first.id})[key]
            where = {**bare, key: {"$lte": place}}
            ours, theirs = [], []
            for _ in range(5):
                ours.append(seconds(lambda: storage.search(query)))  # noqa: B023
                theirs.append(
                    seconds(lambda: list(storage._events.find(where).sort(key, DESCENDING).limit(51)))  # noqa: B023
                )
            median, bare_median = statistics.median(ours), statistics.median(theirs)
            times = f"{median * 1000:>8.1f} ms, bare {bare_median * 1000:.1f} ms"
            print(f"{name}, page {number:<5} {times}, ratio {median / bare_median:.2f}")


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--events", type=int, default=5000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--depth", type=int, default=20, help="the deep page")
    chosen = parser.parse_args(arguments)
    names = [f"events_{uuid4().hex[:8]}" for _ in range(2)]
    storage, bare = (
        MongoStorage(
            os.environ["AUDIT_TEST_MONGODB"], database="audit_benchmark", collection=name, timeout_seconds=120
        )
        for name in names
    )
    try:
        for each in (storage, bare):
            each.setup()
        write(storage, bare, chosen.events, chosen.rounds)
        bare._events.drop()
        pages(storage, chosen.depth)
        memory(storage, chosen.events)
    finally:
        storage._client.drop_database("audit_benchmark")
        for each in (storage, bare):
            each.close()


if __name__ == "__main__":
    main()
