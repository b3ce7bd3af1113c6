"""How fast the S3 storage is, beside the bare client.

    AUDIT_TEST_S3=… AUDIT_TEST_S3_ACCESS_KEY=… AUDIT_TEST_S3_SECRET_KEY=… python benchmarks/storage_s3.py --events 5000

Each round writes the same batches three ways, one after the other: through `storage.write`; with `put_object` alone, from
bytes that were made before ("bare"); and with `put_object` after making the bytes ("bare, with the bytes made"), JSON Lines
with gzip by a few lines of Python, which is what a program without this package would do. A client of a database makes its
bytes too, so that is the one to compare with; against bytes that are ready it is the machine's Python that is measured.
The ratio is that of the medians. Memory is the peak of this process, before the first and after the last batch.
"""

from __future__ import annotations

import argparse
import gzip
import json
import os
import resource
import statistics
import time
import uuid
from collections.abc import Callable, Iterator
from typing import Any

from audit_core.event import RecordedEvent
from audit_core.testing import make_event
from audit_storage_s3.formats import encoded
from audit_storage_s3.health import begin
from audit_storage_s3.rows import data_of, row_of
from audit_storage_s3.storage import S3Storage


def batches(total: int, size: int) -> list[list[RecordedEvent]]:
    """Events as the log gives them: text and hash, not parsed yet."""
    made = []
    for n in range(1, total + 1):
        event = make_event(
            target=f"policies.Policy:{n % 100}",
            tenant="acme",
            diff={"status": ("pending", "approved"), "premium": (f"{n}.00", f"{n + 5}.00")},
            summary=f"Alice changed the status of policy P-{n % 100} from pending to approved.",
            seq=n,
        )
        made.append(RecordedEvent(event.id, event.text, event.leaf_hash, seq=n, summary=event.summary))
    return [made[start : start + size] for start in range(0, total, size)]


def fresh(batch: list[RecordedEvent]) -> list[RecordedEvent]:
    """The same events, not parsed."""
    return [RecordedEvent(e.id, e.text, e.leaf_hash, seq=e.seq, summary=e.summary) for e in batch]


def plainly(batch: list[RecordedEvent]) -> bytes:
    """The columns as JSON Lines with gzip, as a short script would write them."""
    lines = []
    for event in batch:
        data = json.loads(event.text)
        row = {
            "id": data["id"],
            "seq": event.seq,
            "occurred_at": data["occurred_at"],
            "action": data["action"],
        }
        row |= {"category": data["category"], "outcome": data["outcome"], "fields": list(data["diff"])}
        row |= {"actor_id": data["actor"]["id"], "actor": data["actor"]["repr"]}
        row |= {f"target_{name}": data["target"].get(name) for name in ("type", "id", "repr")}
        row |= {"summary": event.summary, "leaf_hash": event.leaf_hash.hex(), "text": event.text}
        lines.append(json.dumps(row, ensure_ascii=False))
    return gzip.compress("\n".join(lines).encode(), 5)


def rate(total: int, work: Callable[[], Any]) -> float:
    """Events per second."""
    started = time.perf_counter()
    work()
    return total / (time.perf_counter() - started)


def peak_mb() -> float:
    """The most memory this process ever had."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main() -> None:
    """Print both rates, the ratios and the memory."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--events", type=int, default=5_000)
    parser.add_argument("--batch", type=int, default=500)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--format", default="jsonl")
    parser.add_argument("--compression", default="")
    options = parser.parse_args()
    url = os.environ["AUDIT_TEST_S3"]
    os.environ["AWS_ACCESS_KEY_ID"] = os.environ["AUDIT_TEST_S3_ACCESS_KEY"]
    os.environ["AWS_SECRET_ACCESS_KEY"] = os.environ["AUDIT_TEST_S3_SECRET_KEY"]
    os.environ.setdefault("AWS_DEFAULT_REGION", "us-east-1")

    def storages() -> Iterator[S3Storage]:
        while True:
            yield S3Storage(
                "audit-benchmark",
                prefix=f"run/{uuid.uuid4().hex}",
                endpoint_url=url if "://" in url else f"http://{url}",
                format=options.format,
                compression=options.compression,
            )

    supply = storages()
    storage = next(supply)
    storage.setup()
    client, bucket = storage.bucket.client, storage.settings.bucket
    made = batches(options.events, options.batch)
    ready = [encoded(storage.format, [row_of(event, data_of(event)) for event in batch]) for batch in made]

    def ours() -> None:
        for batch in made:
            storage.write(fresh(batch))

    def bare() -> None:
        prefix = f"run/{uuid.uuid4().hex}"
        for n, body in enumerate(ready):
            client.put_object(Bucket=bucket, Key=f"{prefix}/{n}", Body=body, ServerSideEncryption="AES256")

    def bare_making() -> None:
        prefix = f"run/{uuid.uuid4().hex}"
        for n, batch in enumerate(made):
            body = plainly(fresh(batch))
            client.put_object(Bucket=bucket, Key=f"{prefix}/{n}", Body=body, ServerSideEncryption="AES256")

    rates: dict[str, list[float]] = {"storage.write": [], "bare": [], "bare, with the bytes made": []}
    before = peak_mb()
    for _ in range(options.rounds):
        storage.close()
        storage = next(supply)
        begin(storage.bucket, storage.format)  # with the client it takes 0.2 s, once in the life of a process
        for name, work in zip(rates, (ours, bare, bare_making), strict=True):
            rates[name].append(rate(options.events, work))
    medians = {name: statistics.median(found) for name, found in rates.items()}
    for name, median in medians.items():
        ratio = medians["storage.write"] / median
        print(f"{name:<28}{median:>10,.0f} events/s   ratio {ratio:.2f}")
    print(f"{'memory':<28}{before:>10.0f} MB before, {peak_mb():.0f} MB at most")
    storage.close()


if __name__ == "__main__":
    main()
