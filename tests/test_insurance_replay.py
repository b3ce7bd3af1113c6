"""The insurance example at work: from the events alone, its tables can be rebuilt.

The project runs in processes of its own with its own settings, against a database of its own on the server under
test (AUDIT_TEST_DATABASE).
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from copy import deepcopy
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import pytest
from tests.insurance_project import DEMO, Project
from tests.replay import State, differences, replay

pytestmark = pytest.mark.slow

DAYS = 9  # the shortest story in which all that happens once has something to happen to


@pytest.fixture(scope="module")
def database_url() -> Iterator[str | None]:
    kind = os.environ.get("AUDIT_TEST_DATABASE", "sqlite")
    if kind == "sqlite":
        yield None
        return
    variable = {"postgres": "AUDIT_TEST_POSTGRES", "mariadb": "AUDIT_TEST_MARIADB"}[kind]
    server = urlsplit(os.environ[variable])
    name = f"audit_test_insurance_{os.getpid()}"
    execute = {"postgres": _execute_postgres, "mariadb": _execute_mariadb}[kind]
    execute(
        os.environ[variable], f"CREATE DATABASE {name}{' CHARACTER SET utf8mb4' if kind == 'mariadb' else ''}"
    )
    yield urlunsplit(server._replace(path=f"/{name}"))
    execute(os.environ[variable], f"DROP DATABASE {name}")


def _execute_postgres(url: str, statement: str) -> None:
    import psycopg

    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(statement)


def _execute_mariadb(url: str, statement: str) -> None:
    import pymysql

    server = urlsplit(url)
    with (
        pymysql.connect(
            host=server.hostname,
            port=server.port or 3306,
            user=server.username,
            password=server.password or "",
        ) as connection,
        connection.cursor() as cursor,
    ):
        cursor.execute(statement)


@pytest.fixture(scope="module")
def project(database_url: str | None, tmp_path_factory: pytest.TempPathFactory) -> Project:
    project = Project(tmp_path_factory.mktemp("insurance"), database_url)
    project.run(DEMO, "--no-serve", "--days", str(DAYS))
    return project


@pytest.fixture(scope="module")
def snapshot(project: Project) -> dict[str, Any]:
    return project.snapshot()


def problems(texts: list[str], tables: dict[str, Any]) -> list[str]:
    """Everything that is wrong with these events: among themselves, and with the tables."""
    state = replay(texts)
    return state.breaks + differences(state, tables)


def test_the_history_is_worth_replaying(snapshot: dict[str, Any]) -> None:
    events = [json.loads(text) for text in snapshot["events"]]
    assert len(events) > 200
    seen = {(event["category"], event["action"]) for event in events}
    assert {
        ("change", "create"),
        ("change", "update"),
        ("change", "delete"),
        ("auth", "login_failed"),
    } <= seen
    types = {change.get("field_type") for event in events for change in event.get("diff", {}).values()}
    assert {
        "CharField",
        "DecimalField",
        "DateField",
        "DateTimeField",
        "JSONField",
        "TextField",
        "ForeignKey",
    } <= types
    assert {"OneToOneField", "FileField", "BooleanField"} <= types
    assert {event.get("tenant") for event in events} == {"northwind", "lakeside", None}
    assert any(event.get("reason") for event in events)
    assert any(event["outcome"] == "failure" and event["category"] != "auth" for event in events)
    tables = snapshot["tables"]
    assert sum(len(table["rows"]) for table in tables.values()) > 60
    assert (
        sum(len(linked) for row in tables["policies.Policy"]["links"].values() for linked in row.values()) > 5
    )


def test_the_tables_are_rebuilt_from_the_events_alone(snapshot: dict[str, Any]) -> None:
    assert problems(snapshot["events"], snapshot["tables"]) == []


def test_no_sensitive_value_is_in_an_event(project: Project, snapshot: dict[str, Any]) -> None:
    script = "from customers.models import Customer; import json; print(json.dumps([*Customer.objects.values_list('ssn')]))"
    values = [value for (value,) in json.loads(project.run("-c", f"import django; django.setup(); {script}"))]
    assert len(values) > 8
    assert all(values)
    everything = "".join(snapshot["events"])
    assert [value for value in values if value in everything] == []
    assert "pbkdf2" not in everything


def test_a_lost_event_is_noticed(snapshot: dict[str, Any]) -> None:
    texts, tables = snapshot["events"], snapshot["tables"]
    missed = [
        text
        for i, text in enumerate(texts)
        if _says_something(text) and not problems(texts[:i] + texts[i + 1 :], tables)
    ]
    assert missed == []


def test_two_events_in_the_wrong_order_are_noticed(snapshot: dict[str, Any]) -> None:
    texts, tables = snapshot["events"], snapshot["tables"]
    pairs = [(i, j) for i, j in _neighbors(texts) if _plain_fields(texts[i]) & _plain_fields(texts[j])]
    assert len(pairs) > 20
    for i, j in pairs:
        swapped = list(texts)
        swapped[i], swapped[j] = texts[j], texts[i]
        assert problems(swapped, tables), f"{texts[i]}\n{texts[j]}"


def test_a_changed_value_is_noticed(snapshot: dict[str, Any]) -> None:
    texts, tables = snapshot["events"], snapshot["tables"]
    tried = 0
    for i, text in enumerate(texts):
        event = json.loads(text)
        for name in _plain_fields(text):
            for side in ("before", "after"):
                forged = json.loads(text)
                forged["diff"][name][side] = (
                    {"pk": -1} if event["diff"][name]["relation"] != "field" else "forged"
                )
                if event["action"] == "delete" and side == "after":
                    continue  # the row is gone whatever it says
                tried += 1
                assert problems([*texts[:i], json.dumps(forged), *texts[i + 1 :]], tables), (
                    f"{side} of {name}: {text}"
                )
        if tried > 1500:
            break
    assert tried > 500


def test_a_changed_row_is_noticed(snapshot: dict[str, Any]) -> None:
    state, tables = replay(snapshot["events"]), deepcopy(snapshot["tables"])
    for kind, table in tables.items():
        key, row = next(iter(table["rows"].items()))
        for name, value in row.items():
            row[name] = "forged"
            (line,) = differences(state, tables)
            assert line.startswith(f"{kind} {key}.{name}: "), line
            row[name] = value


def test_a_second_start_changes_nothing(project: Project, snapshot: dict[str, Any]) -> None:
    assert project.run(DEMO, "--no-serve") == ""
    assert project.snapshot() == snapshot


def _says_something(text: str) -> bool:
    """Whether losing this event must be noticed: a sensitive field's change leaves nothing to compare."""
    event = json.loads(text)
    if event["category"] != "change" or event["outcome"] != "success":
        return False
    changes = event.get("diff", {}).values()
    return event["action"] != "update" or any(not change.get("sensitive") for change in changes)


def _plain_fields(text: str) -> set[str]:
    event = json.loads(text)
    if event["category"] != "change":
        return set()
    changes = event.get("diff", {}).items()
    return {name for name, c in changes if c["relation"] != "many_to_many" and not c.get("sensitive")}


def _neighbors(texts: list[str]) -> Iterator[tuple[int, int]]:
    """Each event with the next one about the same object."""
    last: dict[tuple[str, str], int] = {}
    for number, text in enumerate(texts):
        event = json.loads(text)
        if event["category"] != "change":
            continue
        key = event["target"]["type"], event["target"]["id"]
        if key in last:
            yield last[key], number
        last[key] = number


def test_the_replay_itself() -> None:
    """By hand, so that the checker is not only checked by what it checks."""

    def event(action: str, **diff: Any) -> str:
        target = {"type": "shop.Item", "id": "1"}
        return json.dumps(
            {"category": "change", "outcome": "success", "action": action, "target": target, "diff": diff}
        )

    price = {"relation": "field", "before": None, "after": "1.00"}
    tags = {"relation": "many_to_many", "added": [{"pk": 7, "repr": "New"}], "removed": []}
    state = replay([event("create", price=price, tags=tags)])
    assert state == State({"shop.Item": {"1": {"price": "1.00"}}}, {"shop.Item": {"1": {"tags": {"7"}}}}, [])
    assert (
        differences(state, {"shop.Item": {"rows": {"1": {"price": "1.00"}}, "links": {"1": {"tags": ["7"]}}}})
        == []
    )
    assert differences(state, {}) == ["shop.Item 1: only in the events"]
    assert replay([event("update", price=price)]).breaks == ["update of shop.Item 1: the row does not exist"]
    assert replay([event("create", price=price), event("update", price=price)]).breaks == [
        "update of shop.Item 1: price was '1.00', the event says None"
    ]
