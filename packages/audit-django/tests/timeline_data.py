"""Events for the tests of the timeline, written without capture."""

from datetime import UTC, datetime, timedelta

from django.db import transaction

from audit_core.diff import Change
from audit_core.event import Actor, Context, Event, RecordedEvent, Target
from audit_core.ids import uuid7
from audit_django.outbox import DjangoOutbox

ALICE = Actor(id="1", username="alice", email="alice@example.com", repr="Alice")
BOB = Actor(id="2", username="bob", repr="Bob")
LONG_NAME = "Maximiliane-Friederike Freifrau von Hohenstein-Württemberg zu Altenburg"
LONG_LABEL = (
    "👩‍👩‍👧 Family Ångström-O’Brien & Söhne <Beteiligungs> GmbH, formerly The Extraordinarily Long Name"
)
MAXIMILIANE = Actor(id="3", username="max", repr=LONG_NAME)
LAYLA = Actor(id="4", username="layla", repr="ليلى الخطيب")
FIREFOX = "Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:130.0) Gecko/20100101 Firefox/130.0"
REQUEST = Context(
    ip="203.0.113.9",
    user_agent=FIREFOX,
    method="POST",
    path="/policies/7/edit/",
    request_id="req-42",
    source="request",
)


def policy(number="P-1007", id="7"):
    return Target(type="testapp.Policy", id=id, repr=number, kind="policy", kind_plural="policies")


def customer(name="Jane Doe", id="5"):
    return Target(type="testapp.Customer", id=id, repr=name, kind="customer", kind_plural="customers")


def text(field, before=None, after=None, **more):
    return Change(field=field, field_type="CharField", before=before, after=after, **more)


def diff(*changes):
    return {change.field: change for change in changes}


STATUS = text("status", "pending", "approved", display={"before": "Pending", "after": "Approved"}, position=1)
OWNER = Change(
    field="owner",
    field_type="ForeignKey",
    relation="foreign_key",
    before={"pk": 2, "repr": "Bob"},
    after={"pk": 3, "repr": "Carol"},
    position=2,
)
TAGS = Change(
    field="tags",
    relation="many_to_many",
    added=[{"pk": 1, "repr": "Critical"}],
    removed=[{"pk": 4, "repr": "Legacy"}],
    position=9,
)
COVERAGE = Change(
    field="coverage",
    field_type="JSONField",
    before={
        "glass": False,
        "deductible": 500,
        "drivers": ["Ann", "Bo"],
        "limits": {"fire": 100, "water": 5000},
    },
    after={
        "glass": True,
        "deductible": 300,
        "drivers": ["Ann", "Cy"],
        "limits": {"fire": 100, "water": 7500},
    },
    position=5,
)
SSN = Change(
    field="ssn",
    label="social security number",
    before={"sealed": {"mac": "k1:secretmac"}},
    after={"sealed": {"mac": "k1:othermac"}},
    sensitive=True,
)


def event(action="update", *, ago=timedelta(), at=None, **values):
    values.setdefault("actor", ALICE)
    if action in ("create", "update", "delete"):
        values.setdefault("target", policy())
    if action == "update":
        values.setdefault("diff", diff(STATUS))
    return Event(id=uuid7(), occurred_at=at or datetime.now(UTC) - ago, action=action, **values)


def record(*events):
    """Write ``events`` in this order; give back what was written."""
    recorded = [RecordedEvent.of(item) for item in events]
    with transaction.atomic():
        DjangoOutbox().append(recorded)
    return recorded


def long_texts(words=10_000):
    """A text of so many words, and the same with three places changed."""
    vocabulary = (
        "the insured shall give notice of any claim to the company in writing within thirty days after the "
        "loss and provide all documents needed to establish the cause extent and amount of damage"
    ).split()
    before = [vocabulary[(i * 7 + i // 13) % len(vocabulary)] for i in range(words)]
    before = [f"{word}." if i % 17 == 16 else word for i, word in enumerate(before)]
    after = list(before)
    after[40] = "sixty"
    after[words // 2 : words // 2 + 2] = ["without", "any", "delay"]
    after[-3] = "immediately"
    return " ".join(before), " ".join(after)


def showcase():
    """What the page must look right with, newest last."""
    hour, day = timedelta(hours=1), timedelta(days=1)
    before, after = long_texts()
    created = diff(
        text("name", after="Jane Doe", position=1),
        text("phone", after="0171 1", label="phone number", position=2),
        Change(field="birthday", field_type="DateField", after="1980-03-03", position=3),
        Change(field="notes", field_type="TextField", after=before[:2400], position=4),
    )
    letters = diff(
        text("slogan", "Naïve café 👍🏽 for all", "Naïve café 👍🏿 for everyone", position=1),
        Change(field="document", field_type="FileField", before="claims/old.pdf", after="claims/new.pdf"),
    )
    sixty = diff(*(Change(field=f"value_{n:02}", before=n, after=n * 3 + 1, position=n) for n in range(60)))
    renamed = diff(text("name", "محمد عبد الله", "محمد عبد الله بن عبد العزيز"))
    rewritten = diff(Change(field="text", field_type="TextField", before=before, after=after, position=3))
    money = Change(field="premium", field_type="DecimalField", before="1200.00", after="1350.50", position=3)
    until = Change(field="valid_until", field_type="DateField", before=None, after="2026-12-31", position=4)
    failed = Context(ip="203.0.113.9")
    claim = Target(type="testapp.Claim", id="88", repr="C-88", kind="claim")
    yield event("create", ago=9 * day, target=customer(), diff=created)
    yield event("login_failed", ago=2 * day, category="auth", outcome="failure", actor=None, context=failed)
    yield event("login", ago=2 * day, category="auth", context=REQUEST)
    yield event(ago=day, actor=BOB, target=customer(), diff=diff(SSN))
    yield event(ago=day, actor=LAYLA, target=customer("محمد عبد الله بن عبد العزيز", "8"), diff=renamed)
    yield event("delete", ago=5 * hour, actor=BOB, target=claim)
    yield event(
        ago=4 * hour, actor=MAXIMILIANE, target=customer(LONG_LABEL, "9"), reason="letter", diff=letters
    )
    yield event(ago=3 * hour, actor=None, diff=sixty)
    yield event(ago=hour, target=policy("Terms of motor insurance 2026", "12"), diff=rewritten)
    yield event("export", ago=hour / 2, category="export", actor=BOB)
    yield event(ago=hour / 10, context=REQUEST, diff=diff(COVERAGE))
    yield event(ago=hour / 30, context=REQUEST, tenant="north", diff=diff(STATUS, OWNER, TAGS, money, until))
