"""What is stored is searched with DuckDB, as in the documentation.

DuckDB's own httpfs extension is downloaded when it is first used; here it reads through a registered filesystem instead.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest

from audit_core.event import Context
from audit_core.testing import make_event
from audit_core.testing.events import BOB
from audit_storage_s3.compaction import compact
from audit_storage_s3.storage import S3Storage

pytestmark = pytest.mark.integration

duckdb = pytest.importorskip("duckdb")
pytest.importorskip("fsspec")
pafs = pytest.importorskip("pyarrow.fs")

Make = Callable[..., S3Storage]


@pytest.fixture
def connection(server: SimpleNamespace) -> Iterator[Any]:
    from fsspec.implementations.arrow import ArrowFSWrapper

    class S3(ArrowFSWrapper):  # type: ignore[misc]
        protocol = "s3"

    scheme, _, address = server.url.partition("://")
    filesystem = pafs.S3FileSystem(
        access_key=server.access_key,
        secret_key=server.secret_key,
        endpoint_override=address,
        scheme=scheme,
        region="us-east-1",
    )
    with duckdb.connect() as connection:
        connection.register_filesystem(S3(filesystem))
        yield connection


@pytest.fixture(params=[("jsonl", "gzip"), ("jsonl", "zstd"), ("parquet", "zstd")], ids="-".join)
def filled(make: Make, request: pytest.FixtureRequest, long_ago: datetime) -> S3Storage:
    format_, compression = request.param
    if compression == "zstd" and format_ == "jsonl" and sys.version_info < (3, 14):
        pytest.importorskip("backports.zstd")
    storage = make(format=format_, compression=compression)
    storage.setup()
    storage.write(
        [
            make_event(
                "approve" if n % 3 else "update",
                tenant=["acme", None, "Ünï/cödé & =co"][n % 3],
                actor=BOB if n == 7 else None,
                target=f"policies.Policy:{n % 5}",
                occurred_at=long_ago + timedelta(days=n % 2, microseconds=n),
                context=Context(request_id=f"r{n}"),
                diff={"premium": (n, n + 1), "status": (None, 'it\'s "open"')},
                summary=f"Sentence {n} \u2028 🦊",
                seq=n,
            )
            for n in range(1, 31)
        ]
    )
    return storage


COLUMNS = (
    "id: 'UUID', seq: 'BIGINT', occurred_at: 'TIMESTAMP', action: 'VARCHAR', actor_id: 'VARCHAR', actor: 'VARCHAR', "
    "target_type: 'VARCHAR', target_id: 'VARCHAR', fields: 'VARCHAR[]', summary: 'VARCHAR', leaf_hash: 'VARCHAR', "
    "text: 'VARCHAR'"
)


def view(connection: Any, storage: S3Storage) -> None:
    where = f"s3://{storage.settings.bucket}/{storage.settings.prefix}events/*/*/*{storage.format.suffix}"
    if storage.format.suffix == ".parquet":
        source = f"read_parquet('{where}', hive_partitioning = true)"
    else:
        source = f"read_ndjson('{where}', hive_partitioning = true, columns = {{{COLUMNS}}})"
    connection.execute(f"CREATE VIEW audit AS SELECT DISTINCT ON (id) * FROM {source}")


def test_the_history_of_an_object(connection: Any, filled: S3Storage) -> None:
    view(connection, filled)
    rows = connection.execute(
        "SELECT seq FROM audit WHERE target_type = 'policies.Policy' AND target_id = '2' ORDER BY seq DESC LIMIT 3"
    ).fetchall()
    assert rows == [(27,), (22,), (17,)]


def test_a_tenant_and_a_day_are_columns(connection: Any, filled: S3Storage, long_ago: datetime) -> None:
    view(connection, filled)
    count = "SELECT count(*) FROM audit WHERE"
    assert connection.execute(f"{count} tenant = 'acme'").fetchone() == (10,)
    assert connection.execute(f"{count} tenant IS NULL").fetchone() == (10,)
    assert connection.execute(f"{count} tenant = 'Ünï/cödé & =co'").fetchone() == (10,)
    assert connection.execute(f"{count} date = ?", [long_ago.date()]).fetchone() == (15,)


def test_what_is_in_the_text(connection: Any, filled: S3Storage) -> None:
    view(connection, filled)
    rows = connection.execute(
        "SELECT seq, text ->> '$.diff.premium.after', text ->> '$.diff.status.after', actor FROM audit "
        "WHERE list_contains(fields, 'premium') AND actor_id = '9'"
    ).fetchall()
    assert rows == [(7, "8", 'it\'s "open"', "Bob")]
    [(text, leaf)] = connection.execute("SELECT text, leaf_hash FROM audit WHERE seq = 7").fetchall()
    [event] = [event for event in filled.read() if event.seq == 7]
    assert (text, leaf) == (event.text, event.leaf_hash.hex())


def test_words_and_times(connection: Any, filled: S3Storage, long_ago: datetime) -> None:
    view(connection, filled)
    rows = connection.execute("SELECT seq FROM audit WHERE summary ILIKE 'sentence 12 %'").fetchall()
    assert rows == [(12,)]
    moment = (long_ago + timedelta(microseconds=4)).replace(tzinfo=None)
    connection.execute("SET TimeZone = 'UTC'")
    rows = connection.execute("SELECT seq FROM audit WHERE occurred_at = ?", [moment]).fetchall()
    assert rows == [(4,)]


def test_compacted_objects_read_the_same(connection: Any, filled: S3Storage, long_ago: datetime) -> None:
    filled.write([make_event(tenant="acme", occurred_at=long_ago, seq=n) for n in range(31, 34)])
    assert compact(filled).objects > 1
    view(connection, filled)
    assert connection.execute("SELECT count(*), sum(seq) FROM audit").fetchone() == (33, 33 * 34 // 2)


def test_the_view_is_right_while_a_compaction_is_under_way(
    connection: Any, filled: S3Storage, long_ago: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    filled.write([make_event(tenant="acme", occurred_at=long_ago, seq=n) for n in range(31, 34)])
    monkeypatch.setattr(filled.bucket, "delete", lambda items: list(items) and [])
    compact(filled)
    view(connection, filled)
    assert connection.execute("SELECT count(*), sum(seq) FROM audit").fetchone() == (33, 33 * 34 // 2)
