"""``manage.py audit``: the commands of audit-core on Django's settings and tables."""

import json
import sys
from datetime import UTC, datetime, timedelta
from io import StringIO

import pytest
from commands import run
from django.core.management import ManagementUtility
from django.db import connections
from testapp.models import Tag

from audit_core.errors import PermanentError
from audit_core.log import TRIMMER
from audit_django import backends
from audit_django.log import DjangoLog
from audit_django.models import AuditEvent, Cursor, LogEntry, OutboxEntry, ParkedEntry, Summary

pytestmark = pytest.mark.django_db(transaction=True, databases=["default", "other"])


class Picky:
    """Refuses what is called bad, while it is strict."""

    strict = True

    def __init__(self):
        self.taken = []

    def write(self, events):
        if Picky.strict and any("bad" in (event.event.target.repr or "") for event in events):
            raise PermanentError("no bad ones here")
        self.taken += [event.seq for event in events]


class Broken:
    def write(self, events):
        raise OSError("no route to host")

    def check(self):
        return ["no route to host"]


@pytest.fixture
def archive(settings):
    """A worker's settings with one sink that takes everything."""
    settings.AUDIT = {
        "RELAY": "worker",
        "STORAGES": {"default": {"BACKEND": "database"}, "archive": {"BACKEND": "memory"}},
    }


@pytest.fixture
def picky(settings, monkeypatch):
    """A worker's settings with one sink that refuses tags called bad."""
    monkeypatch.setattr(Picky, "strict", True)
    settings.AUDIT = {
        "RELAY": "worker",
        "STORAGES": {"default": {"BACKEND": "database"}, "picky": {"BACKEND": f"{__name__}.Picky"}},
    }


def lines(out):
    return [json.loads(line) for line in out.splitlines()]


def make(*names):
    return [Tag.objects.create(name=name) for name in names]


# relay


def test_relay_once_says_what_it_did(archive):
    make(*"abc")
    code, out, err = run("relay", "--once")
    assert [(line["stage"], line["events"], line["state"]) for line in lines(out)] == [
        ("log", 3, "idle"),
        ("summaries", 3, "idle"),
        ("archive", 3, "idle"),
    ]
    assert (code, err) == (0, "")
    assert run("relay", "--once") == (0, "", "")
    assert list(LogEntry.objects.order_by("seq").values_list("seq", flat=True)) == [1, 2, 3]


def test_relay_once_fails_when_a_sink_does(settings):
    settings.AUDIT = {
        "RELAY": "worker",
        "STORAGES": {"default": {"BACKEND": "database"}, "down": {"BACKEND": f"{__name__}.Broken"}},
    }
    make("x")
    code, out, _ = run("relay", "--once")
    assert code == 1
    assert lines(out)[-1]["error"] == "OSError: no route to host"
    assert LogEntry.objects.count() == 1


def test_relay_serves_one_sink_when_told(settings):
    settings.AUDIT = {
        "RELAY": "worker",
        "STORAGES": {name: {"BACKEND": "memory"} for name in ("default", "one", "two")},
    }
    make("x")
    run("relay", "--once", "--sink", "one")
    log = DjangoLog()
    assert (log.cursor("one").seq, log.cursor("two").seq) == (1, 0)


def test_relay_empties_every_outbox_of_the_settings(settings):
    settings.AUDIT = {"RELAY": "worker", "DATABASES": ["default", "other"]}
    Tag.objects.create(name="x")
    Tag.objects.using("other").create(name="y")
    run("relay", "--once")
    assert [entries.count() for entries in (LogEntry.objects, LogEntry.objects.using("other"))] == [1, 1]
    Tag.objects.create(name="z")
    run("relay", "--once", "--database", "other")
    assert OutboxEntry.objects.count() == 1


def test_a_new_sink_starts_where_its_settings_say(settings):
    make("a", "b")
    run("relay", "--once")
    moment = datetime.now(UTC)
    make("c")
    run("relay", "--once")
    settings.AUDIT = {
        "RELAY": "worker",
        "STORAGES": {
            "default": {"BACKEND": "database"},
            "first": {"BACKEND": "memory"},
            "now": {"BACKEND": "memory", "START": "now"},
            "then": {"BACKEND": "memory", "START": moment.isoformat()},
        },
    }
    run("relay", "--once")
    make("d")
    run("relay", "--once")
    from audit_core.query import EventQuery

    names = {
        name: [
            event.event.target.repr for event in reversed(backends.storage(name).search(EventQuery()).events)
        ]
        for name in ("first", "now", "then")
    }
    assert names == {"first": ["a", "b", "c", "d"], "now": ["d"], "then": ["c", "d"]}


def test_without_summaries_nothing_waits_for_them(settings):
    settings.AUDIT = {
        "RELAY": "worker",
        "SUMMARIZER": None,
        "STORAGES": {"default": {"BACKEND": "database"}, "archive": {"BACKEND": "memory"}},
    }
    make("a")
    assert [line["stage"] for line in lines(run("relay", "--once")[1])] == ["log", "archive"]
    assert Summary.objects.count() == 0


# backfill, stats


def test_backfill_drains_and_shows_how_far_it_is(archive):
    make(*"abcde")
    code, out, err = run("backfill", "--batch", "2")
    assert (code, err) == (0, "")
    assert "5/5" in out
    assert DjangoLog().cursor("archive").seq == 5


def test_backfill_says_what_is_left(picky):
    make("good", "bad")
    code, _, err = run("backfill")
    assert code == 1
    assert "picky: 1 events are parked." in err


def test_stats_count_what_waits_and_how_far_each_sink_is(archive):
    make("a", "b")
    run("relay", "--once")
    make("c")
    DjangoLog().pause("archive")
    run("relay", "--once")
    make("d")
    [found] = json.loads(run("stats", "--json")[1])
    assert (found["head"], found["waiting"]) == (3, 1)
    assert found["waiting_seconds"] >= 0
    by_name = {reader["name"]: reader for reader in found["readers"]}
    assert (by_name["archive"]["state"], by_name["archive"]["lag_events"]) == ("paused", 1)
    assert by_name["archive"]["lag_seconds"] > 0
    assert by_name["summaries"]["state"] == "current"
    assert "archive" in run("stats")[1]


@pytest.mark.parametrize("events", [1, 40])
def test_stats_ask_as_much_of_a_short_backlog_as_of_a_long_one(archive, events, django_assert_num_queries):
    make("first")
    run("relay", "--once", "--sink", "archive")
    make(*(f"t{n}" for n in range(events)))
    from audit_core.operate.stats import stats
    from audit_django.installation import DjangoTrail

    trail = DjangoTrail("default")
    with django_assert_num_queries(6):
        assert stats(trail).waiting == events


# parked


def test_parked_events_are_listed_shown_and_retried(picky):
    [_, bad] = make("good", "bad")
    bad.name = "better"
    bad.save()
    run("relay", "--once")
    found = json.loads(run("parked", "list", "--json")[1])
    assert [(one["sink"], one["seq"]) for one in found] == [("picky", 2), ("picky", 3)]
    assert "no bad ones here" in run("parked", "list", "picky")[1]
    assert '"seq": 2' in run("parked", "show", "picky", found[0]["event_id"])[1]
    assert run("retry")[:2] == (1, "picky: 0 delivered, 2 refused again\n")
    Picky.strict = False
    assert run("retry", "picky")[:2] == (0, "picky: 2 delivered, 0 refused again\n")
    assert run("parked", "list")[1] == "Nothing is parked.\n"


def test_a_discarded_event_is_on_the_record(picky):
    make("bad")
    run("relay", "--once")
    parked = ParkedEntry.objects.get()
    code, out, _ = run(
        "parked", "discard", "picky", str(parked.event_id), "--reason", "kept on paper", "--yes"
    )
    assert (code, out) == (0, "1 event(s) discarded for picky, and that recorded.\n")
    assert not ParkedEntry.objects.exists()
    event = AuditEvent.objects.get(action="discard").event
    assert (event.category, event.reason, event.target.repr) == ("system", "kept on paper", "bad")
    assert event.extra["discarded"]["seq"] == 1
    assert event.extra["discarded"]["refused"] == "PermanentError: no bad ones here"


def test_a_discard_that_cannot_be_recorded_discards_nothing(picky, monkeypatch):
    make("bad")
    run("relay", "--once")

    def fail(*args, **kwargs):
        raise RuntimeError

    monkeypatch.setattr("audit_django.log.DjangoLog.discard", fail)
    parked = ParkedEntry.objects.get()
    with pytest.raises(RuntimeError):
        run("parked", "discard", "picky", str(parked.event_id), "--reason", "x", "--yes")
    assert ParkedEntry.objects.exists()
    assert not AuditEvent.objects.filter(action="discard").exists()


# sinks


def test_a_sink_is_paused_and_goes_on(archive):
    run("sinks", "pause", "archive")
    make("a")
    run("relay", "--once")
    assert DjangoLog().cursor("archive").seq == 0
    run("sinks", "resume", "archive")
    run("relay", "--once")
    assert DjangoLog().cursor("archive").seq == 1


@pytest.mark.parametrize(
    ("option", "seq"),
    [(["--to-seq", "2"], 2), (["--to-start"], 0), (["--to-end"], 3), (["--since", "2000-01-01"], 0)],
)
def test_a_sink_takes_again(archive, option, seq):
    make(*"abc")
    run("relay", "--once")
    code, out, _ = run("sinks", "rewind", "archive", *option, "--yes")
    assert (code, DjangoLog().cursor("archive").seq) == (0, seq)
    assert f"It will be given {3 - seq} events again." in out
    run("relay", "--once")
    assert DjangoLog().cursor("archive").seq == 3


def test_leaving_events_out_is_said_and_asked(archive, monkeypatch):
    make(*"abc")
    run("relay", "--once", "--sink", "archive")
    DjangoLog().seek("archive", 1)
    monkeypatch.setattr(sys, "stdin", StringIO())  # nobody answers
    code, out, _ = run("sinks", "rewind", "archive", "--to-end")
    assert "It will never have the 2 events in between." in out
    assert (code, DjangoLog().cursor("archive").seq) == (1, 1)


def test_a_sink_that_is_gone_is_forgotten(archive, settings):
    make("a")
    run("relay", "--once")
    assert run("sinks", "forget", "archive", "--yes")[0] == 2
    settings.AUDIT = {"RELAY": "worker"}
    assert json.loads(run("stats", "--json")[1])[0]["readers"][1]["state"] == "gone"
    assert run("sinks", "forget", "archive", "--yes")[0] == 0
    assert not Cursor.objects.filter(name="archive").exists()


# clean


@pytest.fixture
def elsewhere(settings):
    """Nobody reads the log's own tables."""
    settings.AUDIT = {
        "RELAY": "worker",
        "STORAGES": {"default": {"BACKEND": "memory"}, "picky": {"BACKEND": f"{__name__}.Picky"}},
    }


def test_nothing_is_cleaned_that_people_read(archive):
    make("a")
    run("relay", "--once")
    assert "these tables are where people read them" in run("clean")[1]
    assert AuditEvent.objects.count() == 1


def test_what_every_sink_has_is_cleaned(elsewhere):
    make(*"abc")
    run("relay", "--once")
    assert "3 events would be given up" in run("clean", "--dry-run")[1]
    assert AuditEvent.objects.count() == 3
    assert "3 events were given up" in run("clean")[1]
    assert (AuditEvent.objects.count(), Summary.objects.count(), LogEntry.objects.count()) == (0, 0, 3)
    make("d")
    run("relay", "--once")
    assert DjangoLog().cursor("default").seq == 4


def test_what_is_not_delivered_is_never_cleaned_40(elsewhere, monkeypatch):
    monkeypatch.setattr(Picky, "strict", True)
    make("a", "bad", "c")
    run("relay", "--once")
    assert "Seq 2 is parked" in run("clean")[1]
    assert list(AuditEvent.objects.order_by("number").values_list("target_id", flat=True)) == [
        str(tag.pk) for tag in Tag.objects.order_by("pk")[1:]
    ]
    DjangoLog().seek("default", 1)
    DjangoLog().discard("picky", ParkedEntry.objects.values_list("event_id", flat=True))
    assert "'default' is at seq 1." in run("clean")[1]
    assert AuditEvent.objects.count() == 2


def test_a_sink_that_was_never_served_holds_everything(elsewhere):
    make("a")
    run("relay", "--once", "--sink", "default")
    assert "'picky' was never served" in run("clean")[1]
    assert AuditEvent.objects.count() == 1


def test_cleaning_releases_what_the_dead_hold(archive):
    make("a")
    run("relay", "--once")
    Cursor.objects.filter(name="archive").update(
        owner="dead", expires_at=datetime.now(UTC) - timedelta(hours=1)
    )
    assert "released the expired leases on archive" in run("clean")[1]
    assert Cursor.objects.get(name="archive").owner is None


def test_two_do_not_clean_at_once(elsewhere):
    make("a")
    run("relay", "--once")
    DjangoLog().acquire(TRIMMER, "another", 60)
    code, _, err = run("clean")
    assert code == 2
    assert "Somebody else is cleaning" in err


# doctor, check, setup


def test_doctor_finds_what_is_wrong(settings):
    settings.AUDIT = {
        "RELAY": "worker",
        "STORAGES": {"default": {"BACKEND": "database"}, "down": {"BACKEND": f"{__name__}.Broken"}},
    }
    make("a")
    run("relay", "--once")
    code, out, _ = run("doctor", "--json")
    problems = {one["subject"]: one["words"] for one in json.loads(out) if one["level"] == "problem"}
    assert code == 1
    assert problems["STORAGES['down']"] == "no route to host"
    assert "failed 1 times in a row: OSError: no route to host" in problems["trail default, down"]


def test_doctor_is_content(archive):
    make("a")
    run("relay", "--once")
    code, out, _ = run("doctor")
    assert code == 0
    assert "the audit tables are up to date" in out


def test_doctor_sees_migrations_that_were_not_run(archive):
    with connections["default"].cursor() as cursor:
        cursor.execute("DELETE FROM django_migrations WHERE app = 'audit_django' AND name LIKE '0003%%'")
    try:
        code, out, _ = run("doctor")
    finally:
        with connections["default"].cursor() as cursor:
            cursor.execute(
                "INSERT INTO django_migrations (app, name, applied) VALUES ('audit_django', '0003_data_keys', CURRENT_TIMESTAMP)"
            )
    assert code == 1
    assert "manage.py migrate --database default" in out


def test_check_and_setup(archive):
    assert run("setup")[1].splitlines() == [
        "STORAGES['default']: ready",
        "STORAGES['archive']: ready",
        "SUMMARIZER: ready",
    ]
    code, out, _ = run("check")
    assert code == 0
    assert out.count("reachable, permitted and sane") == 3


# words for mistakes


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["relay", "--once", "--database", "nowhere"], "No outbox of the name 'nowhere'"),
        (["relay", "--once", "--batch", "0"], "--batch"),
        (["relay", "--once", "--sink", "archiv"], "Did you mean 'archive'?"),
        (["sinks", "pause", "log"], "cursor of the log itself"),
        (["sinks", "rewind", "archive", "--yes"], "give one of"),
        (["sinks", "rewind", "archive", "--to-seq", "99", "--yes"], "the log ends at seq 0"),
        (
            ["parked", "discard", "archive", "00000000-0000-7000-8000-000000000000", "--reason", "x"],
            "is not parked",
        ),
        (
            ["parked", "discard", "archive", "00000000-0000-7000-8000-000000000000", "--reason", " "],
            "auditor",
        ),
        (["nonsense"], "No such command"),
    ],
)
def test_a_mistake_is_a_sentence_and_exit_code_2(archive, arguments, words):
    code, _, err = run(*arguments)
    assert code == 2
    assert words in " ".join(err.split())


def test_djangos_own_options_may_stand_anywhere(archive, capsys):
    make("a")
    utility = ManagementUtility(
        ["manage.py", "audit", "--verbosity=0", "stats", "--settings=django_settings", "--json"]
    )
    utility.execute()
    assert json.loads(capsys.readouterr().out)[0]["waiting"] == 1
