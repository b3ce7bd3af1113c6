"""Back into another storage, as it was."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest

from audit_core.storages.memory import MemoryStorage
from audit_core.testing import make_event
from audit_storage_s3.errors import DamagedObject
from audit_storage_s3.restore import restore
from audit_storage_s3.storage import S3Storage

pytestmark = pytest.mark.integration


@pytest.fixture
def filled(storage: S3Storage, long_ago: datetime) -> S3Storage:
    for day in range(3):
        storage.write(
            [
                make_event(
                    tenant="a" if n % 2 else None,
                    occurred_at=long_ago + timedelta(days=day),
                    seq=day * 4 + n,
                    summary=f"no. {n}",
                )
                for n in range(1, 5)
            ]
        )
    return storage


def test_everything_comes_back_as_it_was(filled: S3Storage) -> None:
    into, told = MemoryStorage(), list[int]()
    assert restore(filled, into, batch_size=5, progress=told.append) == 12
    assert told == [5, 5, 2]
    assert sorted(into.events, key=lambda event: event.seq or 0) == sorted(
        filled.read(), key=lambda event: event.seq or 0
    )
    assert restore(filled, into) == 12  # again: the other storage knows them
    assert len(into) == 12


@pytest.mark.parametrize(
    ("options", "seqs"),
    [
        ({"days": (1, 1)}, [5, 6, 7, 8]),
        ({"days": (1, None)}, [5, 6, 7, 8, 9, 10, 11, 12]),
        ({"days": (None, 0)}, [1, 2, 3, 4]),
        ({"tenants": ["a"]}, [1, 3, 5, 7, 9, 11]),
        ({"tenants": [None]}, [2, 4, 6, 8, 10, 12]),
        ({"tenants": ["nobody"]}, []),
        ({"first_seq": 3, "last_seq": 6}, [3, 4, 5, 6]),
        ({"first_seq": 7, "tenants": ["a"], "days": (1, 1)}, [7]),
    ],
)
def test_a_range(filled: S3Storage, long_ago: datetime, options: dict[str, Any], seqs: list[int]) -> None:
    since, until = options.pop("days", (None, None))
    if since is not None:
        options["since"] = long_ago.date() + timedelta(days=since)
    if until is not None:
        options["until"] = long_ago.date() + timedelta(days=until)
    into = MemoryStorage()
    assert restore(filled, into, **options) == len(seqs)
    assert sorted(event.seq or 0 for event in into.events) == seqs


def test_a_dry_run_reads_and_writes_nothing(filled: S3Storage) -> None:
    into = MemoryStorage()
    assert restore(filled, into, dry_run=True) == 12
    assert len(into) == 0


@pytest.mark.parametrize(
    "forge",
    [
        lambda row: row.update(text=row["text"].replace("approved", "rejected")),
        lambda row: row.update(leaf_hash="00" * 32),
        lambda row: row.update(id="0197e7c0-0000-7000-8000-000000000000"),
        lambda row: row.pop("text"),
    ],
)
def test_a_forged_event_stops_it(
    filled: S3Storage, keys: Callable[[S3Storage], list[str]], forge: Callable[[dict[str, Any]], Any]
) -> None:
    key = filled.settings.prefix + keys(filled)[0]
    found = filled.bucket.get(key)
    assert found is not None
    rows = [json.loads(line) for line in gzip.decompress(found.body).splitlines()]
    forge(rows[0])
    body = gzip.compress("".join(json.dumps(row) + "\n" for row in rows).encode())
    filled.bucket.ask("put_object", Key=key, Body=body)
    with pytest.raises(DamagedObject):
        restore(filled, MemoryStorage())
