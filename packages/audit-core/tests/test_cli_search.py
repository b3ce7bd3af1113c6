"""Looking for events by the command."""

import json
import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

pytest.importorskip("typer", reason="needs the extra audit-core[cli]")

from typer.testing import CliRunner

from audit_core.cli.app import app
from audit_core.event import Actor, Context
from audit_core.query import InvalidQuery, Page
from audit_core.storages.memory import MemoryStorage
from audit_core.testing import make_event

DAY = datetime(2026, 3, 3, 12, tzinfo=UTC)
MADE = {}


class Shelf(MemoryStorage):
    """Pages that end early, as those of a store without an index do, and no answer about fields."""

    pages = 0

    def search(self, query):
        self.pages += 1
        if query.field:
            raise InvalidQuery("There is no index for field.", filter="field")
        if query.cursor == "early":
            return super().search(replace(query, cursor=None))
        return Page(next="early") if query.cursor is None else super().search(query)


class Plain:
    def write(self, events): ...


def make(kind):
    def factory():
        MADE.setdefault(kind, kind())
        return MADE[kind]

    return factory


make_shelf, make_memory, make_plain = make(Shelf), make(MemoryStorage), make(Plain)


@pytest.fixture
def run(tmp_path):
    MADE.clear()
    names = {"plain": "plain", "archive": "memory", "slow": "shelf"}
    lines = [f"[STORAGES.{name}]\nBACKEND = '{__name__}.make_{kind}'" for name, kind in names.items()]
    (tmp_path / "audit.toml").write_text(
        f"[OUTBOX]\nBACKEND = 'sqlite'\n[OUTBOX.OPTIONS]\npath = '{tmp_path}/log.db'\n" + "\n".join(lines)
    )
    events = [
        make_event(
            occurred_at=DAY + timedelta(days=n),
            target=f"policies.Policy:{n % 2}",
            actor=Actor(id=str(n), repr="Mallory\x1b[2J\u202e" if n == 1 else "Alice"),
            tenant="acme" if n else None,
            context=Context(request_id=f"r-{n}"),
            seq=n + 1,
            summary=f"Alice changed policy number{n}.",
        )
        for n in range(4)
    ]
    for name in ("make_memory", "make_shelf"):
        globals()[name]().write(events)

    def run(*words):
        result = CliRunner().invoke(app, ["--config", str(tmp_path / "audit.toml"), "search", *words])
        return result.exit_code, result.output

    return run


def numbers(output):
    """Which events are in the output, in its order."""
    return [int(number) for number in re.findall(r"number(\d)", output)]


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ([], [3, 2, 1, 0]),
        (["alice", "num"], [3, 2, 1, 0]),
        (["number2"], [2]),
        (["--type", "policies.Policy", "--id", "1"], [3, 1]),
        (["--actor", "2"], [2]),
        (["--action", "create"], []),
        (["--action", "update", "--category", "change"], [3, 2, 1, 0]),
        (["--tenant", "acme"], [3, 2, 1]),
        (["--request", "r-0"], [0]),
        (["--field", "status"], [3, 2, 1, 0]),
        (["--since", "2026-03-04", "--until", "2026-03-05T12:00:00"], [1]),
        (["--limit", "2"], [3, 2]),
    ],
)
def test_what_is_found(run, words, expected):
    code, output = run(*words)
    assert (code, numbers(output)) == (0, expected)
    assert ("Nothing matches." in output) == (not expected)


def test_each_event_is_a_line_of_json(run):
    _, output = run("--json", "--limit", "2")
    events = [json.loads(line) for line in output.splitlines()]
    assert [event["seq"] for event in events] == [4, 3]
    assert "changes" in events[0]


def test_nothing_in_an_event_steers_the_terminal(run):
    _, output = run("--actor", "1")
    assert "Mallory" in output
    assert "\x1b" not in output
    assert "\u202e" not in output


def test_pages_that_end_early_are_followed_to_the_end(run):
    assert numbers(run("--storage", "slow")[1]) == [3, 2, 1, 0]
    assert MADE[Shelf].pages == 2


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--storage", "slow", "--field", "status"], "--field: There is no index for field."),
        (["--id", "1"], "--id: target_id needs target_types"),
        (["--since", "2026-03-05", "--until", "2026-03-04"], "--since: since is not before until"),
        (["--storage", "plain"], "The storage 'plain' cannot search; these can: archive, slow."),
        (["--storage", "sloww"], "There is no storage 'sloww'. Did you mean 'slow'?"),
    ],
)
def test_what_cannot_be_answered_says_which_option(run, words, said):
    code, output = run(*words)
    assert code == 2
    assert said in " ".join(output.replace("│", " ").replace("'--", "--").replace("':", ":").split())
