"""The database's own account: what was committed in which order, and what no cursor may do.

An event is noted in its own transaction, so the account is right however a writer dies. The triggers see every
change of a cursor, so nothing is missed between two looks.
"""

from __future__ import annotations

from collections.abc import Collection
from uuid import UUID

from django.db import connection, models
from tests.crash.invariants import Breach, Committed, Outcome
from tests.crash.sinks import Sinks

from audit_core.log import SUMMARIES
from audit_core.testing import make_event
from audit_django.log import DjangoLog
from audit_django.models import Cursor, LogEntry, OutboxEntry, ParkedEntry
from audit_django.outbox import DjangoOutbox

TARGETS = [f"crash.Target:{n}" for n in range(12)]


class TargetRow(models.Model):
    """What a transaction locks while it writes events of this target: the business row."""

    name = models.CharField(max_length=100, primary_key=True)
    number = models.BigIntegerField(default=0)

    class Meta:
        app_label = "crash"
        db_table = "crash_target"


class CommittedRow(models.Model):
    """An event, noted in its own transaction."""

    event_id = models.UUIDField(primary_key=True)
    target = models.CharField(max_length=100)
    number = models.BigIntegerField()

    class Meta:
        app_label = "crash"
        db_table = "crash_committed"


class BreachRow(models.Model):
    """What a trigger saw."""

    id = models.BigAutoField(primary_key=True)
    invariant = models.CharField(max_length=100)
    name = models.CharField(max_length=100)
    was = models.BigIntegerField()
    became = models.BigIntegerField()

    class Meta:
        app_label = "crash"
        db_table = "crash_breach"


_RULES = {  # what must not be seen, and what is noted of it
    "CURSOR_NEVER_BACK": ("NEW.seq < OLD.seq", "seq"),
    "EXCLUSIVE_LEASE": (
        "NEW.epoch <> OLD.epoch AND OLD.owner IS NOT NULL AND OLD.expires_at > {now}",
        "epoch",
    ),
}
_INSERT = "INSERT INTO crash_breach (invariant, name, was, became) VALUES ('{rule}', OLD.name, OLD.{was}, NEW.{was})"
_NOW = {  # the same clock as the log's
    "sqlite": "STRFTIME('%Y-%m-%d %H:%M:%f000', 'NOW')",
    "postgresql": "statement_timestamp()",
    "mysql": "CURRENT_TIMESTAMP(6)",
}


def _triggers(vendor: str) -> list[str]:
    rules = [
        (rule, condition.format(now=_NOW[vendor]), _INSERT.format(rule=rule, was=was))
        for rule, (condition, was) in _RULES.items()
    ]
    on = "AFTER UPDATE ON audit_django_cursor FOR EACH ROW"
    if vendor == "sqlite":
        return [
            f"CREATE TRIGGER crash_{rule} {on} WHEN {condition} BEGIN {insert}; END"
            for rule, condition, insert in rules
        ]
    body = " ".join(f"IF {condition} THEN {insert}; END IF;" for _, condition, insert in rules)
    if vendor == "mysql":
        return [f"CREATE TRIGGER crash_watch {on} BEGIN {body} END"]
    return [
        f"CREATE FUNCTION crash_watch() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN {body} RETURN NULL; END $$",
        f"CREATE TRIGGER crash_watch {on} EXECUTE FUNCTION crash_watch()",
    ]


def setup(sinks: Collection[str]) -> None:
    """Create the tables and triggers, the targets, and a cursor for each sink."""
    with connection.schema_editor() as editor:
        for model in (TargetRow, CommittedRow, BreachRow):
            editor.create_model(model)
    TargetRow.objects.bulk_create(TargetRow(name=name) for name in TARGETS)
    with connection.cursor() as cursor:
        for statement in _triggers(connection.vendor):
            cursor.execute(statement)
    for name in (SUMMARIES, *sinks):  # nothing may be trimmed before they have it
        DjangoLog().start(name, 0)


def write_event(target: str) -> UUID:
    """Add an event of ``target`` to the open transaction, which holds the target's row until it ends."""
    row = TargetRow.objects.filter(name=target)
    row.update(number=models.F("number") + 1)
    number = row.values_list("number", flat=True).get()
    event = make_event(target=target, diff={"number": (number - 1, number)})
    CommittedRow.objects.create(event_id=event.id, target=target, number=number)
    DjangoOutbox().append([event])
    return event.id


def left(sinks: Collection[str]) -> dict[str, int]:
    """How much is left to do: in the outbox, parked, and for every reader of the log.

    Asked in the order of an event's way, so that none is missed because it moves on between two questions.
    """
    amounts = {"outbox": OutboxEntry.objects.count()}
    head = LogEntry.objects.count()
    cursors = {cursor.name: cursor.seq for cursor in DjangoLog().cursors()}
    amounts |= {name: head - cursors[name] for name in (SUMMARIES, *sinks)}
    amounts["parked"] = ParkedEntry.objects.count()
    return {name: amount for name, amount in amounts.items() if amount}


def leases() -> str:
    """Who holds which cursor until when, and when it is tried again, in words."""
    rows = Cursor.objects.values_list("name", "seq", "owner", "expires_at", "retry_at")
    return f"at {DjangoLog().now()} " + "; ".join(" ".join(map(str, row)) for row in rows)


def outcome(sinks: Sinks) -> Outcome:
    """What is left in the database and the sinks."""
    cursors = {cursor.name: cursor.seq for cursor in DjangoLog().cursors()}
    return Outcome(
        committed=[
            Committed(*row) for row in CommittedRow.objects.values_list("event_id", "target", "number")
        ],
        log=list(LogEntry.objects.order_by("seq").values_list("seq", "event_id")),
        waiting=OutboxEntry.objects.count(),
        parked=ParkedEntry.objects.count(),
        cursors={name: cursors[name] for name in (SUMMARIES, *sinks)},
        arrivals={name: sink.arrivals() for name, sink in sinks.items()},
        breaches=[
            Breach(*row) for row in BreachRow.objects.values_list("invariant", "name", "was", "became")
        ],
    )
