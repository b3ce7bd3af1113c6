"""What may be said in OPTIONS, and what is wrong with the rest."""

from __future__ import annotations

from urllib.parse import quote

import pytest

from audit_core import backends
from audit_core.errors import ConfigurationError
from audit_storage_mongodb.storage import MAX_RETENTION_DAYS


def test_the_plugin_is_found_by_its_name():
    config = {"BACKEND": "mongodb", "OPTIONS": {"uri": "mongodb://localhost:1/"}}
    storage = backends.build("storage", config)
    assert type(storage).__name__ == "MongoStorage"
    backends.close(storage)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({}, "needs the option 'uri'"),
        ({"uri": "mongodb://localhost", "colection": "x"}, "Did you mean 'collection'"),
        ({"uri": "mongodb://localhost", "retention_days": 0}, "retention_days is 0"),
        ({"uri": "mongodb://localhost", "retention_days": MAX_RETENTION_DAYS + 1}, "or None to keep all"),
        ({"uri": "mongodb://localhost", "retention_days": "30"}, "retention_days is '30'"),
        ({"uri": "mongodb://localhost", "retention_days": True}, "retention_days is True"),
        ({"uri": "mongodb://localhost", "retention_days": 1.5}, "retention_days is 1.5"),
        ({"uri": "mongodb://localhost", "timeout_seconds": 0}, "timeout_seconds is 0"),
        ({"uri": "mongodb://localhost", "timeout_seconds": "20"}, "timeout_seconds is '20'"),
        ({"uri": "mongodb://localhost", "timeout_seconds": float("inf")}, "timeout_seconds is inf"),
        ({"uri": "mongodb://localhost", "timeout_seconds": float("nan")}, "timeout_seconds is nan"),
        ({"uri": "mongodb://localhost", "collection": "a..b"}, "name of a database or collection is wrong"),
        ({"uri": "mongodb://localhost", "database": "a b"}, "name of a database or collection is wrong"),
        ({"uri": "mongodb://localhost/?w=0"}, "Remove it"),
        ({"uri": "mongodb://localhost/?fsync=true"}, "write concern of the uri cannot be used"),
        ({"uri": "mongodb://localhost/?tls=true&tlsCAFile=/no/such.pem"}, "/no/such.pem.*Correct tlsCAFile"),
        ({"uri": f"mongodb://localhost/?tls=true&tlsCAFile={quote(__file__, '')}"}, "Correct tlsCAFile"),
    ],
)
def test_a_mistake_is_explained(options, words):
    with pytest.raises(ConfigurationError, match=words):
        backends.build("storage", {"BACKEND": "mongodb", "OPTIONS": options})


@pytest.mark.parametrize(
    "uri",
    [
        "postgres://alice:s3cr3t@localhost/",
        "mongodb://alice:s3cr3t/more@localhost/",
        "mongodb://alice:100%s3cr3t@localhost/",
        "mongodb://alice:s3cr3t@/",
        "mongodb://alice:s3cr3t@localhost:port/",
        "mongodb://alice:x@s3cr3t@localhost/",
    ],
)
def test_no_message_holds_a_part_of_the_password(offline, uri):
    with pytest.raises(ConfigurationError, match="percent-encoded") as caught:
        offline(uri)
    assert "s3cr3t" not in str(caught.value)
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("", {"w": "majority", "j": True}),
        ("?w=1", {"w": 1, "j": True}),
        ("?w=3&journal=false", {"w": 3, "j": False}),
    ],
)
def test_a_majority_and_the_journal_confirm_unless_the_uri_says_otherwise(offline, query, expected):
    storage = offline(f"mongodb://localhost:1/{query}")
    for collection in (storage._events, storage._chunks):
        assert collection.write_concern.document == expected


@pytest.mark.parametrize(
    ("uri", "options", "name"),
    [
        ("mongodb://localhost:1/", {}, "audit.audit_events"),
        ("mongodb://localhost:1/trail", {}, "trail.audit_events"),
        ("mongodb://localhost:1/trail", {"database": "other", "collection": "events"}, "other.events"),
    ],
)
def test_where_events_are_kept(offline, uri, options, name):
    storage = offline(uri, **options)
    assert storage._events.full_name == name
    assert storage._chunks.full_name == f"{name}_chunks"


def test_one_call_has_its_time_and_lost_ones_are_repeated(offline):
    options = offline(timeout_seconds=2.5)._client.options
    assert options.timeout == 2.5
    assert (options.retry_writes, options.retry_reads) == (True, True)


def test_no_name_is_looked_up_before_the_first_call(offline):
    storage = offline("mongodb+srv://alice:s3cr3t@no-such-host.invalid/trail?w=1")
    assert storage._events.full_name == "trail.audit_events"
    assert storage._events.write_concern.document == {"w": 1, "j": True}
