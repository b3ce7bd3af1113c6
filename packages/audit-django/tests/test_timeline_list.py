"""The list: rows, filters, paging, live update, and what they cost."""

import re
from datetime import UTC, datetime, timedelta
from html import unescape

import pytest
from django.contrib.auth.models import Permission, User
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from timeline_data import (
    ALICE,
    BOB,
    LONG_LABEL,
    customer,
    diff,
    event,
    policy,
    record,
    showcase,
    text,
)

from audit_core.diff import Change
from audit_core.event import Actor, RecordedEvent, Target
from audit_core.query import EventQuery, InvalidQuery
from audit_django.models import AuditEvent
from audit_django.storages.database import DatabaseStorage
from audit_django.timeline.filters import Filters
from audit_django.timeline.rows import row

pytestmark = pytest.mark.django_db
TIMELINE = "/audit/"
MINUTE, DAY = timedelta(minutes=1), timedelta(days=1)


@pytest.fixture
def reader(client, db):
    user = User.objects.create_user("carol", password="a password")
    user.user_permissions.add(Permission.objects.get(codename="view_audit_log"))
    client.force_login(user)
    AuditEvent.objects.all().delete()  # logging in and the like is recorded too
    return client


def ids(page):
    return re.findall(r'<li class="audit-row" id="e-([-0-9a-f]+)"', page)


def shown(reader, address=""):
    return ids(reader.get(TIMELINE + address).text)


def test_first_use_says_what_to_do(reader):
    page = reader.get(TIMELINE).text
    assert "Nothing has happened yet" in page
    assert "audit.py" in page
    assert "audit:poll" in page  # and something new will be noticed


def test_a_row_says_when_what_and_who(reader):
    (recorded,) = record(event(at=datetime(2026, 3, 3, 10, 42, 7, tzinfo=UTC)))
    page = reader.get(TIMELINE).text
    assert ">10:42<" in page
    assert "Tuesday 3 March 2026, 10:42:07" in page
    assert "Times in UTC" in page
    assert reverse("audit:event", args=[recorded.id]) in page
    words = " ".join(re.sub("<[^>]+>", "", unescape(page)).split())
    assert "Changed Alice changed the status of policy P-1007 from Pending to Approved." in words


def test_a_saved_summary_is_shown_instead_of_the_grammar(reader):
    shown_row = row(RecordedEvent.of(event(), summary="Alice hat P-1007 genehmigt."), Filters(), "")
    assert re.sub("<[^>]+>", "", shown_row.sentence) == "Alice hat P-1007 genehmigt."
    assert "object=7" in shown_row.sentence


@pytest.mark.parametrize(
    ("action", "values", "word", "hue"),
    [
        ("create", {}, "Created", "create"),
        ("update", {}, "Changed", "update"),
        ("delete", {}, "Deleted", "delete"),
        ("delete", {"outcome": "failure"}, "Delete failed", "security"),
        ("view", {"category": "access"}, "Viewed", "access"),
        ("login", {"category": "auth"}, "Logged in", "auth"),
        ("login_failed", {"category": "auth", "outcome": "failure"}, "Login failed", "security"),
        ("policy.approve_now", {"category": "custom"}, "Policy approve now", "update"),
        ("key_rotated", {"category": "security"}, "Key rotated", "security"),
        ("odd", {"category": "of their own"}, "Odd", "access"),
    ],
)
def test_every_kind_of_action_has_a_word_and_a_color(action, values, word, hue):
    shown_row = row(RecordedEvent.of(event(action, **values)), Filters(), "")
    assert (shown_row.action, shown_row.hue) == (word, hue)


def test_days_are_those_of_the_current_time_zone(reader, settings):
    settings.TIME_ZONE = "Asia/Tokyo"
    record(
        event(at=datetime(2026, 3, 3, 15, 30, tzinfo=UTC)), event(at=datetime(2026, 3, 3, 14, 30, tzinfo=UTC))
    )
    page = reader.get(TIMELINE).text
    assert "Wednesday 4 March 2026" in page
    assert "Tuesday 3 March 2026" in page
    assert page.count("Times in Asia/Tokyo") == 1


def test_actor_and_object_are_links_that_filter():
    html = row(RecordedEvent.of(event()), Filters(action="update", q="x y"), "/a/").sentence
    links = dict(re.findall(r'<a href="([^"]+)"[^>]*><bdi>([^<]+)</bdi></a>', html))
    assert links == {
        "/a/?q=x+y&amp;actor=1&amp;action=update": "Alice",
        "/a/?q=x+y&amp;model=testapp.Policy&amp;object=7&amp;action=update": "P-1007",
    }


def test_a_label_is_only_linked_where_it_is_the_label():
    # "7" is the object's id and also a value; "Al" is the beginning of another word.
    changed = event(actor=Actor(id="9", repr="Al"), target=policy("", "7"), diff=diff(text("also", "7", "8")))
    html = row(
        RecordedEvent.of(changed, summary="The field also went from 17 to 70."), Filters(), ""
    ).sentence
    assert "<a" not in html


def test_a_label_that_was_cut_is_still_linked():
    html = row(RecordedEvent.of(event(target=customer(LONG_LABEL, "9"))), Filters(), "").sentence
    assert re.search(r'object=9"[^>]*><bdi>[^<]*more words\)</bdi></a>', html)


def test_text_that_could_mislead_is_made_harmless():
    html = row(
        RecordedEvent.of(event(), summary="from \u202eA to B\u202c and\x00 on"), Filters(), ""
    ).sentence
    assert html == "from A to B and on"


@pytest.mark.parametrize(
    ("changes", "action", "more"),
    [(1, "update", 0), (3, "update", 0), (9, "update", 7), (9, "delete", 0)],
)
def test_fields_that_the_sentence_does_not_name_are_counted(changes, action, more):
    fields = diff(*(text(f"field_{chr(97 + n)}", "x", "y", position=n) for n in range(changes)))
    automatic = diff(text("updated_at", "a", "b", role="automatic"))
    assert row(RecordedEvent.of(event(action, diff={**fields, **automatic})), Filters(), "").more == more


@pytest.mark.django_db(transaction=True)  # MariaDB's full-text index knows what is committed
def test_filters_narrow_the_list(reader):
    a, b, c, d = record(
        event(ago=4 * DAY),
        event(ago=3 * MINUTE, actor=BOB),
        event("delete", ago=2 * MINUTE, target=customer()),
        event("login", ago=MINUTE, category="auth"),
    )
    today = datetime.now(UTC).date()
    wanted = {
        "": [d, c, b, a],
        "?actor=2": [b],
        "?action=delete": [c],
        "?model=testapp.Customer": [c],
        "?model=testapp.Policy": [b, a],
        "?model=testapp.Policy&object=7": [b, a],
        "?model=testapp.Policy&object=8": [],
        "?model=gone.Model": [],
        "?q=Jane": [c],
        "?q=approved+alic": [a],
        f"?until={today - 4 * DAY}": [a],
        f"?since={today - 4 * DAY}&until={today - 4 * DAY}": [a],
        "?actor=1&action=update": [a],
    }
    for address, events in wanted.items():
        assert shown(reader, address) == [str(recorded.id) for recorded in events], address
    if (datetime.now(UTC) - 3 * MINUTE).date() == today:
        assert shown(reader, "?range=7d") == [str(recorded.id) for recorded in (d, c, b, a)]
        assert shown(reader, "?range=yesterday") == []
        assert shown(reader, "?range=today&actor=2") == [str(b.id)]


def test_a_parents_history_has_its_childs_changes_14(reader):
    child = Target(type="testapp.Restaurant", id="3", repr="Chez Nous", kind="restaurant")
    (recorded,) = record(event(target=child))
    assert shown(reader, "?model=testapp.Place&object=3") == [str(recorded.id)]


def test_a_day_is_the_whole_day_where_the_clocks_change(settings):
    settings.TIME_ZONE = "Europe/Berlin"
    since, until = Filters(since="2026-10-25", until="2026-10-25").bounds()
    assert until.astimezone(UTC) - since.astimezone(UTC) == timedelta(hours=25)


def test_what_is_set_is_said_and_can_be_dropped(reader):
    record(event())
    page = unescape(reader.get("/audit/?q=a%26b&actor=1&range=7d&request=r%221").text)
    assert 'href="?actor=1&range=7d&request=r%221"' in page  # without the text
    assert 'href="?q=a%26b&actor=1&request=r%221"' in page  # without the dates
    assert "Last 7 days" in page
    assert "Changes with every word of" in page


def test_choices_of_the_model_filter_come_from_the_registry(reader):
    page = reader.get(TIMELINE).text
    assert "?model=testapp.Restaurant" in page
    assert "?model=sessions.Session" not in page


def test_dates_that_were_picked_win_over_a_preset():
    filters = Filters.read(
        {"range": "7d", "since": "2026-01-01", "until": "", "actor": " 1\x00 ", "range2": "x"}
    )
    assert filters == Filters(since="2026-01-01", actor="1\\u0000")
    assert filters.but(range="today").address() == "?actor=1%5Cu0000&range=today"
    assert filters.without("dates") == Filters(actor="1\\u0000")


@pytest.mark.parametrize(
    ("address", "words", "drop"),
    [
        ("?object=7", "Choose the model too", "Drop the filter Object"),
        ("?since=2026-05-02&until=2026-05-01", "The first day is after the last", "Drop the filter Dates"),
        ("?since=soon", "“soon” is no date", "Drop the filter Dates"),
        ("?until=9999-12-31", "is no date", "Drop the filter Dates"),
        ("?q=%2B%2B", "no letter or digit", "Drop the filter Text"),
        ("?cursor=nonsense", "damaged", "Go to the first page"),
        ("?cursor=WzFd", "damaged", "Go to the first page"),
    ],
)
def test_filters_that_cannot_be_answered_say_which_to_drop(reader, address, words, drop):
    response = reader.get(TIMELINE + address)
    assert response.status_code == 400
    assert words in unescape(response.text)
    assert drop in response.text


def test_nothing_matches_says_which_filter_to_drop(reader):
    record(event())
    page = reader.get("/audit/?actor=1&action=delete").text
    assert "Nothing matches" in page
    hints = reader.get("/audit/hints/?actor=1&action=delete").text
    assert 'href="/audit/?actor=1"' in hints
    assert 'href="/audit/?action=delete"' not in hints
    assert "even with one of them dropped" in reader.get("/audit/hints/?actor=8&action=delete").text


def test_paging_shows_every_event_once_also_where_times_tie_28(reader):
    moment = datetime(2026, 3, 3, 10, tzinfo=UTC)
    recorded = record(*(event(at=moment + (n // 40) * MINUTE) for n in range(130)))
    seen, address = [], TIMELINE
    for _page in range(3):
        page = reader.get(address).text
        seen += ids(page)
        older = re.search(r'href="(\?cursor=[^"]+)" hx-get', page)
        address = TIMELINE + older[1] if older else None
    assert address is None
    assert "This is the beginning of the trail." in page
    assert "Back to the newest changes" in page
    assert seen == [str(item.id) for item in reversed(recorded)]


def test_an_objects_history_is_in_the_order_of_its_commits_28(reader):
    """Whatever the clocks of the machines say, and although most of it happens at the same moment."""
    moments = [datetime(2026, 3, 3, 10, tzinfo=UTC) - (n % 3) * MINUTE for n in range(12)]
    recorded = record(*(event(at=moment) for moment in moments))
    newest_first = [str(item.id) for item in reversed(recorded)]
    found = DatabaseStorage().search(EventQuery(target_types=["testapp.Policy"], target_id="7")).events
    assert [str(item.id) for item in found] == newest_first
    assert shown(reader, "?model=testapp.Policy&object=7") == newest_first


def test_new_changes_are_counted_under_the_same_filters(reader):
    record(event())
    page = reader.get("/audit/?actor=1").text
    news = unescape(re.search(r'hx-get="(/audit/news/[^"]+)"', page)[1])
    assert reader.get(news).text.strip() == ""
    record(event(), event(actor=BOB))
    assert 'href="/audit/?actor=1">1 new change<' in reader.get(news).text
    record(*(event() for _ in range(60)))
    assert "50 or more new changes" in reader.get(news).text
    assert reader.get("/audit/news/?after=broken").text.strip() == ""


def test_an_older_page_does_not_poll(reader):
    record(*(event(ago=n * MINUTE) for n in range(60, 0, -1)))
    older = re.search(r'href="(\?cursor=[^"]+)" hx-get', reader.get(TIMELINE).text)[1]
    assert "audit:poll" not in reader.get(TIMELINE + older).text


def test_what_a_sentence_tells_by_other_words_is_told():
    alice = {"pk": 1, "repr": "Alice Ames"}
    bob = {"pk": 2, "repr": "Bob Keller"}
    moved = Change(field="owner", relation="foreign_key", role="owner", before=alice, after=bob)
    tagged = Change(field="tags", relation="many_to_many", added=[{"pk": 1, "repr": "Critical"}])
    shown = row(RecordedEvent.of(event(diff={"owner": moved, "tags": tagged})), Filters(), "")
    assert "moved" in shown.sentence
    assert "added the tag" in shown.sentence
    assert shown.more == 0


def test_the_number_of_more_fields_is_that_of_the_sentence():
    fields = {f"f{n}": Change(field=f"f{n}", before=n, after=n + 1, position=n) for n in range(12)}
    shown = row(RecordedEvent.of(event(diff=fields)), Filters(), "")
    assert f"and {shown.more} more fields" in shown.sentence


def queries(reader, address):
    with CaptureQueriesContext(
        connection,
    ) as captured:
        assert reader.get(TIMELINE + address).status_code == 200
    return [query["sql"] for query in captured]


@pytest.mark.django_db(transaction=True)
def test_the_first_page_takes_the_same_few_queries_whatever_it_shows(reader):
    empty = queries(reader, "")
    record(*(event() for _ in range(3)))
    few = queries(reader, "")
    many_actors = [
        event(actor=Actor(id=str(n), repr=f"User {n}"), target=policy(f"P-{n}", str(n))) for n in range(70)
    ]
    record(*showcase(), *many_actors)
    full = queries(reader, "")
    filtered = queries(reader, "?actor=1&model=testapp.Policy&action=update&range=30d")
    assert len(few) == len(full) == len(filtered) <= 7
    assert len(empty) <= 7
    # A word is looked for among the newest events first, and in the whole trail if that is not enough.
    searched = queries(reader, "?actor=1&model=testapp.Policy&action=update&range=30d&q=policy")
    assert len(searched) <= len(full) + (connection.vendor != "sqlite")


def test_no_page_counts_or_scans_for_distinct_values(reader):
    recorded = record(*showcase())
    pages = ["", "?q=zzz&actor=1", "news/?after=WzBd", "hints/?q=zzz&actor=1", "objects/", "actors/"]
    for page in [*pages, f"events/{recorded[-1].id}/"]:
        for sql in queries(reader, page):
            if "audit_django_event" in sql:
                assert not re.search(r"COUNT\(|DISTINCT", sql, re.IGNORECASE), sql
                # MariaDB reads the newest few thousand rows by their words: within a range of the key, never the table.
                assert "LIKE" not in sql or re.search(r"number.{1,3}> \(?SELECT MAX\(number\) - ", sql), sql
                assert "LIMIT" in sql or "event_id" in sql, sql


def test_actors_are_read_from_the_newest_events_in_one_search(reader):
    record(
        *(event(ago=n * MINUTE, actor=ALICE if n % 3 else BOB) for n in range(9, 0, -1)), event(actor=None)
    )
    page = reader.get("/audit/actors/").text
    assert page.index("Alice") < page.index("Bob")
    assert 'href="/audit/?actor=2"' in page
    assert ">3 changes<" in page
    assert "newest 10 changes" in page


def test_objects_lists_what_is_audited(reader):
    page = reader.get("/audit/objects/").text
    assert 'href="/audit/?model=testapp.Place"' in page
    assert '<option value="testapp.Restaurant">' in page


def test_an_unreadable_day_is_an_invalid_query():
    with pytest.raises(InvalidQuery, match="no date") as caught:
        Filters(since="2026-13-01").query(None, limit=10)
    assert caught.value.filter == "dates"
