"""What the administrator does, in Django's admin."""

from __future__ import annotations

import os
from unittest import mock

from django.contrib.auth.models import Permission
from django.core.management import call_command

from accounts.models import User
from history import people
from history.browser import Browser
from policies.models import RiskClass, Tag

HANDLER_MAY = (
    "view_audit_log", "view_customer", "view_policy", "change_policy", "view_claim", "change_claim", "view_tag",
    "view_riskclass",
)  # fmt: skip


class Administration:
    """The administrator at their browser."""

    def __init__(self, browser: Browser) -> None:
        self._browser = browser

    def set_up(self) -> None:
        """Make the accounts, the insurers and the words they use: the administrator's own account first."""
        admin, browser = people.ADMIN, self._browser
        with mock.patch.dict(os.environ, {"DJANGO_SUPERUSER_PASSWORD": people.PASSWORD}):
            call_command(
                "createsuperuser", username=admin.username, email=admin.email, interactive=False, verbosity=0
            )
        self.come_in()
        self._change_user(admin.username, {"first_name": admin.first_name, "last_name": admin.last_name})
        for slug, name in people.TENANTS.items():
            browser.submit("/admin/accounts/tenant/add/", {"name": name, "slug": slug})
        self._add_group("Claims handlers", HANDLER_MAY)
        self._add_group("Leads", (*HANDLER_MAY, "approve_policy"))
        self._add_group("Auditors", ("view_audit_log",))
        for person in (people.AUDITOR, *people.STAFF):
            self._add_user(person)
        for code, name, factor in people.RISK_CLASSES:
            browser.submit("/admin/policies/riskclass/add/", {"code": code, "name": name, "factor": factor})
        for name in people.TAGS:
            self.add_tag(name)

    def come_in(self) -> None:
        """Log in."""
        self._browser.log_in(people.ADMIN.username, people.PASSWORD)

    def _add_group(self, name: str, codenames: tuple[str, ...]) -> None:
        keys = Permission.objects.filter(codename__in=codenames).order_by("pk").values_list("pk", flat=True)
        self._browser.submit(
            "/admin/auth/group/add/", {"name": name, "permissions": [str(key) for key in keys]}
        )

    def _add_user(self, person: people.Person) -> None:
        from django.contrib.auth.models import Group

        password = {"password1": people.PASSWORD, "password2": people.PASSWORD}
        self._browser.submit("/admin/accounts/user/add/", {"username": person.username, **password})
        group = {"handler": "Claims handlers", "lead": "Leads", "auditor": "Auditors"}[person.role]
        self._change_user(
            person.username,
            {
                "first_name": person.first_name,
                "last_name": person.last_name,
                "email": person.email,
                "tenant": person.tenant or "",
                "all_tenants": person.role == "auditor",
                "is_staff": person.role == "lead",
                "groups": [str(Group.objects.get(name=group).pk)],
            },
        )

    def _change_user(self, username: str, changes: dict[str, object]) -> None:
        user = User.objects.get(username=username)
        self._browser.submit(f"/admin/accounts/user/{user.pk}/change/", changes)

    def add_tag(self, name: str) -> None:
        """A new tag."""
        self._browser.submit("/admin/policies/tag/add/", {"name": name})

    def delete_tag(self, name: str) -> None:
        """A tag that nobody shall use any more: the policies that have it lose it."""
        self._browser.submit(f"/admin/policies/tag/{Tag.objects.get(name=name).pk}/delete/")

    def delete_customer(self, key: int) -> None:
        """A customer who was entered twice, and the profile with them."""
        self._browser.submit(f"/admin/customers/customer/{key}/delete/")

    def rename_risk_class(self, code: str, name: str, factor: str) -> None:
        """Change a risk class."""
        key = RiskClass.objects.get(code=code).pk
        self._browser.submit(f"/admin/policies/riskclass/{key}/change/", {"name": name, "factor": factor})

    def deactivate(self, username: str) -> None:
        """Close an account."""
        self._change_user(username, {"is_active": False})

    def delete_user(self, username: str) -> None:
        """Delete an account: what it owned is nobody's then."""
        self._browser.submit(f"/admin/accounts/user/{User.objects.get(username=username).pk}/delete/")

    def reset_password(self, username: str, password: str) -> None:
        """Give somebody a new password."""
        path = f"/admin/accounts/user/{User.objects.get(username=username).pk}/password/"
        self._browser.submit(path, {"password1": password, "password2": password})
