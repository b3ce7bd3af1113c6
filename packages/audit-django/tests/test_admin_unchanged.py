"""Django's admin works unchanged on audited models, and every change of it is Alice's, in one request, recorded once."""

import pytest
from django.contrib import admin
from django.contrib.admin.models import LogEntry
from django.contrib.auth.admin import UserAdmin
from django.contrib.auth.models import Group, User
from django.urls import path
from testapp.models import Claim, Customer, Policy, Tag

from audit_django.testing import captured_events

pytestmark = pytest.mark.django_db

site = admin.AdminSite()


class ClaimInline(admin.TabularInline):
    model = Claim
    fields = ("amount",)
    extra = 0


@admin.register(Policy, site=site)
class PolicyAdmin(admin.ModelAdmin):
    inlines = (ClaimInline,)
    exclude = ("coverage",)
    filter_horizontal = ("tags",)
    list_display = ("number", "status")
    list_editable = ("status",)
    list_filter = ("status",)
    search_fields = ("number",)
    date_hierarchy = "valid_until"
    actions = ("approve",)
    save_as = True

    @admin.action(description="Approve")
    def approve(self, request, queryset):
        for policy in queryset:
            policy.status = Policy.Status.APPROVED
            policy.save()


site.register([Customer, Tag, Group])
site.register(User, UserAdmin)
urlpatterns = [path("admin/", site.urls)]


@pytest.fixture(autouse=True)
def project(settings):
    settings.ROOT_URLCONF = __name__
    settings.AUDIT = {"MODELS": "all"}


@pytest.fixture
def client(client):
    client.force_login(User.objects.create_superuser("alice"))
    return client


@pytest.fixture
def policy(db):
    return Policy.objects.create(number="P-1", customer=Customer.objects.create(name="Jane Doe"))


def form(policy=None, *claims, **values):
    """What the browser sends: the policy's form and the inline one of its claims."""
    data = {"number": "P-1", "status": "draft", "premium": "0", "_save": "Save"}
    if policy is not None:
        data["customer"] = policy.customer_id
    data |= {
        "claims-TOTAL_FORMS": len(claims),
        "claims-INITIAL_FORMS": sum(1 for claim in claims if claim.get("id")),
        "claims-MIN_NUM_FORMS": 0,
        "claims-MAX_NUM_FORMS": 1000,
    }
    for number, claim in enumerate(claims):
        if policy is not None:
            data[f"claims-{number}-policy"] = policy.pk
        data |= {f"claims-{number}-{name}": value for name, value in claim.items()}
    return data | values


def done(response):
    """The admin took it: it sends the browser on, and shows no form with errors."""
    assert response.status_code == 302, response.context["errors"]
    return response


def told(events):
    """Each event's action and object; all of them are Alice's, of one request."""
    assert {event.actor.username for event in events} <= {"alice"}
    assert len({event.context.request_id for event in events}) <= 1
    return sorted((event.action, event.target.type) for event in events)


def test_add(client):
    customer, tag = Customer.objects.create(name="Jane Doe"), Tag.objects.create(name="Critical")
    with captured_events() as events:
        done(
            client.post(
                "/admin/testapp/policy/add/", form(None, {"amount": 5}, customer=customer.pk, tags=[tag.pk])
            )
        )
    policy = Policy.objects.get()
    assert policy.claims.get().amount == 5
    assert ("create", "testapp.Claim") in told(events)
    assert events.one("create", policy).diff["number"].after == "P-1"
    [added] = events.one(target=policy, changed="tags").diff["tags"].added
    assert added["repr"] == "Critical"


def test_change(client, policy):
    with captured_events() as events:
        done(client.post(f"/admin/testapp/policy/{policy.pk}/change/", form(policy, status="approved")))
    assert told(events) == [("update", "testapp.Policy")]
    diff = events.one("update").diff
    assert (diff["status"].before, diff["status"].after) == ("draft", "approved")
    assert diff.keys() <= {"status", "updated_at"}


def test_a_form_with_errors_records_nothing(client, policy):
    with captured_events() as events:
        response = client.post(f"/admin/testapp/policy/{policy.pk}/change/", form(policy, status="no"))
    assert response.status_code == 200
    events.assert_nothing_recorded()


def test_save_as_new(client, policy):
    data = form(policy, number="P-2", _saveasnew="Save as new")
    del data["_save"]
    with captured_events() as events:
        done(client.post(f"/admin/testapp/policy/{policy.pk}/change/", data))
    assert told(events) == [("create", "testapp.Policy")]
    assert Policy.objects.count() == 2


def test_inlines(client, policy):
    changed, deleted = (Claim.objects.create(policy=policy, amount=amount) for amount in (1, 2))
    key = deleted.pk
    with captured_events() as events:
        done(
            client.post(
                f"/admin/testapp/policy/{policy.pk}/change/",
                form(
                    policy,
                    {"id": changed.pk, "amount": 10},
                    {"id": deleted.pk, "amount": 2, "DELETE": "on"},
                    {"amount": 30},
                ),
            )
        )
    assert events.one("update", changed).diff["amount"].after == 10
    assert events.one("delete").target.key == ("testapp.Claim", str(key))
    assert events.one("create", Claim).diff["amount"].after == 30
    assert {event.action for event in events.matching(None, policy)} <= {"update"}
    told(events)


def test_delete_with_what_depends_on_it(client, policy):
    Claim.objects.create(policy=policy)
    address = f"/admin/testapp/policy/{policy.pk}/delete/"
    assert "C-" in client.get(address).content.decode()  # the page that asks
    with captured_events() as events:
        done(client.post(address, {"post": "yes"}))
    assert told(events) == [("delete", "testapp.Claim"), ("delete", "testapp.Policy")]


def test_delete_that_is_protected(client, policy):
    with captured_events() as events:
        response = client.post(f"/admin/testapp/customer/{policy.customer_id}/delete/", {"post": "yes"})
    assert response.status_code == 200
    assert "policy" in response.content.decode().lower()
    assert not events.matching("delete")
    assert Customer.objects.exists()


def test_actions(client, policy):
    other = Policy.objects.create(number="P-2", customer=policy.customer)
    selected = {"_selected_action": [policy.pk, other.pk]}
    with captured_events() as events:
        done(client.post("/admin/testapp/policy/", {"action": "approve", **selected}))
    assert told(events) == [("update", "testapp.Policy")] * 2

    assert client.post("/admin/testapp/policy/", {"action": "delete_selected", **selected}).status_code == 200
    with captured_events() as events:
        done(client.post("/admin/testapp/policy/", {"action": "delete_selected", "post": "yes", **selected}))
    assert told(events) == [("delete", "testapp.Policy")] * 2


def test_a_list_that_is_edited(client, policy):
    data = {
        "form-TOTAL_FORMS": 1,
        "form-INITIAL_FORMS": 1,
        "form-0-id": policy.pk,
        "form-0-status": "pending",
        "_save": "Save",
    }
    with captured_events() as events:
        done(client.post("/admin/testapp/policy/", data))
    assert told(events) == [("update", "testapp.Policy")]


def test_browsing_records_nothing(client, policy):
    with captured_events() as events:
        for page in (
            "",
            "testapp/policy/",
            "testapp/policy/?q=P-1&status__exact=draft",
            "testapp/policy/add/",
            f"testapp/policy/{policy.pk}/change/",
        ):
            assert client.get(f"/admin/{page}").status_code == 200, page
    events.assert_nothing_recorded()


def test_the_admins_own_history_stays(client, policy):
    done(client.post(f"/admin/testapp/policy/{policy.pk}/change/", form(policy, status="approved")))
    entry = LogEntry.objects.get()
    assert (entry.object_id, entry.get_change_message()) == (str(policy.pk), "Changed Status.")
    page = client.get(f"/admin/testapp/policy/{policy.pk}/history/").content.decode()
    assert "Changed Status." in page


def test_users_groups_and_passwords(client):
    with captured_events() as events:
        data = {"username": "bob", "password1": "correct horse", "password2": "correct horse"}
        done(client.post("/admin/auth/user/add/", {**data, "usable_password": "true"}))
    assert events.one("create", User).target.repr == "bob"
    bob = User.objects.get(username="bob")
    with captured_events() as events:
        data = {"password1": "battery staple", "password2": "battery staple", "usable_password": "true"}
        done(client.post(f"/admin/auth/user/{bob.pk}/password/", data))
    change = events.one("update", bob).diff["password"]
    bob.refresh_from_db()
    assert bob.check_password("battery staple")
    assert bob.password not in str(change.to_dict())


def test_login_and_logout(client):
    User.objects.create_superuser("carol", password="secret")
    client.logout()
    with captured_events() as events:
        assert client.post("/admin/login/", {"username": "carol", "password": "wrong"}).status_code == 200
        done(client.post("/admin/login/?next=/admin/", {"username": "carol", "password": "secret"}))
        assert client.post("/admin/logout/").status_code == 200
    assert [event.action for event in events if event.category == "auth"] == [
        "login_failed",
        "login",
        "logout",
    ]
