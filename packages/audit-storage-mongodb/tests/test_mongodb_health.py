"""check() without a server: what it says about what a server has answered."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from pymongo.uri_parser import parse_uri

from audit_storage_mongodb.health import clock_problems, permission_problems, tls_problems


@pytest.mark.parametrize(("ahead", "problems"), [(0, 0), (3, 0), (-3, 0), (60, 1), (3600, 1), (-3600, 1)])
@pytest.mark.parametrize("aware", [True, False])
def test_clocks_that_disagree_are_seen(ahead, problems, aware):
    moment = datetime.now(UTC) + timedelta(seconds=ahead)
    found = clock_problems({"localTime": moment if aware else moment.replace(tzinfo=None)})
    assert len(found) == problems
    if abs(ahead) == 3600:
        assert "3,600 s apart" in found[0]
        assert "NTP" in found[0]


def test_a_server_that_tells_no_time_is_not_blamed():
    assert clock_problems({}) == []


@pytest.mark.parametrize(
    ("uri", "words"),
    [
        ("mongodb://localhost/", None),
        ("mongodb://127.0.0.2,[::1]/", None),
        ("mongodb://%2Ftmp%2Fmongodb-27017.sock/", None),
        ("mongodb://db.example.com/?tls=true", None),
        ("mongodb://db.example.com/?ssl=true", None),
        ("mongodb://db.example.com/", "connection to db.example.com is not encrypted"),
        ("mongodb://10.0.0.5/?tls=false", "connection to 10.0.0.5 is not encrypted"),
        (
            "mongodb://db.example.com/?tls=true&tlsAllowInvalidCertificates=true",
            "tlsAllowInvalidCertificates",
        ),
        ("mongodb://db.example.com/?tls=true&tlsInsecure=true", "tlsInsecure"),
    ],
)
def test_a_connection_in_the_clear_is_seen(uri, words):
    parsed = parse_uri(uri)
    found = tls_problems(parsed["options"], [host for host, _ in parsed["nodelist"]])
    assert len(found) == (words is not None)
    assert words is None or words in found[0]


EVERYTHING = ["find", "insert", "listIndexes", "remove"]


@pytest.mark.parametrize(
    ("privileges", "lacking"),
    [
        (None, None),
        ([], "find, insert, listIndexes"),
        ([{"resource": {"anyResource": True}, "actions": EVERYTHING}], None),
        ([{"resource": {"db": "", "collection": ""}, "actions": EVERYTHING}], None),
        ([{"resource": {"db": "audit", "collection": ""}, "actions": EVERYTHING}], None),
        ([{"resource": {"db": "audit", "collection": "audit_events"}, "actions": EVERYTHING}], None),
        (
            [{"resource": {"db": "other", "collection": ""}, "actions": EVERYTHING}],
            "find, insert, listIndexes",
        ),
        ([{"resource": {"cluster": True}, "actions": EVERYTHING}], "find, insert, listIndexes"),
        ([{"resource": {"db": "audit", "collection": ""}, "actions": ["find", "listIndexes"]}], "insert"),
        (
            [
                {"resource": {"db": "audit", "collection": ""}, "actions": ["find"]},
                {
                    "resource": {"db": "audit", "collection": "audit_events"},
                    "actions": ["insert", "listIndexes"],
                },
            ],
            None,
        ),
    ],
)
def test_a_missing_permission_is_named(offline, privileges, lacking):
    found = permission_problems(privileges, offline()._events)
    expected = [] if lacking is None else [f"The user may not {lacking} on audit.audit_events."]
    assert [problem.partition(" Give")[0] for problem in found] == expected
