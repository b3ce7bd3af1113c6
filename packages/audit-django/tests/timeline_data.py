"""Events for the tests of the timeline, written without capture."""

from datetime import UTC, datetime, timedelta

from django.db import transaction

from audit_core.diff import Change
from audit_core.event import Actor, Context, Event, RecordedEvent, Target
from audit_core.ids import uuid7
from audit_django.outbox import DjangoOutbox

ALICE = Actor(id="1", username="alice", email="alice@example.com", repr="Alice")
BOB = Actor(id="2", username="bob", repr="Bob")
NOBODY_SHORT = Actor(
    id="3", username="max", repr="Maximiliane-Friederike Freifrau von Hohenstein-Württemberg zu Altenburg"
)
ARABIC = Actor(id="4", username="layla", repr="ليلى الخطيب")
FIREFOX = "Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:130.0) Gecko/20100101 Firefox/130.0"


def policy(number="P-1007", id="7"):
    return Target(type="testapp.Policy", id=id, repr=number, kind="policy", kind_plural="policies")


def customer(name="Jane Doe", id="5"):
    return Target(type="testapp.Customer", id=id, repr=name, kind="customer", kind_plural="customers")


def diff(*changes):
    return {change.field: change for change in changes}


STATUS = Change(
    field="status",
    field_type="CharField",
    before="pending",
    after="approved",
    display={"before": "Pending", "after": "Approved"},
    position=1,
)
OWNER = Change(
    field="owner",
    field_type="ForeignKey",
    relation="foreign_key",
    before={"pk": 2, "repr": "Bob"},
    after={"pk": 3, "repr": "Carol"},
    position=2,
)


def event(action="update", *, ago=timedelta(), at=None, **values):
    values.setdefault("actor", ALICE)
    if action in ("create", "update", "delete"):
        values.setdefault("target", policy())
    if action == "update":
        values.setdefault("diff", diff(STATUS))
    moment = at or datetime.now(UTC) - ago
    return Event(id=uuid7(), occurred_at=moment, action=action, **values)


def record(*events):
    """Write ``events`` in this order; give back what was written."""
    recorded = [RecordedEvent.of(item) for item in events]
    with transaction.atomic():
        DjangoOutbox().append(recorded)
    return recorded


def long_texts(words=10_000):
    """A text of so many words, and the same with three places changed."""
    vocabulary = [
        "the",
        "insured",
        "shall",
        "give",
        "notice",
        "of",
        "every",
        "claim",
        "to",
        "the",
        "company",
        "in",
        "writing",
        "within",
        "thirty",
        "days",
        "after",
        "the",
        "loss",
        "and",
        "provide",
        "all",
        "documents",
        "that",
        "are",
        "needed",
        "to",
        "establish",
        "the",
        "cause",
        "extent",
        "and",
        "amount",
        "of",
        "damage",
        "unless",
        "agreed",
        "otherwise",
    ]
    before = [
        vocabulary[(i * 7 + i // 13) % len(vocabulary)] + ("." if i % 17 == 16 else "") for i in range(words)
    ]
    after = list(before)
    after[40] = "sixty"
    after[words // 2 : words // 2 + 2] = ["without", "any", "delay"]
    after[-3] = "insured"
    return " ".join(before), " ".join(after)


def showcase():
    """What the page must look right with, newest last."""
    context = Context(
        ip="203.0.113.9",
        user_agent=FIREFOX,
        method="POST",
        path="/policies/7/edit/",
        request_id="req-42",
        source="request",
    )
    before, after = long_texts()
    tags = Change(
        field="tags",
        relation="many_to_many",
        added=[{"pk": 1, "repr": "Critical"}],
        removed=[{"pk": 4, "repr": "Legacy"}],
        position=9,
    )
    coverage = Change(
        field="coverage",
        field_type="JSONField",
        before={
            "glass": False,
            "deductible": 500,
            "drivers": ["Ann", "Bo"],
            "limits": {"fire": 100000, "water": 5000},
        },
        after={
            "glass": True,
            "deductible": 300,
            "drivers": ["Ann", "Bo", "Cleo"],
            "limits": {"fire": 100000, "water": 7500},
        },
        position=5,
    )
    fields60 = diff(*(
        Change(field=f"value_{n:02}", field_type="IntegerField", before=n, after=n * 3 + 1, position=n) for n in range(60)
    ))  # fmt: skip
    day = timedelta(days=1)
    yield event("create", ago=9 * day, target=customer(), diff=diff(
        Change(field="name", field_type="CharField", after="Jane Doe", position=1),
        Change(field="phone", field_type="CharField", label="phone number", after="0171 1", position=2),
        Change(field="birthday", field_type="DateField", after="1980-03-03", position=3),
        Change(field="notes", field_type="TextField", after=before[:2400], position=4),
    ))  # fmt: skip
    yield event(
        "login_failed",
        ago=2 * day,
        category="auth",
        outcome="failure",
        actor=None,
        context=Context(ip="203.0.113.9"),
        extra={"username": "alice"},
    )
    yield event("login", ago=2 * day, category="auth", context=context)
    yield event(ago=day + timedelta(minutes=9), actor=BOB, target=customer(), diff=diff(
        Change(field="ssn", label="social security number", before={"sealed": {}}, after={"sealed": {}}, sensitive=True)))  # fmt: skip
    yield event(ago=day, actor=ARABIC, target=customer("محمد عبد الله بن عبد العزيز", "8"), diff=diff(
        Change(field="name", field_type="CharField", before="محمد عبد الله", after="محمد عبد الله بن عبد العزيز", position=1)))  # fmt: skip
    yield event(
        "delete",
        ago=timedelta(hours=5),
        actor=BOB,
        target=Target(type="testapp.Claim", id="88", repr="C-88", kind="claim"),
    )
    yield event(ago=timedelta(hours=4), actor=NOBODY_SHORT, target=customer("👩‍👩‍👧 Family Ångström-O’Brien & Söhne <Beteiligungs> GmbH, formerly The Extraordinarily Long Company Name of Winterthur 🏔️", "9"), reason="customer's letter of 3 March", diff=diff(
        Change(field="slogan", field_type="CharField", before="Naïve café 👍🏽 for all", after="Naïve café 👍🏿 for everyone", position=1),
        Change(field="document", field_type="FileField", before="claims/2026/old letter.pdf", after="claims/2026/new letter.pdf", position=2)))  # fmt: skip
    yield event(ago=timedelta(hours=3), actor=None, diff=fields60)
    yield event(ago=timedelta(minutes=50), target=policy("Terms of motor insurance 2026", "12"), diff=diff(
        Change(field="text", field_type="TextField", before=before, after=after, position=3)))  # fmt: skip
    yield event(
        "export",
        ago=timedelta(minutes=31),
        category="export",
        actor=BOB,
        extra={"rows": 1200, "format": "CSV"},
    )
    yield event(ago=timedelta(minutes=6), context=context, diff=diff(coverage))
    yield event(ago=timedelta(minutes=2), context=context, tenant="north", diff=diff(STATUS, OWNER, tags,
        Change(field="premium", field_type="DecimalField", before="1200.00", after="1350.50", position=3),
        Change(field="valid_until", field_type="DateField", before=None, after="2026-12-31", position=4)))  # fmt: skip
