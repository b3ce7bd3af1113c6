"""The weeks before today: who comes in when, what the days bring, and what happens only once."""

from __future__ import annotations

import random
from collections.abc import Callable
from datetime import UTC, datetime, time, timedelta
from itertools import count

import time_machine
from django.core.management import call_command

from accounts.models import User
from claims.models import Claim
from customers.models import Customer
from history import people
from history.administration import Administration
from history.browser import Browser
from history.office import Office
from policies.models import Policy, Tag

SEED = 1007
# How often each piece of work turns up, of a handler and of a lead.
HANDLER = {
    "new_customer": 8, "change_customer": 13, "look_up_ssn": 3, "new_policy": 10, "change_policy": 26,
    "submit_policy": 11, "approve_without_permission": 2, "cancel_policy": 2, "export": 2, "new_claim": 9,
    "change_claim": 17, "settle_claim": 6,
    "delete_claim": 4, "delete_paid_claim": 2, "upload": 14, "download": 3,
}  # fmt: skip
LEAD = {
    "decide_policy": 22,
    "change_policy": 5,
    "new_claim": 1,
    "change_claim": 3,
    "export": 2,
    "cancel_policy": 1,
    "look_up_ssn": 1,
}
SESSION = timedelta(days=5)  # then people log in again
INTRUDER = ("203.0.113.9", "python-requests/2.32")

Progress = Callable[[int, int], object]


class Story:
    """Some ``days`` of work that end at ``now``, the same each time. ``progress`` is told the days done, of all."""

    def __init__(self, days: int, now: datetime, progress: Progress) -> None:
        self._days, self._now, self._progress = days, now, progress
        numbers = count()
        self._browsers = {
            person.username: Browser(person.address, person.user_agent)
            for person in (people.ADMIN, people.AUDITOR, *people.STAFF)
        }
        self._offices = {tenant: Office(tenant, self._browsers, numbers) for tenant in people.TENANTS}
        self._administration = Administration(self._browsers["admin"])
        self._present: dict[str, datetime] = {}  # who has a session, since when

    def tell(self, database: Callable[[], object]) -> None:
        """Live through the days. ``database`` makes the tables: that is the first thing that happens."""
        first = datetime.combine(self._now.date() - timedelta(days=self._days - 1), time(7), UTC)
        with time_machine.travel(min(first, self._now - timedelta(hours=2)), tick=True) as clock:
            database()
            self._administration.set_up()
            for day in range(self._days):
                self._progress(day, self._days)
                rng = random.Random(f"{SEED}-{day}")
                begin, end = self._hours(first + timedelta(days=day))
                events = self._happenings(day, rng)
                moments = sorted(rng.random() for _ in events)
                for moment, happen in zip(moments, events, strict=True):
                    clock.move_to(max(begin + (end - begin) * moment, datetime.now(UTC)))
                    happen()
        self._progress(self._days, self._days)

    def _hours(self, day: datetime) -> tuple[datetime, datetime]:
        """From eight to half past five; today until a minute ago, whatever the hour is."""
        begin, end = day.replace(hour=8), day.replace(hour=17, minute=30)
        latest = self._now - timedelta(minutes=1)
        return min(begin, latest - timedelta(minutes=90)), min(end, latest)

    def _happenings(self, day: int, rng: random.Random) -> list[Callable[[], object]]:
        is_last = day == self._days - 1
        found: list[Callable[[], object]] = [lambda: call_command("expire_policies", stdout=_Silence())]
        found += [lambda: self._work(rng) for _ in range(32 if day == 0 else rng.randrange(15, 24))]
        if rng.random() < 0.35:
            found.insert(rng.randrange(1, len(found)), lambda: self._mistyped(rng))
        once = {
            self._days // 3: self._new_words,
            self._days // 2: self._intruder,
            self._days * 2 // 3: self._frank_leaves,
        }
        if day in once:
            found.append(once[day])
        if is_last:
            found += [
                self._audit_visit,
                lambda: self._duplicate(rng),
                lambda: self._alice_takes_care_of_one(rng),
            ]
        return found

    def _work(self, rng: random.Random) -> None:
        active = [
            p for p in people.STAFF if User.objects.filter(username=p.username, is_active=True).exists()
        ]
        person = rng.choices(active, [2 if p.role == "lead" else 3 for p in active])[0]
        self._come_in(person, rng)
        assert person.tenant is not None
        kinds = LEAD if person.role == "lead" else HANDLER
        if not Customer.objects.filter(tenant=person.tenant).count() > 3:
            kinds = {"new_customer": 3, "new_policy": 1}
        office = self._offices[person.tenant]
        office.rng = rng
        office.work(person.username, rng.choices([*kinds], [*kinds.values()])[0], datetime.now(UTC).date())

    def _come_in(self, person: people.Person, rng: random.Random) -> None:
        since, now = self._present.get(person.username), datetime.now(UTC)
        if since is not None and now - since < SESSION and rng.random() > 0.03:
            return
        self._browsers[person.username].log_in(person.username, people.PASSWORD)
        self._present[person.username] = now

    # What is out of the ordinary

    def _mistyped(self, rng: random.Random) -> None:
        person = rng.choice(people.STAFF)
        Browser(person.address, person.user_agent).log_in(person.username, "policy-desk-demi", succeeds=False)

    def _intruder(self) -> None:
        for username in ("admin", "root", "alice", "administrator"):
            Browser(*INTRUDER).log_in(username, "123456", succeeds=False)

    def _new_words(self) -> None:
        self._administration.come_in()
        self._administration.add_tag("Storm of the month")
        self._administration.rename_risk_class("H2", "House in a flood or storm zone", "2.100")
        self._administration.delete_tag("Legacy")
        if twice := Customer.objects.filter(policies=None).order_by("pk").last():
            self._administration.delete_customer(twice.pk)

    def _frank_leaves(self) -> None:
        """His account is closed and deleted; his policies have no owner then, and his history stays."""
        self._browsers["frank"].log_out()
        self._present.pop("frank", None)
        self._administration.come_in()
        self._administration.deactivate("frank")
        self._administration.delete_user("frank")
        self._administration.reset_password("erin", people.PASSWORD)
        self._present.pop("erin", None)  # a new password ends her sessions

    def _audit_visit(self) -> None:
        auditor = self._browsers["olivia"]
        auditor.log_in("olivia", people.PASSWORD)
        auditor.open("/audit/")
        auditor.log_out()

    def _duplicate(self, rng: random.Random) -> None:
        """A claim is entered a second time, with its three documents, and deleted when that is seen."""
        bob, office = self._browsers["bob"], self._offices["northwind"]
        self._come_in(_person("bob"), rng)
        office.rng, today = rng, self._now.date()
        known = set(Claim.objects.values_list("pk", flat=True))
        office.new_claim(bob, today)
        for claim in Claim.objects.exclude(pk__in=known):
            for kind in ("photo", "report", "invoice"):
                office.upload_to(bob, claim, kind)
            bob.submit(f"/claims/{claim}/delete/")

    def _alice_takes_care_of_one(self, rng: random.Random) -> None:
        """The change that everybody looks at first: status, owner and tag in one go, in the admin."""
        policy = (
            Policy.objects.filter(tenant="northwind", owner__username="bob")
            .exclude(status="canceled")
            .order_by("pk")
            .first()
        )
        if policy is None:
            return
        browser = self._browsers["alice"]
        self._come_in(_person("alice"), rng)
        keys = [str(pk) for pk in policy.tags.values_list("pk", flat=True)]
        critical, carol = Tag.objects.get(name="Critical"), User.objects.get(username="carol")
        path = f"/admin/policies/policy/{policy.pk}/change/"
        status = "pending" if policy.status == "approved" else "approved"
        browser.submit(path, {"status": status, "owner": str(carol.pk), "tags": [*keys, str(critical.pk)]})
        claim = Claim.objects.filter(tenant="northwind", status="open").order_by("pk").last()
        if claim is not None:
            browser.submit(f"/claims/{claim}/edit/", {"status": "in_review", "handler": str(carol.pk)})


def _person(username: str) -> people.Person:
    return next(person for person in people.STAFF if person.username == username)


class _Silence:
    def write(self, text: str) -> int:
        return len(text)
