"""Nobody sees another insurer's data or history: ``manage.py test``."""

from __future__ import annotations

from decimal import Decimal

from django.contrib.auth.models import Permission
from django.test import TestCase

from accounts.models import Tenant, User
from audit_django.models import AuditEvent
from audit_django.testing import captured_events
from customers.models import Customer, CustomerProfile
from policies.models import Policy


class Desk(TestCase):
    """Two insurers with a policy each, and a user of the first."""

    @classmethod
    def setUpTestData(cls) -> None:
        cls.own, cls.foreign = (cls.policy_of(slug) for slug in ("northwind", "lakeside"))
        cls.user = User.objects.create_user(
            "bob", first_name="Bob", last_name="Keller", tenant_id="northwind"
        )
        cls.user.is_staff = True
        cls.user.save()
        codenames = ("view_audit_log", "view_policy", "change_policy")
        cls.user.user_permissions.set(Permission.objects.filter(codename__in=codenames))

    @staticmethod
    def policy_of(slug: str) -> Policy:
        """A pending policy of a customer of this insurer."""
        tenant = Tenant.objects.create(slug=slug, name=slug.title())
        customer = Customer.objects.create(name=f"Customer of {slug}", ssn="900-11-2222", tenant=tenant)
        CustomerProfile.objects.create(customer=customer, tenant=tenant)
        return Policy.objects.create(
            customer=customer,
            tenant=tenant,
            premium=Decimal("100.00"),
            status=Policy.Status.PENDING,
            notes="=1+1",
        )

    def setUp(self) -> None:
        self.client.force_login(self.user)


class Tenancy(Desk):
    def test_the_start_is_the_login_then_the_policies(self) -> None:
        self.assertRedirects(self.client.get("/"), "/policies/")
        self.client.logout()
        self.assertRedirects(self.client.get("/"), "/login/?next=/")

    def test_own_rows_are_there_and_foreign_ones_are_not(self) -> None:
        customer = self.foreign.customer
        for path in (
            f"/policies/{self.foreign}/",
            f"/policies/{self.foreign}/edit/",
            f"/policies/{self.foreign}/cancel/",
            f"/claims/new/{self.foreign}/",
            f"/customers/{customer.pk}/",
        ):
            assert self.client.get(path).status_code == 404, path
        assert self.client.post(f"/customers/{customer.pk}/ssn/").status_code == 404
        assert self.client.get(f"/policies/{self.own}/").status_code == 200
        page = self.client.get("/policies/")
        self.assertContains(page, str(self.own))
        self.assertNotContains(page, str(self.foreign))

    def test_a_customer_of_another_insurer_cannot_be_chosen(self) -> None:
        data = {"customer": self.foreign.customer.pk, "premium": "10"}
        page = self.client.post(f"/policies/{self.own}/edit/", data)
        self.assertContains(page, "Select a valid choice")

    def test_the_admin_keeps_to_the_insurer_too(self) -> None:
        page = self.client.get("/admin/policies/policy/")
        self.assertContains(page, str(self.own))
        self.assertNotContains(page, str(self.foreign))
        self.assertRedirects(self.client.get(f"/admin/policies/policy/{self.foreign.pk}/change/"), "/admin/")
        form = self.client.get(f"/admin/policies/policy/{self.own.pk}/change/")
        self.assertContains(form, "Customer of northwind")
        self.assertNotContains(form, "Customer of lakeside")

    def test_the_timeline_shows_the_own_insurers_events_only(self) -> None:
        page = self.client.get("/audit/?model=policies.Policy")
        self.assertContains(page, str(self.own))
        self.assertNotContains(page, str(self.foreign))

    def test_who_works_for_no_insurer_sees_nothing(self) -> None:
        self.user.tenant = None
        self.user.save()
        self.assertNotContains(self.client.get("/policies/"), "P-1")
        assert self.client.get(f"/policies/{self.own}/").status_code == 404
        self.assertNotContains(self.client.get("/audit/?model=policies.Policy"), "P-1")


class Trail(Desk):
    def test_a_decision_says_why_and_for_whom(self) -> None:
        self.user.user_permissions.add(Permission.objects.get(codename="approve_policy"))
        with captured_events() as events:
            self.client.post(f"/policies/{self.own}/approve/", {"reason": "checked"})
        event = events.one()
        assert (event.reason, event.tenant, event.actor.repr) == ("checked", "northwind", "Bob Keller")
        assert (event.diff["status"].before, event.diff["status"].after) == ("pending", "approved")

    def test_what_is_refused_is_recorded(self) -> None:
        with captured_events() as events:
            assert self.client.get(f"/policies/{self.own}/approve/").status_code == 403
        event = events.one()
        assert (event.action, event.outcome) == ("approve", "failure")
        self.own.refresh_from_db()
        assert self.own.status == "pending"

    def test_looking_at_a_social_security_number_is_recorded(self) -> None:
        with captured_events() as events:
            page = self.client.post(f"/customers/{self.own.customer_id}/ssn/")
        self.assertContains(page, "900-11-2222")
        assert [(e.category, e.action) for e in events] == [("access", "view")]
        assert "900-11-2222" not in "".join(AuditEvent.objects.values_list("text", flat=True))

    def test_an_export_is_recorded_and_its_cells_are_harmless(self) -> None:
        Customer.objects.filter(pk=self.own.customer_id).update(name="=cmd|'/c calc'!A1")
        with captured_events() as events:
            file = self.client.get("/policies/?format=csv").content.decode()
        assert "'=cmd" in file
        assert str(self.foreign) not in file
        event = events.one()
        assert (event.category, dict(event.extra)) == ("export", {"count": 1, "format": "CSV"})

    def test_a_form_that_was_not_changed_writes_nothing(self) -> None:
        data = {"customer": self.own.customer_id, "premium": "100.00", "notes": "=1+1"}
        path = f"/policies/{self.own}/edit/"
        self.client.post(path, data)  # it fills the coverage
        with captured_events() as events:
            assert self.client.post(path, data).status_code == 302
        events.assert_nothing_recorded()
