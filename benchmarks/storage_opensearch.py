"""What the OpenSearch storage costs above the client library alone, in writing and in reading far pages.

    AUDIT_TEST_OPENSEARCH=… python benchmarks/storage_opensearch.py                    # 5,000 events
    AUDIT_TEST_OPENSEARCH=… python benchmarks/storage_opensearch.py --events 1000000

- write: the storage's `write` in batches of 500, with events as the relay gives them that has just written their sentences
  ("storage") and as it reads them from the log, not yet parsed ("from text"). Against them the same documents, ready made, are
  written in the same batches to indices of the same template in two other ways: by the client library's own helper, as somebody
  would who had no storage ("bare"), and as one request of ready bytes, which leaves nothing to do but wait ("bytes"). They take
  turns, batch by batch and each first in its turn, so that what else the machine does hits all.
- read: the first page and page 1,000 (or the last there is) of one object's history and of a tenant's, by the storage and by the
  client asking the same and parsing nothing but the JSON.

The events are spread over twelve months, so twelve indices are written and searched. The targets: at least 0.8 of the client's
rate, p50 of a page within 3 times the bare query, flat memory.
"""

from __future__ import annotations

import argparse
import os
import resource
import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import UUID

from opensearchpy import JSONSerializer, OpenSearch, helpers

from audit_core.codec import leaf_hash
from audit_core.event import Context, RecordedEvent
from audit_core.query import EventQuery, encode_cursor
from audit_core.testing import make_event
from audit_storage_opensearch import searching
from audit_storage_opensearch.documents import document
from audit_storage_opensearch.indices import Names, month_of
from audit_storage_opensearch.storage import OpenSearchStorage

BATCH = 500
PAGE = 50
FAR = 1000
FIRST = datetime(2026, 1, 1, tzinfo=UTC)
OPTIONS = {"retention_days": None, "index_settings": {"number_of_replicas": 0}, "timeout_seconds": 120}
HISTORIES = {
    "one object": {"target_types": ["policies.Policy"], "target_id": "0"},  # every tenth event
    "a tenant": {"tenants": ["tenant-0"]},  # every fourth
}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--events", type=int, default=5000)
    parser.add_argument("--rounds", type=int, default=30, help="how often a page is read")
    options = parser.parse_args()
    address = os.environ["AUDIT_TEST_OPENSEARCH"]
    client = OpenSearch(address, timeout=120)
    names = {
        kind: Names(f"bench-{kind.replace(' ', '-')}") for kind in ("storage", "from text", "bare", "bytes")
    }
    storages = {kind: OpenSearchStorage(address, index=name.all, **OPTIONS) for kind, name in names.items()}
    forget(client)
    try:
        for storage in storages.values():
            storage.setup()
        write(client, storages, names, options.events)
        client.indices.refresh(index="bench-*")
        for name, filters in HISTORIES.items():
            read(client, storages["storage"], names["storage"], name, filters, options)
    finally:
        forget(client)
        for storage in storages.values():
            storage.close()
        client.close()


def forget(client: OpenSearch) -> None:
    for index in client.indices.get_alias(index="bench-*"):
        client.indices.delete(index=index)
    client.indices.delete_index_template(name="bench-*", ignore=404)


def made(number: int, events: int) -> RecordedEvent:
    moment = FIRST + timedelta(days=364) * (number / events)
    id_ = UUID(int=int(moment.timestamp() * 1000) << 80 | 0x7 << 76 | 0b10 << 62 | number)
    premium = 1000 + number % 997
    recorded = make_event(
        id=id_,
        target=f"policies.Policy:{number % 10}",
        occurred_at=moment,
        tenant=f"tenant-{number % 4}",
        diff={"status": ("pending", "approved"), "premium": (f"{premium}.00", f"{premium + 5}.50")},
        context=Context(
            ip="10.0.0.1",
            path=f"/policies/{number % 10}/",
            user_agent="Mozilla/5.0",
            request_id=f"r-{number}",
        ),
        seq=number + 1,
        summary=f"Alice changed the premium of policy P-{number % 10} from {premium}.00 to {premium + 5}.50.",
    )
    # As the relay reads it: the text, from which the event is parsed when it is asked for.
    return RecordedEvent(recorded.id, recorded.text, leaf_hash(recorded.text), recorded.seq, recorded.summary)


def batches(events: int) -> Iterator[list[RecordedEvent]]:
    for first in range(0, events, BATCH):
        yield [made(number, events) for number in range(first, min(first + BATCH, events))]


def write(
    client: OpenSearch, storages: dict[str, OpenSearchStorage], names: dict[str, Names], events: int
) -> None:
    dumps = JSONSerializer().dumps
    seconds = dict.fromkeys(names, 0.0)
    peak_early_mb = 0.0
    seen: set[str] = set()

    def send(body: str) -> None:
        answer = client.bulk(body=body, require_alias=True)
        assert not answer["errors"], answer

    def place(kind: str, event: RecordedEvent) -> dict[str, str]:
        return {"_index": names[kind].alias_of(event.id), "_id": str(event.id)}

    for number, batch in enumerate(batches(events)):
        texts = [replace(e) for e in batch]  # which have not been parsed
        ready = [(e, document(e)) for e in batch]
        bare = [{"_op_type": "create", **place("bare", e), "_source": fields} for e, fields in ready]
        lines = [line for e, fields in ready for line in ({"create": place("bytes", e)}, fields)]
        body = "".join(f"{dumps(line)}\n" for line in lines)
        for month in {month_of(event.id) for event in batch} - seen:  # making an index is no writing
            seen.add(month)
            for name in names.values():
                alias = f"{name.all}-{month}"
                client.indices.create(index=name.index_behind(alias), body={"aliases": {alias: {}}})
        acts: dict[str, Callable[[], object]] = {
            "storage": lambda b=batch: storages["storage"].write(b),  # type: ignore[misc]
            "from text": lambda b=texts: storages["from text"].write(b),  # type: ignore[misc]
            "bare": lambda b=bare: helpers.bulk(client, b, require_alias=True),  # type: ignore[misc]
            "bytes": lambda b=body: send(b),  # type: ignore[misc]
        }
        turn = number % len(acts)
        for kind in [*acts, *acts][turn:][: len(acts)]:
            started = time.perf_counter()
            acts[kind]()
            seconds[kind] += time.perf_counter() - started
        if number == events // BATCH // 10:
            peak_early_mb = peak_mb()
    rates = {kind: events / spent for kind, spent in seconds.items()}
    print(f"write   {events:,} events: ", *(f"{kind} {rate:,.0f}/s" for kind, rate in rates.items()))
    for kind in ("storage", "from text"):
        shares = [rates[kind] / rates[other] for other in ("bare", "bytes")]
        print(f"ratio   {kind}: {shares[0]:.2f} of the bare client, {shares[1]:.2f} of ready bytes")
    print(f"memory  peak {peak_mb():.0f} MB, after a tenth {peak_early_mb:.0f} MB")


def peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def read(
    client: OpenSearch,
    storage: OpenSearchStorage,
    names: Names,
    name: str,
    filters: dict[str, object],
    options: argparse.Namespace,
) -> None:
    every = 10 if "target_id" in filters else 4
    pages = min(FAR, options.events // every // PAGE)
    # The position of the last event on the page before, as a reader would have come by it.
    before = made((options.events - 1) // every * every - ((pages - 1) * PAGE - 1) * every, options.events)
    position = searching.in_history if "target_id" in filters else searching.in_time
    for number, cursor in ((1, None), (pages, encode_cursor(*position(before)))):
        query = EventQuery(**filters, cursor=cursor)  # type: ignore[arg-type]
        body = searching.request(query)
        assert len(storage.search(query).events) == PAGE
        asks: dict[str, Callable[[], object]] = {
            "storage": lambda q=query: storage.search(q),  # type: ignore[misc]
            "bare": lambda b=body: client.search(index=names.all, body=b),  # type: ignore[misc]
        }
        taken: dict[str, list[float]] = {kind: [] for kind in asks}
        for _ in range(options.rounds):
            for kind, ask in asks.items():
                started = time.perf_counter()
                ask()
                taken[kind].append((time.perf_counter() - started) * 1000)
        mine, theirs = (statistics.median(taken[kind]) for kind in asks)
        print(
            f"read    {name}, page {number}: storage {mine:.1f} ms, bare query {theirs:.1f} ms, {mine / theirs:.2f} times"
        )


if __name__ == "__main__":
    main()
