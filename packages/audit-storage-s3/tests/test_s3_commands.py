"""``audit storages`` on a bucket: compacted, verified, pruned, and read back as it was."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("typer", reason="needs the extra audit-core[cli]")

from click.testing import Result
from typer.testing import CliRunner

from audit_core.cli.app import app
from audit_core.event import RecordedEvent
from audit_core.sqlite import SqliteDatabase
from audit_core.storages.jsonl import JsonLinesStorage
from audit_core.testing import make_event
from audit_storage_s3.errors import DamagedObject
from audit_storage_s3.storage import S3Storage

pytestmark = pytest.mark.integration

Audit = Callable[..., Result]
Keys = Callable[[S3Storage], list[str]]


@pytest.fixture
def audit(storage: S3Storage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Audit:
    """Runs ``audit storages`` where ``storage`` is called archive, and a file copy."""
    monkeypatch.chdir(tmp_path)
    settings = storage.settings
    (tmp_path / "audit.toml").write_text(
        f"""
        [storages.archive]
        backend = "s3"
        options = {{ bucket = "{settings.bucket}", prefix = "{settings.prefix}", endpoint_url = "{settings.endpoint_url}" }}
        [storages.copy]
        backend = "jsonl"
        options = {{ path = "copy.jsonl" }}
        """
    )
    return lambda *arguments, **options: CliRunner().invoke(app, ["storages", *arguments], **options)


@pytest.fixture
def filled(storage: S3Storage, long_ago: datetime) -> list[RecordedEvent]:
    """Four events on each of three days, in two objects of a tenant and one without."""
    events = [
        make_event(
            tenant="a" if n % 4 else None,
            occurred_at=long_ago + timedelta(days=n // 4),
            seq=n + 1,
            summary=f"no. {n + 1}",
        )
        for n in range(12)
    ]
    for start in range(0, 12, 2):
        storage.write(events[start : start + 2])
    return events


def by_seq(events: list[RecordedEvent]) -> list[RecordedEvent]:
    return sorted(events, key=lambda event: event.seq or 0)


def test_it_can_do_everything_but_search(audit: Audit) -> None:
    [archive] = [line for line in audit("list").stdout.splitlines() if line.startswith("archive")]
    assert archive.split() == ["archive", "–", "yes", "yes", "yes", "yes"]


def test_the_days_are_compacted(
    audit: Audit, storage: S3Storage, filled: list[RecordedEvent], long_ago: datetime, keys: Keys
) -> None:
    assert len(keys(storage)) == 9
    planned = audit("compact", "archive", "--dry-run").stdout
    assert planned.startswith("archive: 6 objects (")
    assert planned.endswith(") of 3 day(s) would become 3.\n")
    assert len(keys(storage)) == 9
    day = f"{long_ago:%Y-%m-%d}"
    done = audit("compact", "archive", "--since", day, "--until", day, env={"FORCE_COLOR": "1"})
    assert "100%" in done.stdout
    assert ") of 1 day(s) became 1." in done.stdout
    assert len(keys(storage)) == 8
    done = audit("compact", "archive")
    assert done.exit_code == 0, done.output
    assert done.stdout.endswith(") of 2 day(s) became 2.\n")
    assert len(keys(storage)) == 6
    assert by_seq(list(storage.read())) == filled


def test_what_is_intact_is_verified_and_what_was_changed_is_named(
    audit: Audit, storage: S3Storage, filled: list[RecordedEvent], long_ago: datetime, keys: Keys
) -> None:
    finished = audit("verify", "archive")
    assert finished.exit_code == 1
    assert "has no manifest: `storages compact` writes it." in finished.stdout
    audit("compact", "archive")
    finished = audit("verify", "archive")
    assert (finished.exit_code, finished.stdout) == (0, "archive: 6 objects were read, 0 problem(s) found.\n")
    first, *_ = [key for key in keys(storage) if f"{long_ago:%Y-%m-%d}" in key]
    storage.bucket.ask("put_object", Key=storage.settings.prefix + first, Body=b"forged")
    finished = audit("verify", "archive")
    assert finished.exit_code == 1
    assert f"{first} is not what the manifest of" in finished.stdout
    assert "1 problem(s) found" in finished.stdout
    assert audit("verify", "archive", "--since", f"{long_ago + timedelta(days=1):%Y-%m-%d}").exit_code == 0
    finished = audit("compact", "archive")
    assert finished.exit_code == 1
    assert finished.stderr.startswith(f"Error: {first} is missing or was changed")


def test_everything_comes_back_as_it_was(audit: Audit, filled: list[RecordedEvent]) -> None:
    for _ in range(2):
        finished = audit("restore", "archive", "copy")
        assert finished.exit_code == 0, finished.output
        assert finished.stdout == "archive: 12 events were restored into copy.\n"
        assert by_seq(list(JsonLinesStorage("copy.jsonl").read())) == filled


def test_a_range_comes_back(audit: Audit, filled: list[RecordedEvent], long_ago: datetime) -> None:
    day = f"{long_ago + timedelta(days=1):%Y-%m-%d}"
    audit("restore", "archive", "copy", "--since", day, "--until", day, "--tenant", "a")
    assert [event.seq for event in JsonLinesStorage("copy.jsonl").read()] == [6, 7, 8]


def test_what_was_written_elsewhere_comes_into_the_bucket(
    audit: Audit, storage: S3Storage, filled: list[RecordedEvent]
) -> None:
    copied = [make_event(seq=n, occurred_at=filled[0].event.occurred_at) for n in (13, 14)]
    JsonLinesStorage("copy.jsonl").write([*filled, *copied])
    for _ in range(2):
        assert audit("restore", "copy", "archive").exit_code == 0
        assert by_seq(list(storage.read())) == [*filled, *copied]


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
    audit: Audit, storage: S3Storage, filled: list[RecordedEvent], keys: Keys, forge: Callable[[Any], Any]
) -> None:
    key = storage.settings.prefix + keys(storage)[0]
    found = storage.bucket.get(key)
    assert found is not None
    rows = [json.loads(line) for line in gzip.decompress(found.body).splitlines()]
    forge(rows[0])
    body = gzip.compress("".join(json.dumps(row) + "\n" for row in rows).encode())
    storage.bucket.ask("put_object", Key=key, Body=body)
    finished = audit("restore", "archive", "copy")
    assert finished.exit_code == 1
    assert finished.stderr.startswith(f"Error: {key} holds ")
    assert DamagedObject.REMEDY in finished.stderr
    assert audit("restore", "archive", "copy", "--dry-run").exit_code == 1


def test_whole_days_are_pruned_on_the_record(
    audit: Audit, storage: S3Storage, filled: list[RecordedEvent], long_ago: datetime
) -> None:
    before = f"{long_ago + timedelta(days=2):%Y-%m-%dT23:00:00}"
    assert audit("prune", "archive", "--before", before, "--dry-run").stdout == (
        "archive: 8 events would be removed.\n"
    )
    finished = audit("prune", "archive", "--before", before, "--reason", "over", "--yes")
    assert finished.exit_code == 0, finished.output
    assert by_seq(list(storage.read())) == filled[8:]
    database = SqliteDatabase("audit.sqlite3")
    assert database.outbox.waiting().count == 1
    database.close()


def test_a_server_that_is_away_is_a_sentence(audit: Audit, storage: S3Storage) -> None:
    path = Path("audit.toml")
    path.write_text(path.read_text().replace(str(storage.settings.endpoint_url), "http://127.0.0.1:1"))
    finished = audit("verify", "archive")
    assert finished.exit_code == 1
    assert finished.stderr.startswith("Error: ")
    assert len(finished.stderr.splitlines()) == 1
