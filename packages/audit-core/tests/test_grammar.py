"""How the trail speaks: every example of its table, then every rule."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta, timezone
from typing import Any

import pytest

from audit_core.codec import decode, encode, plain
from audit_core.diff import FOREIGN_KEY, MANY_TO_MANY, Change
from audit_core.event import Actor, Context, Event, Target
from audit_core.summarizers import GrammarSummarizer, sentence
from audit_core.testing import make_event
from audit_core.testing.sealing import sealed

ALICE = Actor(id="7", username="alice", repr="Alice")
BOB = Actor(id="9", username="bob", repr="Bob")
CAROL = Actor(id="11", username="carol", repr="Carol")
POLICY = Target(type="policies.Policy", id="7", repr="Policy P-1007", kind="policy", kind_plural="policies")
POLICIES = Target(type="policies.Policy", kind="policy", kind_plural="policies")
JANE = Target(type="crm.Customer", id="3", repr="Jane Doe", kind="customer", kind_plural="customers")
CLAIM = Target(type="claims.Claim", id="88", repr="C-88", kind="claim", kind_plural="claims")


def field(name: str, before: Any, after: Any, type_: str = "CharField", **more: Any) -> Change:
    """A change as the capture makes it: plain values, the field's own label."""
    return Change(field=name, field_type=type_, before=plain(before), after=plain(after), **more)


def choice(name: str, before: str, after: str, **more: Any) -> Change:
    return field(name, before.lower(), after.lower(), display={"before": before, "after": after}, **more)


def reference(name: str, before: str | None, after: str | None, **more: Any) -> Change:
    pks = {"Bob": 9, "Carol": 11, "Jane Doe": 3}
    sides = [None if side is None else {"pk": pks.get(side, 1), "repr": side} for side in (before, after)]
    return Change(
        field=name, field_type="ForeignKey", relation=FOREIGN_KEY, before=sides[0], after=sides[1], **more
    )


def many(name: str, added: Sequence[str] = (), removed: Sequence[str] = (), **more: Any) -> Change:
    sides = [[{"pk": n, "repr": label} for n, label in enumerate(side)] for side in (added, removed)]
    return Change(field=name, relation=MANY_TO_MANY, added=sides[0], removed=sides[1], **more)


def event(*changes: Change, action: str = "update", target: Target | None = POLICY, **values: Any) -> Event:
    """An event after its journey through the outbox, as every summarizer gets it."""
    values.setdefault("actor", ALICE)
    diff = {change.field: change for change in changes}
    return make_event(action, target=target, diff=diff, **values).event


def said(*changes: Change, **values: Any) -> str:
    return sentence(decode(encode(event(*changes, **values))))


STATUS = choice("status", "Pending", "Approved", position=2)
OWNER = reference("owner", "Bob", "Carol", position=4)
CRITICAL = many("tags", ["Critical"], position=12)


# the table


def test_status_owner_and_a_tag() -> None:
    assert said(CRITICAL, OWNER, STATUS) == (
        "Alice changed the status of policy P-1007 from Pending to Approved and the owner from Bob to Carol, "
        "and added the tag Critical."
    )


def test_money() -> None:
    assert said(field("premium", "1200.00", "1350.50", "DecimalField")) == (
        "Alice changed the premium of policy P-1007 from 1,200.00 to 1,350.50."
    )


@pytest.mark.parametrize("label", [None, "valid until", "Valid until date"])
def test_a_date_set(label: str | None) -> None:
    assert said(field("valid_until", None, "2026-12-31", "DateField", label=label)) == (
        "Alice set the valid until date of policy P-1007 to 31 December 2026."
    )


def test_a_phone_number_cleared() -> None:
    change = field("phone", "0171 1", "", label="phone number")
    assert said(change, actor=BOB, target=JANE) == (
        "Bob cleared the phone number of customer Jane Doe (was 0171 1)."
    )


@pytest.mark.parametrize("label", [None, "active", "Is active"])
def test_a_switch(label: str | None) -> None:
    change = field("is_active", True, False, "BooleanField", label=label, role="switch")
    assert said(change, actor=BOB, target=JANE) == "Bob turned off active for customer Jane Doe."


def test_a_sensitive_field() -> None:
    values = [sealed(value) for value in ("123-45-6789", "987-65-4321")]
    change = field("ssn", *values, label="social security number", sensitive=True)
    assert said(change, actor=BOB, target=JANE) == (
        "Bob changed the social security number of customer Jane Doe (hidden)."
    )


def test_a_create_with_nine_fields() -> None:
    changes = [
        field("id", None, 8, "BigAutoField", position=0),
        field("number", None, "P-1008", position=1),
        reference("customer", None, "Jane Doe", position=2),
        reference("owner", None, "Bob", position=3),
        field("status", None, "draft", display={"after": "Draft"}, position=4),
        field("premium", None, "980.00", "DecimalField", position=5),
        field("valid_from", None, "2026-01-01", "DateField", position=6),
        field("is_active", None, True, "BooleanField", position=7),
        field("created_at", None, "2026-03-03T14:05:00Z", "DateTimeField", position=8, role="automatic"),
    ]
    target = replace(POLICY, id="8", repr="P-1008")
    assert said(*changes, action="create", target=target) == (
        "Alice created policy P-1008 for Jane Doe: status Draft, premium 980.00."
    )


def test_a_delete_with_a_cascade() -> None:
    with_it = [{"kind": "document", "kind_plural": "documents", "count": 3}]
    assert said(action="delete", target=CLAIM, extra={"deleted_with": with_it}) == (
        "Alice deleted claim C-88, and 3 documents with it."
    )


def test_twelve_fields_in_one_save() -> None:
    changes = [
        *(field(f"note_{n}", "a", "b", position=n) for n in range(8)),
        field(
            "updated_at", "2026-03-03T14:05:00Z", "2026-03-03T15:05:00Z", "DateTimeField", role="automatic"
        ),
        reference("handler", "Bob", "Carol", position=12),
        field("settled_amount", "0.00", "5400.00", "DecimalField", position=11),
        choice("status", "Open", "Settled", position=10),
    ]
    assert said(*changes, target=replace(CLAIM, id="90", repr="C-90")) == (
        "Alice changed the status of claim C-90 from Open to Settled, the settled amount from 0.00 to "
        "5,400.00, the handler from Bob to Carol, and 9 more fields."
    )


@pytest.mark.parametrize("actor", [None, Actor(type="anonymous")])
def test_a_failed_login(actor: Actor | None) -> None:
    failed = said(
        action="login_failed",
        category="auth",
        outcome="failure",
        actor=actor,
        target=None,
        context=Context(ip="203.0.113.9"),
        extra={"username": "alice"},
    )
    assert failed == "Someone failed to log in as alice from 203.0.113.9."


def test_an_export() -> None:
    exported = said(
        action="export",
        category="export",
        actor=CAROL,
        target=POLICIES,
        extra={"count": 1200, "format": "CSV"},
    )
    assert exported == "Carol exported 1,200 policies as CSV."


def test_an_update_of_many_rows() -> None:
    command = Actor(type="command", id="renew_policies", repr="renew_policies")
    change = choice("status", "Active", "Expired")
    assert said(change, actor=command, target=POLICIES, extra={"count": 830}) == (
        "The command `renew_policies` changed the status of 830 policies from Active to Expired."
    )


def test_a_json_field() -> None:
    before = {"deductible": 500, "glass": False, "limits": {"hail": 100}}
    after = {"deductible": 300, "glass": True, "limits": {"hail": 100}}
    assert said(field("coverage", before, after, "JSONField")) == (
        "Alice changed 2 entries of the coverage of policy P-1007: deductible from 500 to 300, "
        "and glass from no to yes."
    )


# rule 1 and 2: the actor, the verb, the object


@pytest.mark.parametrize(
    ("action", "expected"),
    [
        ("approved", "Alice approved policy P-1007."),
        ("approve", "Alice approved policy P-1007."),
        ("policy.approved", "Alice approved policy P-1007."),
        ("PolicyApproved", "Alice approved policy P-1007."),
        ("submit", "Alice submitted policy P-1007."),
        ("notify", "Alice notified policy P-1007."),
        ("paid", "Alice paid policy P-1007."),
        ("frozen", "Alice froze policy P-1007."),
        ("signed_off", "Alice signed off policy P-1007."),
        ("flabbergasted", "Alice flabbergasted policy P-1007."),
        ("sent_reminder", "Alice recorded “sent reminder” on policy P-1007."),
        ("payment.received", "Alice recorded “payment received” on policy P-1007."),
        ("exceed", "Alice recorded “exceed” on policy P-1007."),
        ("view", "Alice viewed policy P-1007."),
        ("unmask", "Alice revealed hidden values of policy P-1007."),
        ("password_reset", "Alice reset the password of policy P-1007."),
        ("permission_denied", "Alice was denied access to policy P-1007."),
        ("updated", "Alice changed policy P-1007."),
        ("", "Alice recorded “an event” on policy P-1007."),
    ],
)
def test_actions(action: str, expected: str) -> None:
    assert said(action=action) == expected


def test_an_action_on_nothing() -> None:
    assert said(action="nightly_import_finished", category="system", actor=None, target=None) == (
        "The system recorded “nightly import finished”."
    )


def test_an_action_with_changes() -> None:
    assert said(STATUS, action="approved") == (
        "Alice approved policy P-1007, and changed the status from Pending to Approved."
    )


def test_a_changed_field_is_changed_and_not_approved() -> None:
    assert "changed" in said(STATUS)
    assert not said(STATUS).startswith("Alice approved")


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        (Target(type="policies.Policy", id="7", repr="P-1007", kind="Policy"), "policy P-1007"),
        (Target(type="policies.Policy", id="7", repr="POLICY: P-1007", kind="policy"), "policy P-1007"),
        (Target(type="policies.Policy", id="7", repr="Jane's policy", kind="policy"), "Jane's policy"),
        (
            Target(type="policies.Policy", id="7", repr="Policyholder 4", kind="policy"),
            "policy Policyholder 4",
        ),
        (Target(type="policies.Policy", id="7", repr="Policy", kind="policy"), "policy 7"),
        (Target(type="policies.RiskClass", id="3", repr="High"), "risk class High"),
        (Target(type="policies.RiskClass", id="3", repr="RiskClass object (3)"), "risk class 3"),
        (Target(type="policies.RiskClass", id="3"), "risk class 3"),
        (Target(type="x.VATRate", id="3", repr="7 %", kind="VAT Rate"), "VAT rate 7 %"),
        (Target(type="crm.Customer", id="3", repr="Acme Inc.", kind="customer"), "customer Acme Inc"),
        (Target(type="policies.RiskClass"), "risk classes"),
        (Target(type="policies.Policy"), "policies"),
    ],
)
def test_objects(target: Target, expected: str) -> None:
    assert said(action="view", target=target) == f"Alice viewed {expected}."


def test_a_sealed_label_is_hidden_and_the_object_named_by_its_key() -> None:
    target: Any = {"type": "crm.Customer", "id": "3", "repr": sealed("Jane Doe"), "kind": "customer"}
    data = event(action="view").to_dict() | {"target": target}
    assert sentence(Event.from_dict(data)) == "Alice viewed customer 3."


def test_names_of_fields_are_lowered_but_not_abbreviations() -> None:
    assert said(field("vat", "DE1", "DE2", label="VAT Number")) == (
        "Alice changed the VAT number of policy P-1007 from DE1 to DE2."
    )


# rule 3: values


@pytest.mark.parametrize(
    ("type_", "before", "after", "expected"),
    [
        ("BooleanField", False, True, "from no to yes"),
        ("IntegerField", 0, 12500, "from 0 to 12,500"),
        ("BigIntegerField", 1, 2**60, "from 1 to 1,152,921,504,606,846,976"),
        ("FloatField", 0.5, 1234.5, "from 0.5 to 1,234.5"),
        ("DecimalField", "-1200.00", "0.10", "from -1,200.00 to 0.10"),
        ("Numeric", "1e+99", "1000", "from 1e+99 to 1,000"),
        ("DateField", "2026-03-03", "1999-12-31", "from 3 March 2026 to 31 December 1999"),
        (
            "DateTimeField",
            "2026-03-03T14:05:00Z",
            "2026-03-03T15:06:07.000008Z",
            "from 3 March 2026, 14:05 UTC to 3 March 2026, 15:06 UTC",
        ),
        (
            "DateTimeField",
            "2026-03-03T14:05:00Z",
            "2026-03-03T14:05:07Z",
            "from 3 March 2026, 14:05:00 UTC to 3 March 2026, 14:05:07 UTC",
        ),
        ("DateTimeField", "2026-03-03T14:05:00", "soon", "from 3 March 2026, 14:05 to soon"),
        ("TimeField", "08:00:00", "14:05:30", "from 08:00 to 14:05:30"),
        ("TimeField", "08:00:00+00:00", "24 o'clock", "from 08:00 UTC to “24 o'clock”"),
        ("DurationField", "P0DT02H15M00S", "P0DT00H00M00S", "from 2 h 15 min to 0 min"),
        ("DurationField", "-P0DT00H15M00S", "P12DT00H00M30.500000S", "from -15 min to 12 days 30.5 s"),
        ("FileField", "scans/2026/a.pdf", "scans/2026/b b.pdf", "from a.pdf to “b b.pdf”"),
        ("FileField", "2025/a.pdf", "2026/a.pdf", "from 2025/a.pdf to 2026/a.pdf"),
        ("CharField", "blue", "dark blue", "from blue to “dark blue”"),
        ("CharField", "blue (old)", "blue, say.", "from “blue (old)” to “blue, say.”"),
        ("CharField", "a", "  ", "from a to blank"),
        ("CharField", "O'Brien", "“Q”", "from O'Brien to “Q”"),
        ("CharField", "one\n\ttwo\u2028three", "\u202eevil", "from “one two three” to evil"),
        ("ArrayField", ["a"], ["a", "b", "c"], "from a to a, b and c"),
        ("JSONField", [1, 2, 3, 4], [1], "from 4 entries to 1"),
        ("UUIDField", "0190", "0191", "from 0190 to 0191"),
    ],
)
def test_values(type_: str, before: Any, after: Any, expected: str) -> None:
    assert (
        said(field("thing", before, after, type_)) == f"Alice changed the thing of policy P-1007 {expected}."
    )


def test_a_year_has_no_thousands() -> None:
    assert said(field("model_year", 2025, 2026, "IntegerField")) == (
        "Alice changed the model year of policy P-1007 from 2025 to 2026."
    )


def test_times_are_told_in_the_zone_asked_for() -> None:
    change = field("paid_on", None, "2026-03-03T23:30:00Z", "DateTimeField")
    zone = timezone(timedelta(hours=5, minutes=30))
    assert sentence(event(change), time_zone=zone) == (
        "Alice set the paid on time of policy P-1007 to 4 March 2026, 05:00 UTC+05:30."
    )


def test_the_summarizer_takes_a_zone_by_name() -> None:
    change = field("paid_on", None, "2026-07-03T23:30:00Z", "DateTimeField")
    [words] = GrammarSummarizer(time_zone="Europe/Zurich").summarize([event(change)], "en")
    assert words == "Alice set the paid on time of policy P-1007 to 4 July 2026, 01:30 CEST."


def test_a_moment_outside_the_calendar_of_the_zone_is_no_error() -> None:
    change = field("ends_at", None, "9999-12-31T23:59:59Z", "DateTimeField")
    zone = timezone(timedelta(hours=2))
    assert sentence(event(change), time_zone=zone).endswith(" to 9999-12-31T23:59:59Z.")


def test_objects_with_one_label_are_told_apart_by_their_key() -> None:
    change = OWNER._replace(
        before={"pk": 7, "repr": "Jane Doe"}, after={"pk": 9, "repr": "Jane Doe"}, role="owner"
    )
    assert said(change) == "Alice moved policy P-1007 from Jane Doe (7) to Jane Doe (9)."


def test_choices_with_one_display_text_are_told_apart_by_their_value() -> None:
    change = field("status", "a", "b", display={"before": "Active", "after": "Active"})
    assert said(change) == "Alice changed the status of policy P-1007 from Active (a) to Active (b)."


def test_text_that_differs_in_white_space_only() -> None:
    assert said(field("title", "a  b", "a b")) == "Alice changed the spacing in the title of policy P-1007."


def test_an_object_without_a_label() -> None:
    change = OWNER._replace(before={"pk": 7, "repr": ""}, after={"pk": 9, "repr": "Customer object (9)"})
    assert said(change) == "Alice changed the owner of policy P-1007 from 7 to customer 9."


def test_a_zero_or_a_no_is_a_value() -> None:
    assert said(field("rebate", None, 0, "IntegerField")) == "Alice set the rebate of policy P-1007 to 0."
    assert said(field("paid", None, False, "BooleanField")) == "Alice set the paid of policy P-1007 to no."


# rule 4: one thing, one clause


def test_an_owner_moves_where_the_registration_says_so() -> None:
    moved = OWNER._replace(role="owner")
    assert said(moved) == "Alice moved policy P-1007 from Bob to Carol."
    assert said(STATUS, moved) == (
        "Alice changed the status of policy P-1007 from Pending to Approved, and moved it from Bob to Carol."
    )
    assert said(moved, target=POLICIES, extra={"count": 3}) == "Alice moved 3 policies from Bob to Carol."
    assert said(OWNER) == "Alice changed the owner of policy P-1007 from Bob to Carol."
    assert said(moved._replace(before=None)) == "Alice set the owner of policy P-1007 to Carol."


def test_many_to_many() -> None:
    assert said(CRITICAL) == "Alice added the tag Critical to policy P-1007."
    assert said(many("tags", removed=["Legacy", "Old"])) == (
        "Alice removed the tags Legacy and Old from policy P-1007."
    )
    assert said(many("tags", ["Critical"], ["Legacy", "Old"])) == (
        "Alice added the tag Critical to policy P-1007, and removed the tags Legacy and Old."
    )


@pytest.mark.parametrize(
    ("label", "n", "expected"),
    [
        ("risk classes", 1, "the risk class T0"),
        ("categories", 1, "the category T0"),
        ("statuses", 1, "the status T0"),
        ("purchases", 1, "the purchase T0"),
        ("people", 1, "the person T0"),
        ("category", 2, "the categories T0 and T1"),
        ("staff", 1, "the staff T0"),
    ],
)
def test_one_or_many(label: str, n: int, expected: str) -> None:
    assert (
        said(many("m", [f"T{i}" for i in range(n)], label=label))
        == f"Alice added {expected} to policy P-1007."
    )


def test_a_long_list_names_three_and_counts_the_rest() -> None:
    assert said(many("tags", list("ABCDEFG"))) == "Alice added the tags A, B, C and 4 more to policy P-1007."


def test_two_switches() -> None:
    changes = [field(name, False, True, "BooleanField", role="switch") for name in ("glass", "hail")]
    assert said(*changes) == "Alice turned on glass and hail for policy P-1007."


# rule 5: several fields


def test_the_most_telling_comes_first() -> None:
    changes = [
        field("id", 1, 2, "BigAutoField", position=0),
        field("color", "red", "blue", position=1),
        field("valid_until", "2026-01-01", "2027-01-01", "DateField", position=4),
        field("premium", "1.00", "2.00", "DecimalField", position=3),
        OWNER._replace(position=2),
        STATUS._replace(position=9),
    ]
    assert said(*changes) == (
        "Alice changed the status of policy P-1007 from Pending to Approved, the owner from Bob to Carol, "
        "the premium from 1.00 to 2.00, and 3 more fields."
    )
    assert said(*changes[:3]) == (
        "Alice changed the valid until date of policy P-1007 from 1 January 2026 to 1 January 2027 "
        "and the color from red to blue."
    )


def test_what_the_model_sets_by_itself_is_said_only_when_there_is_nothing_else() -> None:
    updated = field(
        "updated",
        "2026-03-03T14:05:00Z",
        "2026-03-03T15:05:00Z",
        "DateTimeField",
        role="automatic",
        position=0,
    )
    assert said(updated, STATUS) == "Alice changed the status of policy P-1007 from Pending to Approved."
    assert said(updated) == (
        "Alice changed the updated of policy P-1007 from 3 March 2026, 14:05 UTC to 3 March 2026, 15:05 UTC."
    )


def test_three_clauses_of_different_verbs_and_more_fields() -> None:
    changes = [STATUS, CRITICAL, field("phone", "0171 1", "", position=20), field("color", "red", "blue")]
    assert said(*changes[:3]) == (
        "Alice changed the status of policy P-1007 from Pending to Approved, added the tag Critical, "
        "and cleared the phone (was 0171 1)."
    )
    assert said(*changes) == (
        "Alice changed the status of policy P-1007 from Pending to Approved, added the tag Critical, "
        "cleared the phone (was 0171 1), and changed 1 more field."
    )


# rule 6: long text


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        ("x" * 1240, "y " * 655, "rewrote the description of policy P-1007 (1,240 to 1,310 characters)"),
        ("x" * 80, "y" * 80, "rewrote the description of policy P-1007 (still 80 characters)"),
        ("", "y" * 80, "wrote the description of policy P-1007 (80 characters)"),
        ("y" * 80, "", "cleared the description of policy P-1007 (was 80 characters)"),
        ("x" * 70_000, "short", "rewrote the description of policy P-1007 (70,000 to 5 characters)"),
        ("old car", "new car", "changed the description of policy P-1007 from “old car” to “new car”"),
    ],
)
def test_long_text_is_not_quoted(before: str, after: str, expected: str) -> None:
    assert said(field("description", before, after, "TextField")) == f"Alice {expected}."


def test_a_long_text_that_became_a_number_is_not_cleared() -> None:
    change = field("answer", "x" * 1240, 5, "JSONField")
    assert said(change) == "Alice changed the answer of policy P-1007 from 1,240 characters to 5."


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        (b"abc", b"ab", "replaced the photo of policy P-1007 (3 to 2 bytes)"),
        (None, b"x" * 70_000, "set the photo of policy P-1007 (70,000 bytes)"),
        (b"a", None, "cleared the photo of policy P-1007 (was 1 byte)"),
    ],
)
def test_bytes_are_measured(before: Any, after: Any, expected: str) -> None:
    assert said(field("photo", before, after, "BinaryField")) == f"Alice {expected}."


# rule 7: masked


@pytest.mark.parametrize(
    ("before", "after", "verb"), [("", "1", "set"), ("1", None, "cleared"), ("1", "2", "changed")]
)
def test_masked_is_said_and_never_shown(before: Any, after: Any, verb: str) -> None:
    change = field("ssn", sealed(before), sealed(after), sensitive=True, display={"after": "123-45-6789"})
    assert said(change) == f"Alice {verb} the ssn of policy P-1007 (hidden)."


def test_masked_relations_and_entries() -> None:
    assert (
        said(many("tags", ["Secret"], sensitive=True)) == "Alice changed the tags of policy P-1007 (hidden)."
    )
    hidden = {"pk": 7, "repr": sealed("Jane Doe")}
    assert said(OWNER._replace(before=hidden)) == (
        "Alice changed the owner of policy P-1007 from (hidden) to Carol."
    )
    before, after = ({"pin": sealed(pin)} for pin in ("1", "2"))
    assert said(field("card", before, after, "JSONField")) == (
        "Alice changed 1 entry of the card of policy P-1007: pin (hidden)."
    )


def test_nothing_hidden_is_said_of_a_new_object() -> None:
    changes = [field("ssn", None, sealed("123"), sensitive=True), field("name", None, "Doe")]
    assert said(*changes, action="create", target=JANE) == "Alice created customer Jane Doe."


# rule 8: who


@pytest.mark.parametrize(
    ("actor", "expected"),
    [
        (None, "The system"),
        (Actor(type="system", repr="system"), "The system"),
        (Actor(type="command", id="import_policies"), "The command `import_policies`"),
        (Actor(type="task", repr="renew_policies"), "The task `renew_policies`"),
        (Actor(type="service", repr="Billing"), "The service Billing"),
        (Actor(type="anonymous"), "An anonymous user from 10.0.0.7"),
        (Actor(type="integration"), "An integration"),
        (Actor(type="kiosk", repr="Kiosk 4"), "Kiosk 4"),
        (Actor(username="alice"), "alice"),
        (Actor(id="7"), "User 7"),
        (Actor(), "A user"),
    ],
)
def test_actors(actor: Actor | None, expected: str) -> None:
    words = said(action="view", actor=actor, context=Context(ip="10.0.0.7"))
    assert words == f"{expected} viewed policy P-1007."


def test_on_behalf_of() -> None:
    assert sentence(replace(event(action="view"), on_behalf_of=BOB)) == (
        "Alice, on behalf of Bob, viewed policy P-1007."
    )
    command = Actor(type="command", id="renew")
    assert sentence(replace(event(action="view"), on_behalf_of=command)) == (
        "Alice, on behalf of the command `renew`, viewed policy P-1007."
    )


def test_a_sealed_actor() -> None:
    data = event(action="view").to_dict() | {"actor": {"id": "7", "repr": sealed("Alice")}}
    assert sentence(Event.from_dict(data)) == "A user (hidden) viewed policy P-1007."


# rule 9: failures


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (
            {"action": "delete", "target": CLAIM, "extra": {"error": "protected by 3 documents"}},
            "Alice tried to delete claim C-88 and was refused: protected by 3 documents.",
        ),
        ({"action": "view"}, "Alice tried to view policy P-1007 and was refused."),
        (
            {"action": "permission_denied", "category": "security", "extra": {"error": "no role"}},
            "Alice was denied access to policy P-1007: no role.",
        ),
        ({"action": "unmask"}, "Alice tried to reveal hidden values of policy P-1007 and was refused."),
        ({"action": "create"}, "Alice tried to create policy P-1007 and was refused."),
        (
            {"action": "approved", "extra": {"error": "Too high."}},
            "Alice tried to approve policy P-1007 and was refused: Too high.",
        ),
        ({"action": "flabbergasted"}, "Alice tried “flabbergasted” on policy P-1007 and was refused."),
        (
            {"action": "export", "target": POLICIES, "extra": {"count": 5}},
            "Alice tried to export 5 policies and was refused.",
        ),
        ({"action": "login", "target": None}, "Alice failed to log in."),
    ],
)
def test_failures(values: dict[str, Any], expected: str) -> None:
    assert said(**values, outcome="failure") == expected


def test_a_refused_change_of_two_fields() -> None:
    assert said(STATUS, OWNER, outcome="failure", extra={"error": "locked"}) == (
        "Alice tried to change the status of policy P-1007 from Pending to Approved and the owner from Bob "
        "to Carol, and was refused: locked."
    )


# rule 10: the reason


@pytest.mark.parametrize("reason", ["customer's letter of 3 March", "customer's letter of 3 March. "])
def test_the_reason_ends_the_sentence(reason: str) -> None:
    assert said(STATUS, reason=reason) == (
        "Alice changed the status of policy P-1007 from Pending to Approved "
        "— reason: customer's letter of 3 March."
    )


def test_a_long_reason_is_cut_at_a_word_and_counted() -> None:
    words = said(action="view", reason="because " * 60)
    assert len(words) <= 240
    assert words == (f"Alice viewed policy P-1007 — reason: {' '.join(['because'] * 23)}… (37 more words).")


# rule 11: length, and no machine's words


def test_what_does_not_fit_is_counted() -> None:
    changes = [reference(f"f{n}", "x" * 50, "y" * 50, position=n) for n in range(5)]
    assert said(*changes) == (
        f"Alice changed the f0 of policy P-1007 from {'x' * 50} to {'y' * 50}, and 4 more fields."
    )


def test_a_label_that_does_not_fit_is_cut_at_a_word() -> None:
    words = said(action="view", target=replace(JANE, repr="Anna " * 40))
    assert words == f"Alice viewed customer {' '.join(['Anna'] * 8)}… (32 more words)."


def test_a_cut_keeps_a_joined_emoji_whole() -> None:
    family = "👨\u200d👩\u200d👧"
    words = said(action="view", target=replace(JANE, repr=family * 30))
    cut = words.partition("…")[0].removeprefix("Alice viewed customer ")
    assert cut == family * (len(cut) // len(family))


def test_json_in_words() -> None:
    before = {
        "limits": {"glass": 100, "hail_max": 50},
        "drivers": ["A"],
        "note": "x" * 50,
        "old": {"a": {"b": 1}},
    }
    after = {"limits": {"glass": 200}, "drivers": ["A", "B"], "note": "y" * 50, "new": ""}
    assert said(field("cover", before, after, "JSONField")) == (
        "Alice changed 6 entries of the cover of policy P-1007: drivers from A to A and B, "
        "glass in limits from 100 to 200, hail max in limits removed (was 50), and 3 more."
    )
    assert said(field("cover", None, {"a": 1, "b": "x y"}, "JSONField")) == (
        "Alice set the cover of policy P-1007 to a 1 and b “x y”."
    )
    assert said(field("cover", {"a": 1, "n": 2**60}, {}, "JSONField")) == (
        "Alice cleared the cover of policy P-1007 (was a 1 and n 1,152,921,504,606,846,976)."
    )
    assert said(STATUS, field("cover", {"a": 1}, {"a": None}, "JSONField")) == (
        "Alice changed the status of policy P-1007 from Pending to Approved and 1 entry of the cover "
        "(a cleared (was 1))."
    )


# creates, deletes, logins, and the trail itself


def test_a_create_names_a_numbered_parent_with_its_kind() -> None:
    changes = [
        reference("kind", None, "Letter", position=1),
        reference("claim", None, "C-88", position=2),
        field("pages", None, 3, "IntegerField", position=3),
        field("scan", None, "scans/letter.pdf", "FileField", position=4),
    ]
    target = Target(type="claims.Document", id="1", repr="letter.pdf", kind="document")
    assert said(*changes, action="create", target=target) == (
        "Alice created document letter.pdf for claim C-88: kind Letter, pages 3."
    )


def test_creates_of_many() -> None:
    assert said(action="create", target=POLICIES, extra={"count": 1}) == "Alice created 1 policy."


def test_a_wide_cascade() -> None:
    groups = [
        {"kind": kind, "count": n} for n, kind in enumerate(["note", "policy", "box", "day", "key"], start=1)
    ]
    assert said(action="delete", target=CLAIM, extra={"deleted_with": groups}) == (
        "Alice deleted claim C-88, and 1 note, 2 policies, 3 boxes and 9 more records with it."
    )
    assert said(action="delete", target=POLICIES, extra={"count": 2, "deleted_with": groups[:1]}) == (
        "Alice deleted 2 policies, and 1 note with them."
    )


def test_logins() -> None:
    values: dict[str, Any] = {"category": "auth", "target": None, "context": Context(ip="10.0.0.7")}
    assert said(action="login", **values, extra={"username": "alice"}) == "Alice logged in from 10.0.0.7."
    assert said(action="logout", **values) == "Alice logged out."
    assert said(action="login_failed", **values, actor=None, extra={"username": "x\x00 " * 40}).startswith(
        "Someone failed to log in as “x x x"
    )


def test_capture_that_was_switched_off() -> None:
    words = said(
        action="capture_disabled",
        category="system",
        target=None,
        reason="loading fixtures",
        extra={"seconds": 12.5, "skipped": 1040},
    )
    assert words == (
        "Alice switched off the audit trail for 12.5 s, and 1,040 changes were not recorded "
        "— reason: loading fixtures."
    )


def test_events_that_could_not_be_written() -> None:
    lost = {"category": "system", "target": None, "extra": {"lost": {"policies.Policy": 3}, "count": 3}}
    assert said(action="events_lost", **lost) == "The audit trail lost 3 events that it could not write."


def test_a_name_that_is_the_label_is_not_said_twice():
    name = Change(field="name", field_type="CharField", after="Jane Doe", position=1)
    jane = Target(type="customers.Customer", id="1", repr="Jane Doe", kind="customer")
    recorded = make_event(action="create", actor=Actor(repr="Alice"), target=jane, diff={"name": name})
    assert sentence(recorded.event) == "Alice created customer Jane Doe."
