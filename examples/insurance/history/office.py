"""What people at an insurer do all day: each method is one piece of work, done in the application's pages."""

from __future__ import annotations

import random
from collections.abc import Iterator
from datetime import date, timedelta
from decimal import Decimal
from typing import Any

from django.core.files.uploadedfile import SimpleUploadedFile
from django.db.models import Model, QuerySet

from accounts.models import User
from claims.models import Claim, Document
from customers.models import Customer
from history import people
from history.browser import Browser
from policies.models import Policy, RiskClass, Tag

APPROVALS = (
    "risk checked, premium as calculated",
    "four eyes: second signature given",
    "expert report of the surveyor",
)
CANCELLATIONS = ("customer’s letter of last week", "the car was sold", "premium not paid after two reminders")
PAYMENTS = ("as agreed with the customer on the phone", "invoice of the workshop", "expert’s valuation")
PDF = b"%PDF-1.4\n1 0 obj<</Type/Catalog>>endobj\ntrailer<</Root 1 0 R>>\n"


class Office:
    """The people of one insurer, each at their own browser, and the work they find there."""

    def __init__(self, tenant: str, browsers: dict[str, Browser], customers: Iterator[int]) -> None:
        self.tenant = tenant
        self._browsers = browsers
        self._customers = customers  # numbers that no customer has yet
        self.rng = random.Random()

    def work(self, username: str, kind: str, today: date) -> None:
        """Do one piece of work, if there is any of that kind."""
        getattr(self, kind)(self._browsers[username], today)

    def _one(self, rows: QuerySet[Any], **filters: Any) -> Any:
        keys = list(rows.filter(tenant=self.tenant, **filters).order_by("pk").values_list("pk", flat=True))
        return rows.get(pk=self.rng.choice(keys)) if keys else None

    def _colleague(self) -> str:
        return str(self._one(User.objects.filter(is_active=True)).pk)

    def _some(self, model: type[Model], most: int) -> list[str]:
        keys = list(model._default_manager.order_by("pk").values_list("pk", flat=True))
        return [str(key) for key in self.rng.sample(keys, self.rng.randint(0, min(most, len(keys))))]

    # Customers

    def new_customer(self, browser: Browser, today: date) -> None:
        """Enter a customer."""
        number, rng = next(self._customers), self.rng
        browser.submit(
            "/customers/new/",
            {
                "name": people.name(number),
                "email": people.email(number),
                "phone": people.phone(rng) if rng.random() < 0.8 else "",
                "birth_date": people.birth_date(rng),
                "ssn": people.ssn(rng),
                "address": people.address(rng),
                "city": people.city(rng),
                "newsletter": rng.random() < 0.3,
            },
        )

    def change_customer(self, browser: Browser, today: date) -> None:
        """Somebody moved, has a new number, prefers letters, or gave a wrong social security number."""
        customer = self._one(Customer.objects.all())
        if customer is None:
            return
        rng = self.rng
        changes: list[dict[str, Any]] = [
            {"phone": people.phone(rng)},
            {"phone": ""},
            {"address": people.address(rng), "city": people.city(rng)},
            {"ssn": people.ssn(rng)},
            {"contact": rng.choice(("email", "phone", "letter")), "language": rng.choice(("en", "de", "es"))},
            {"is_active": not customer.is_active},
            {"newsletter": rng.random() < 0.5, "email": f"{customer.pk}.{rng.randrange(90)}@mail.example"},
        ]
        browser.submit(f"/customers/{customer.pk}/edit/", rng.choice(changes))

    def look_up_ssn(self, browser: Browser, today: date) -> None:
        """Look at a social security number."""
        if customer := self._one(Customer.objects.exclude(ssn="")):
            browser.submit(f"/customers/{customer.pk}/", to="/ssn/", status=200)

    # Policies

    def new_policy(self, browser: Browser, today: date) -> None:
        """Write a policy for a customer who has none or wants another."""
        customer = self._one(Customer.objects.filter(is_active=True))
        if customer is None:
            return
        rng = self.rng
        start = today - timedelta(days=rng.choice((0, 0, 30, 359, 364)))
        browser.submit(
            f"/policies/new/?customer={customer.pk}",
            {
                "premium": str(Decimal(rng.randrange(18_000, 240_000)) / 100),
                "valid_from": start.isoformat(),
                "valid_until": "" if rng.random() < 0.2 else (start + timedelta(days=364)).isoformat(),
                "risk_classes": self._some(RiskClass, 2),
                "tags": self._some(Tag, 2),
                "sum_insured": str(rng.randrange(10, 400) * 1000),
                "deductible": str(rng.choice((0, 150, 300, 500, 1000))),
                "glass": rng.random() < 0.5,
                "notes": people.note(rng) if rng.random() < 0.4 else "",
            },
        )

    def change_policy(self, browser: Browser, today: date) -> None:
        """The premium, the cover, the owner, the tags, the dates, the notes: one or several of them."""
        policy = self._one(Policy.objects.exclude(status__in=("expired", "canceled")))
        if policy is None:
            return
        rng = self.rng
        kinds: list[dict[str, Any]] = [
            {
                "premium": str(
                    (policy.premium * Decimal(rng.randrange(90, 125)) / 100).quantize(Decimal("0.01"))
                )
            },
            {"deductible": str(rng.choice((0, 150, 300, 500, 1000))), "glass": rng.random() < 0.5},
            {"roadside": rng.random() < 0.6, "sum_insured": str(rng.randrange(10, 400) * 1000)},
            {"owner": self._colleague()},
            {"tags": self._some(Tag, 3)},
            {"risk_classes": self._some(RiskClass, 3)},
            {"valid_until": (today + timedelta(days=rng.randrange(3, 400))).isoformat()},
            {"notes": f"{policy.notes} {people.note(rng)}".strip()},
        ]
        changes: dict[str, Any] = {}
        for part in rng.sample(kinds, rng.choice((1, 1, 1, 2, 2, 4))):
            changes |= part
        browser.submit(f"/policies/{policy}/edit/", changes)

    def submit_policy(self, browser: Browser, today: date) -> None:
        """A draft is ready."""
        if policy := self._one(Policy.objects.filter(status="draft")):
            browser.submit(f"/policies/{policy}/submit/", {"reason": "all papers are in"})

    def decide_policy(self, browser: Browser, today: date) -> None:
        """Approve what was submitted, or now and then return it."""
        if policy := self._one(Policy.objects.filter(status="pending")):
            if self.rng.random() < 0.8:
                browser.submit(f"/policies/{policy}/approve/", {"reason": self.rng.choice(APPROVALS)})
            else:
                browser.submit(
                    f"/policies/{policy}/return/", {"reason": "the sum insured does not match the house"}
                )

    def approve_without_permission(self, browser: Browser, today: date) -> None:
        """A claims handler tries what only a lead may do."""
        if policy := self._one(Policy.objects.filter(status="pending")):
            browser.open(f"/policies/{policy}/approve/", status=403)

    def cancel_policy(self, browser: Browser, today: date) -> None:
        """A customer leaves."""
        if policy := self._one(Policy.objects.filter(status__in=("approved", "draft"))):
            browser.submit(f"/policies/{policy}/cancel/", {"reason": self.rng.choice(CANCELLATIONS)})

    def export(self, browser: Browser, today: date) -> None:
        """Take a list to a spreadsheet."""
        browser.open(f"/policies/?format=csv{self.rng.choice(('', '&status=approved', '&status=expired'))}")

    # Claims

    def new_claim(self, browser: Browser, today: date) -> None:
        """A loss is reported."""
        if policy := self._one(Policy.objects.filter(status="approved")):
            browser.submit(f"/claims/new/{policy}/", {"description": people.loss(self.rng)})

    def change_claim(self, browser: Browser, today: date) -> None:
        """Write down what was found out, give the claim to a colleague, review or reject it."""
        claim = self._one(Claim.objects.filter(status__in=("open", "in_review")))
        if claim is None:
            return
        rng = self.rng
        changes: list[dict[str, Any]] = [
            {"description": people.longer(rng, claim.description)},
            {"status": "in_review", "description": people.longer(rng, claim.description)},
            {"handler": self._colleague(), "status": "in_review"},
            {"status": "rejected", "handler": self._colleague()},
            {"status": "in_review"},
        ]
        browser.submit(f"/claims/{claim}/edit/", rng.choice(changes))

    def settle_claim(self, browser: Browser, today: date) -> None:
        """Pay."""
        if claim := self._one(Claim.objects.filter(status="in_review")):
            amount = str(Decimal(self.rng.randrange(8_000, 900_000)) / 100)
            browser.submit(
                f"/claims/{claim}/settle/", {"amount": amount, "reason": self.rng.choice(PAYMENTS)}
            )

    def delete_claim(self, browser: Browser, today: date) -> None:
        """Delete a claim that was entered twice, with its documents."""
        if claim := self._one(Claim.objects.filter(status__in=("open", "rejected"))):
            browser.submit(f"/claims/{claim}/delete/")

    def delete_paid_claim(self, browser: Browser, today: date) -> None:
        """Try to delete a claim that was paid: it is refused."""
        if claim := self._one(Claim.objects.filter(status="settled")):
            browser.submit(f"/claims/{claim}/delete/")

    def upload(self, browser: Browser, today: date) -> None:
        """Add a photo, an invoice or a report."""
        if claim := self._one(Claim.objects.exclude(status="rejected")):
            self.upload_to(browser, claim, self.rng.choice(("photo", "invoice", "report", "letter")))

    def upload_to(self, browser: Browser, claim: Claim, kind: str) -> None:
        """Add a document of this kind to this claim."""
        name = f"{kind}-{claim}-{self.rng.randrange(100, 999)}.pdf"
        file = SimpleUploadedFile(name, PDF * self.rng.randrange(1, 40), "application/pdf")
        browser.submit(f"/claims/{claim}/", {"kind": kind, "file": file}, to="/documents/")

    def download(self, browser: Browser, today: date) -> None:
        """Read a document."""
        if document := self._one(Document.objects.all()):
            browser.open(f"/claims/documents/{document.pk}/").close()
