"""The timeline in a real browser: by mouse, by keyboard, without JavaScript, on a phone, in the dark."""

import os
import re
from datetime import timedelta

import pytest
from django.contrib.auth.models import Permission, User
from django.http import HttpResponse
from django.template import Context, Template
from django.test import override_settings
from django.urls import include, path
from testapp.models import Policy
from timeline_data import ALICE, BOB, REQUEST, STATUS, TAGS, customer, diff, event, policy, record, showcase

from audit_django.models import AuditEvent

CHROMIUM = os.environ.get("AUDIT_TEST_CHROMIUM")
pytestmark = [
    pytest.mark.browser,
    pytest.mark.django_db(transaction=True),
    pytest.mark.skipif(not CHROMIUM, reason="AUDIT_TEST_CHROMIUM does not name a Chromium"),
]
ARGUMENTS = (
    "--no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync"
).split()
POLICY = "; ".join(
    [
        "default-src 'none'",
        *(f"{kind} 'self'" for kind in ("script-src", "style-src", "img-src", "connect-src")),
    ]
)


def strict(get_response):
    """Middleware: nothing inline, nothing evaluated, nothing from another host."""

    def answer(request):
        response = get_response(request)
        response["Content-Security-Policy"] = POLICY
        return response

    return answer


def host_page(request):
    """A page of the application with a history in it."""
    page = (
        "{% load audit %}<!doctype html><html lang=en><title>Policy</title>"
        "<link rel=icon href=/static/audit_django/icon.svg>"
        "<main><h1>Policy P-1007</h1>{% audit_timeline policy %}</main></html>"
    )
    return HttpResponse(Template(page).render(Context({"request": request, "policy": Policy(pk=7)})))


urlpatterns = [path("audit/", include("audit_django.urls")), path("policy/", host_page)]


@pytest.fixture(autouse=True)
def _project(settings):
    settings.MIDDLEWARE = [f"{__name__}.strict", *settings.MIDDLEWARE]
    with override_settings(ROOT_URLCONF=__name__):
        yield


@pytest.fixture(scope="module")
def chromium():
    from playwright.sync_api import sync_playwright

    # Playwright runs an event loop in this thread; the ORM is never used from within it.
    with pytest.MonkeyPatch.context() as environment, sync_playwright() as playwright:
        environment.setenv("DJANGO_ALLOW_ASYNC_UNSAFE", "true")
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield browser
        browser.close()


@pytest.fixture
def reader(transactional_db):
    user = User.objects.create_user("carol", password="a password", first_name="Carol")
    user.user_permissions.add(Permission.objects.get(codename="view_audit_log"))
    return user


@pytest.fixture
def open_browser(chromium, live_server, reader, client):
    """A page that is logged in; what the browser complains about fails the test."""
    contexts, complaints = [], []

    def open_browser(**options):
        context = chromium.new_context(base_url=live_server.url, **options)
        contexts.append(context)
        client.force_login(reader)
        AuditEvent.objects.all().delete()
        context.add_cookies(
            [{"name": "sessionid", "value": client.cookies["sessionid"].value, "url": live_server.url}]
        )
        page = context.new_page()
        page.set_default_timeout(5000)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on(
            "console", lambda message: complaints.append(message.text) if message.type == "error" else None
        )
        return page

    open_browser.complaints = complaints
    yield open_browser
    for context in contexts:
        context.close()
    assert complaints == []


@pytest.fixture
def page(open_browser):
    return open_browser()


def row(page, text):
    return page.locator(".audit-row", has_text=text).first


def address(page):
    return re.sub("^https?://[^/]+", "", page.url)


def poll(page):
    page.evaluate("htmx.trigger('#audit-poll', 'audit:poll')")


def focused(page):
    return page.evaluate("document.activeElement.id || document.activeElement.className")


def test_log_in_filter_open_a_change_and_log_out(page):
    record(event(target=customer()), event(actor=BOB, context=REQUEST, diff=diff(STATUS, TAGS)))
    page.context.clear_cookies()
    page.goto("/audit/?actor=2")
    assert address(page).startswith("/audit/login/?next=")
    page.fill("[name=username]", "carol")
    page.fill("[name=password]", "a password")
    page.click("button:has-text('Log in')")
    page.wait_for_url("**/audit/?actor=2")
    assert page.locator(".audit-row").count() == 1
    page.click(".audit-chip-drop")
    page.wait_for_url("**/audit/?")
    page.locator(".audit-sentence a", has_text="Jane Doe").click()
    page.wait_for_url("**/audit/?model=testapp.Customer&object=5")
    assert page.locator(".audit-row").count() == 1
    page.go_back()
    row(page, "policy P-1007").locator(".audit-open").click()
    detail = page.locator(".audit-detail")
    detail.wait_for()
    assert detail.locator("tr", has_text="status").locator("del").inner_text() == "Pending"
    assert detail.locator("tr", has_text="tags").locator("ins").inner_text() == "Critical"
    assert "Firefox 130 on Windows" in detail.inner_text()
    page.click(".audit-menu > summary")
    page.click("text=Log out")
    page.wait_for_url("**/audit/login/")


def test_typing_searches_and_back_and_reload_restore(page):
    record(event(), event(target=customer()))
    page.goto("/audit/?action=update")
    page.keyboard.press("/")
    page.keyboard.type("jane", delay=40)
    page.wait_for_url("**/audit/?q=jane&action=update")
    assert page.locator(".audit-row").count() == 1
    assert focused(page) == "audit-q"
    assert "every word of “jane”" in page.locator(".audit-line").inner_text()
    page.reload()
    assert page.input_value("#audit-q") == "jane"
    page.click(".audit-chip:has-text('Text') .audit-chip-drop")
    page.wait_for_url("**/audit/?action=update")
    assert page.input_value("#audit-q") == ""
    page.go_back()
    page.wait_for_url("**/audit/?q=jane&action=update")
    page.wait_for_selector("#audit-q:not(:placeholder-shown)")
    assert page.locator(".audit-row").count() == 1


def test_filters_by_their_chips(page):
    record(event(ago=timedelta(days=40)), event(), event("delete"))
    page.goto("/audit/")
    page.click("#audit-chip-action")
    page.click(".audit-popover a:has-text('Deleted')")
    page.wait_for_url("**/audit/?action=delete")
    page.wait_for_function("document.activeElement.id === 'audit-chip-action'")
    page.click("#audit-chip-dates")
    page.fill("[name=since]", "2020-01-01")
    page.fill("[name=until]", "2020-01-02")
    page.click(".audit-popover:visible >> text=Apply")
    page.wait_for_url("**/audit/?action=delete&since=2020-01-01&until=2020-01-02")
    page.wait_for_selector("text=There are changes without this one")
    page.click(".audit-state .audit-button:has-text('Dates')")
    page.wait_for_url("**/audit/?action=delete")
    page.wait_for_function("document.querySelector('#audit-status').textContent === '1 change shown'")


def test_scrolling_loads_older_changes_into_the_same_day(page):
    record(
        *(
            event(at=event().occurred_at.replace(hour=0, minute=0), target=policy(f"P-{n}", str(n)))
            for n in range(120)
        )
    )
    page.goto("/audit/")
    assert page.locator(".audit-row").count() == 50
    for expected in (100, 120):
        page.evaluate("scrollTo(0, document.body.scrollHeight)")
        page.wait_for_function(f"document.querySelectorAll('.audit-row').length === {expected}")
    assert page.locator(".audit-day").count() == 1
    assert page.locator(".audit-day h2 small").inner_text() == "120 changes"
    assert len(set(page.locator(".audit-row").evaluate_all("rows => rows.map(row => row.id)"))) == 120
    page.wait_for_selector("text=This is the beginning of the trail.")


def test_new_changes_are_announced_and_nothing_moves(page):
    record(event())
    page.goto("/audit/")
    first = page.locator(".audit-row").first
    before = first.get_attribute("id")
    record(event(actor=BOB), event())
    poll(page)
    page.wait_for_selector("#audit-news >> text=2 new changes")
    assert first.get_attribute("id") == before
    page.click("#audit-news a")
    page.wait_for_function("document.querySelectorAll('.audit-row').length === 3")
    assert page.locator("#audit-news").inner_text() == ""
    assert page.evaluate("document.querySelector('#audit-news').getAttribute('aria-live')") == "polite"


def test_a_page_that_stays_open_polls_by_itself(page):
    page.clock.install()
    record(event())
    page.goto("/audit/")
    record(event())
    page.clock.run_for(6000)
    page.wait_for_selector("#audit-news >> text=1 new change")


def test_keys(page):
    record(event(target=policy("P-1", "1")), event(target=policy("P-2", "2")))
    page.goto("/audit/")
    page.keyboard.press("j")
    page.keyboard.press("j")
    page.keyboard.press("k")
    page.keyboard.press("Enter")
    page.wait_for_selector(".audit-detail")
    opened = page.locator(".audit-row.is-open")
    assert "P-2" in opened.inner_text()
    assert opened.locator(".audit-open").get_attribute("aria-expanded") == "true"
    assert focused(page) == "audit-open"
    page.keyboard.press("Escape")
    assert page.locator(".audit-detail").count() == 0
    assert focused(page) == "audit-open"
    page.keyboard.press("f")
    assert focused(page) == "audit-chip-model"
    page.keyboard.press("Enter")
    assert page.locator(".audit-chip details[open]").count() == 1
    page.keyboard.press("Escape")
    assert page.locator(".audit-chip details[open]").count() == 0
    page.keyboard.press("?")
    assert page.locator("#audit-help").is_visible()
    page.uncheck("#audit-keys")
    page.keyboard.press("Escape")
    page.keyboard.press("/")
    assert focused(page) != "audit-q"


def test_everything_can_be_read_without_javascript(open_browser):
    page = open_browser(java_script_enabled=False)
    record(*(event(target=policy(f"P-{n}", str(n))) for n in range(60)))
    page.goto("/audit/")
    page.click("text=Older changes")
    assert page.locator(".audit-row").count() == 10
    page.click("text=Back to the newest changes")
    page.click("#audit-chip-action")
    page.click(".audit-popover a:has-text('Changed')")
    assert address(page) == "/audit/?action=update"
    page.fill("#audit-q", "P-33")
    page.press("#audit-q", "Enter")
    assert page.locator(".audit-row").count() == 1
    assert "action=update" in address(page)
    page.click(".audit-open")
    assert re.fullmatch(r"/audit/events/[-0-9a-f]{36}/", address(page))
    assert "Pending" in page.locator(".audit-diff").inner_text()


def test_a_session_that_ended_leads_to_the_login_and_back(open_browser):
    page = open_browser()
    record(event())
    page.goto("/audit/?action=update")
    page.context.clear_cookies()
    poll(page)
    page.wait_for_selector("#audit-news >> text=Your session has ended.")
    page.click(".audit-open")
    page.wait_for_url("**/audit/login/?next=/audit/%3Faction%3Dupdate")
    assert all("401" in complaint for complaint in open_browser.complaints)
    open_browser.complaints.clear()


def test_a_change_that_cannot_be_loaded_is_said_in_its_place(open_browser):
    page = open_browser()
    record(event())
    page.goto("/audit/")
    page.context.set_offline(True)
    page.click(".audit-open")
    page.wait_for_selector(".audit-row .audit-failed")
    assert page.locator(".audit-open").get_attribute("aria-expanded") == "false"
    assert any("ERR_INTERNET_DISCONNECTED" in complaint for complaint in open_browser.complaints)
    open_browser.complaints.clear()


def test_a_slow_answer_shows_a_skeleton_only_after_200_ms(page):
    record(event())
    page.goto("/audit/")
    held = []
    page.route("**/audit/?action=*", lambda route: held.append(route))
    page.click("#audit-chip-action")
    page.click(".audit-popover a:has-text('Changed')")
    page.wait_for_selector("#audit-main.htmx-request", state="attached")
    delay = page.evaluate("getComputedStyle(document.querySelector('.audit-skeleton')).transitionDelay")
    assert delay == "0.2s, 0.2s"
    page.wait_for_function("getComputedStyle(document.querySelector('.audit-skeleton')).opacity === '1'")
    page.wait_for_timeout(50)
    held[0].continue_()
    page.wait_for_url("**/audit/?action=update")
    page.locator(".audit-skeleton").wait_for(state="hidden")


def test_the_link_to_a_change_can_be_copied(open_browser):
    page = open_browser(permissions=["clipboard-read", "clipboard-write"])
    (recorded,) = record(event())
    page.goto("/audit/")
    page.click(".audit-sentence")  # the whole row opens it
    page.click("text=Copy link")
    page.wait_for_selector("text=Link copied")
    assert page.evaluate("navigator.clipboard.readText()").endswith(f"/audit/events/{recorded.id}/")


def test_it_prints_with_its_filters_number_and_time(page):
    record(event(), event(), event("delete"))
    page.goto("/audit/?action=update")
    page.emulate_media(media="print")
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    assert re.match(
        r"Filters: Action: Changed; 2 changes; \w+ \d+, \d{4}", page.locator(".audit-print").inner_text()
    )
    assert page.locator(".audit-bar").is_hidden()


def test_an_embedded_history_brings_no_bar_and_changes_nothing_around_it(page):
    record(event())
    page.goto("/policy/")
    assert page.locator(".audit-embed .audit-row").count() == 1
    assert page.locator(".audit-bar").count() == 0
    styles = "getComputedStyle(document.querySelector('h1'))"
    assert page.evaluate(f"{styles}.fontSize + {styles}.color") == "32pxrgb(0, 0, 0)"
    page.click(".audit-inline summary")
    assert page.locator(".audit-embed ins").inner_text() == "Approved"


def violations(page):
    from axe_playwright_python.sync_playwright import Axe

    results = Axe().run(page)
    return [
        (found["id"], [node["html"][:200] for node in found["nodes"]])
        for found in results.response["violations"]
    ]


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390])
def test_axe_finds_nothing_and_nothing_scrolls_sideways(open_browser, scheme, width):
    page = open_browser(viewport={"width": width, "height": 844}, color_scheme=scheme, bypass_csp=True)
    recorded = record(*showcase())

    def check(state):
        assert violations(page) == [], state
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), state

    page.goto("/audit/")
    for position in range(len(recorded)):
        page.locator(".audit-open").nth(position).click()
        page.locator(".audit-panel").nth(position).locator(".audit-detail").wait_for()
    check("every change open")
    page.goto("/audit/?actor=1&range=7d&q=policy")
    if width == 390:
        page.click("text=Filters (3)")
    page.click("#audit-chip-dates")
    check("a filter open")
    page.keyboard.press("?")
    check("the help open")
    pages = ["?q=zzz&actor=1", f"events/{recorded[-1].id}/", "objects/", "actors/"]
    for name in pages:
        page.goto(f"/audit/{name}")
        page.wait_for_load_state("networkidle")
        check(name)
    page.goto("/policy/")
    check("embedded")
    page.context.clear_cookies()
    page.goto("/audit/login/")
    page.fill("[name=username]", ALICE.username)
    page.fill("[name=password]", "wrong")
    page.keyboard.press("Enter")
    page.wait_for_selector(".audit-error")
    check("login refused")
