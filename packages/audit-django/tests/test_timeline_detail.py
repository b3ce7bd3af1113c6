"""The detail of an event: diff, context, neighbors, raw JSON; and that everything shown is escaped."""

import re
import time
from html import unescape
from html.parser import HTMLParser
from urllib.parse import quote

import pytest
from django.contrib.auth.models import Permission, User
from django.urls import reverse
from hypothesis import given
from hypothesis import strategies as st
from timeline_data import COVERAGE, OWNER, REQUEST, SSN, STATUS, TAGS, diff, event, long_texts, record, text

from audit_core.diff import Change
from audit_core.event import Actor, Context, Event, Target
from audit_django.models import AuditEvent
from audit_django.timeline.agent import in_words
from audit_django.timeline.changes import shown_change, shown_diff
from audit_django.timeline.words import compare, matching_blocks


@pytest.fixture
def reader(client, db):
    user = User.objects.create_user("carol", password="a password")
    user.user_permissions.add(Permission.objects.get(codename="view_audit_log"))
    client.force_login(user)
    AuditEvent.objects.all().delete()
    return client


def page_of(reader, recorded):
    return reader.get(reverse("audit:event", args=[recorded.id])).text


def plain(html):
    return " ".join(unescape(re.sub(r"<[^>]+>", " ", html)).split())


# Words


WORDS = st.lists(st.sampled_from(["a ", "b ", "c", ".", " ", "é", "日", "\n", "👩‍👧 "]), max_size=12).map(
    "".join
)


@given(WORDS, WORDS)
def test_pieces_joined_are_the_texts_and_what_is_unmarked_is_the_same(before, after):
    old, new = compare(before, after)
    assert "".join(piece.text for piece in old) == before
    assert "".join(piece.text for piece in new) == after
    unmarked = ["".join(piece.text for piece in side if not piece.changed) for side in (old, new)]
    assert unmarked[0] == unmarked[1]


@given(st.lists(st.sampled_from("abc"), max_size=9), st.lists(st.sampled_from("abc"), max_size=9))
def test_the_comparison_leaves_as_much_alone_as_possible(old, new):
    longest = [[0] * (len(new) + 1) for _ in range(len(old) + 1)]
    for i, left in enumerate(old):
        for j, right in enumerate(new):
            same = longest[i][j] + 1
            longest[i + 1][j + 1] = same if left == right else max(longest[i][j + 1], longest[i + 1][j])
    assert sum(size for _, _, size in matching_blocks(old, new)) == longest[-1][-1]


def test_only_the_words_that_changed_are_marked():
    change = shown_change(text("name", "The quick brown fox.", "The slow brown fox!"))
    assert (
        change.before == '<div class="audit-text" dir="auto">The <del>quick</del> brown fox<del>.</del></div>'
    )
    assert (
        change.after == '<div class="audit-text" dir="auto">The <ins>slow</ins> brown fox<ins>!</ins></div>'
    )


def test_texts_with_nothing_in_common_are_marked_as_a_whole():
    assert (
        "<del>alpha beta gamma</del>"
        in shown_change(text("name", "alpha beta gamma", "one two three")).before
    )


def test_ten_thousand_words_are_compared_at_once_and_folded():
    before, after = long_texts()
    started = time.perf_counter()
    change = shown_change(Change(field="text", field_type="TextField", before=before, after=after))
    assert time.perf_counter() - started < 1
    assert re.findall("<ins>(.*?)</ins>", change.after) == ["sixty", "without any delay", "immediately"]
    assert len(re.findall(r"unchanged words", change.after)) == 2
    # The folds hide nothing: opened, the whole text is there.
    whole = re.sub(r"<summary>.*?</summary>|<[^>]+>", "", change.after)
    assert "".join(whole.split()) == "".join(after.split())


@pytest.mark.parametrize(
    ("before", "after"), [("ab " * 9000, "ba " * 8000 + "x. " * 900), ("a" * 60000, "b" * 60000)]
)
def test_no_text_makes_the_comparison_slow(before, after):
    started = time.perf_counter()
    old, new = compare(before, after)
    assert time.perf_counter() - started < 2
    assert "".join(p.text for p in old) == before
    assert "".join(p.text for p in new) == after


# Values


def value(change, side="after"):
    return plain(getattr(shown_change(change), side))


@pytest.mark.parametrize(
    ("field_type", "stored", "said"),
    [
        ("BooleanField", True, "yes"),
        ("DecimalField", "1350.50", "1,350.50"),
        ("IntegerField", 2026, "2026"),
        ("DateField", "2026-12-31", "31 December 2026"),
        ("DateTimeField", "2026-03-03T10:42:00Z", "3 March 2026, 10:42"),
        ("TimeField", "10:42:00", "10:42"),
        ("DurationField", "P1DT02H15M00S", "1 d 2 h 15 min"),
        ("DurationField", "-P0DT00H00M00.500000S", "−0.500000 s"),
        ("FileField", "claims/2026/letter.pdf", "letter.pdf"),
        ("DateField", "not a date", "not a date"),
        ("CharField", "", "empty"),
        ("CharField", None, "empty"),
        ("BinaryField", {"base64": "AAEC"}, "binary, 3 bytes"),
        (
            "TextField",
            {"sha256": "ab12", "length": 70000},
            "too long to keep: 70,000 characters or bytes, SHA-256 ab12",
        ),
    ],
)
def test_a_value_is_shown_as_people_write_it(field_type, stored, said):
    assert (
        value(Change(field="f", field_type=field_type, before=None, after=stored)).replace("\xa0", " ")
        == said
    )


def test_choices_and_relations_are_shown_by_their_labels():
    assert value(STATUS) == "Approved"
    assert value(OWNER, "before") == "Bob"
    assert "<ins>" in shown_change(TAGS).after
    assert value(TAGS) == "Critical"
    assert value(TAGS, "before") == "Legacy"


def test_a_sealed_value_is_said_to_be_hidden_and_nothing_else(reader, db):
    change = shown_change(SSN)
    assert plain(change.after) == "•••••••• hidden"
    assert (
        plain(shown_change(Change(field="ssn", before=None, after={"sealed": {}}, sensitive=True)).before)
        == "empty"
    )
    (recorded,) = record(event(diff=diff(SSN)))
    assert "secretmac" not in page_of(reader, recorded)


def test_a_document_shows_only_the_entries_that_changed():
    said = plain(shown_change(COVERAGE).tree)
    assert said == "glass no to yes deductible 500 to 300 drivers #2 Bo to Cy limits water 5000 to 7500"


def test_a_document_that_came_or_went_is_shown_whole():
    assert plain(shown_change(Change(field="f", before=None, after={"a": {"b": [1]}})).tree) == "a b #1 1"
    mixed = shown_change(Change(field="f", before="text", after={"a": 1}))
    assert (plain(mixed.before), plain(mixed.after)) == ("text", "a 1")


def test_a_large_document_is_cut_and_says_so():
    tree = shown_change(Change(field="f", before={}, after={f"k{n}": n for n in range(500)})).tree
    assert "and 300 more entries" in tree
    deep = node = {}
    for _ in range(200):
        node["in"] = node = {}
    node["x"] = 1
    assert shown_change(Change(field="f", before=None, after=deep)).tree


def test_sixty_fields_are_folded_in_model_order():
    fields = diff(*(text(f"f{n}", "a", "b", position=60 - n) for n in range(60)))
    shown = shown_diff(event(diff=fields))
    assert [len(shown.first), len(shown.rest)] == [20, 40]
    assert [shown.first[0].field, shown.rest[-1].field] == ["f59", "f0"]


def test_a_created_object_has_one_column_and_an_action_of_that_name_may_have_two():
    assert shown_diff(event("create", diff=diff(text("a", None, "x")))).sides == ("after",)
    assert shown_diff(event("delete", diff=diff(text("a", "x", None)))).sides == ("before",)
    assert shown_diff(event("create", diff=diff(text("a", "x", "y")))).sides == ("before", "after")


@pytest.mark.parametrize(
    ("agent", "said"),
    [
        (REQUEST.user_agent, "Firefox 130 on Windows"),
        (
            "Mozilla/5.0 (iPhone; CPU iPhone OS 18_0) Version/18.0 Mobile/15E1 Safari/604.1",
            "Safari 18 on iPhone",
        ),
        ("Mozilla/5.0 (X11; Linux x86_64) Chrome/156.0 Safari/537.36 Edg/156.0", "Edge 156 on Linux"),
        ("curl/8.5.0", "curl 8"),
        ("Something else", "Something else"),
    ],
)
def test_a_user_agent_in_words(agent, said):
    assert in_words(agent) == said


# Pages


def test_the_page_shows_context_and_what_the_same_request_did(reader):
    one, two, other = record(
        event(context=REQUEST, reason="her letter", tenant="north"),
        event("delete", context=REQUEST),
        event(),
    )
    page = page_of(reader, one)
    said = plain(page)
    for words in (
        "her letter",
        "north",
        "203.0.113.9",
        "Firefox 130 on Windows",
        "POST /policies/7/edit/",
        "req-42",
    ):
        assert words in said
    assert reverse("audit:event", args=[two.id]) in page
    assert str(other.id) not in page
    assert 'href="/audit/?request=req-42"' in page


def test_raw_json_is_what_consumers_read(reader):
    (recorded,) = record(event())
    response = reader.get(reverse("audit:event-json", args=[recorded.id]))
    assert response["Content-Type"] == "application/json"
    assert response.json() == {**recorded.to_dict(), "seq": response.json()["seq"]}


EVIL = "<script>alert(1)</script>\"'><img src=x onerror=alert(2)>{{ 7|add:7 }}"


def evil_event():
    return Event(
        id=event().id,
        occurred_at=event().occurred_at,
        category=EVIL,
        action=EVIL,
        actor=Actor(id=EVIL, type=EVIL, username=EVIL + "u", email=EVIL + "e", repr=EVIL + "r"),
        on_behalf_of=Actor(id=EVIL, repr=EVIL),
        target=Target(type=EVIL, id=EVIL, repr=EVIL, kind=EVIL, kind_plural=EVIL),
        related=(Target(type=EVIL, id=EVIL, repr=EVIL),),
        tenant=EVIL,
        reason=EVIL,
        context=Context(
            **dict.fromkeys(("ip", "user_agent", "method", "path", "request_id", "source"), EVIL)
        ),
        diff={
            EVIL: text(EVIL, EVIL + " a", EVIL + " b", label=EVIL),
            "long": text("long", EVIL * 50, EVIL * 50 + "x"),
            "new": text("new", None, EVIL * 50),
            "doc": Change(field="doc", before={EVIL: EVIL}, after={EVIL: [EVIL * 20, {EVIL: EVIL}]}),
            "choice": text("choice", "a", "b", display={"before": EVIL, "after": EVIL}),
            "fk": Change(field="fk", relation="foreign_key", before={"pk": EVIL, "repr": EVIL}, after=None),
            "many": Change(
                field="many", relation="many_to_many", added=[{"pk": 1, "repr": EVIL}], removed=[EVIL]
            ),
            "file": Change(field="file", field_type="FileField", before=EVIL, after="x/" + EVIL),
            "money": Change(field="money", field_type="DecimalField", before=EVIL, after=EVIL),
            "digest": Change(field="digest", before={"sha256": EVIL, "length": 5}, after={"base64": EVIL}),
        },
    )


class Tags(HTMLParser):
    """What a browser would make of a page: tags with their attributes."""

    def __init__(self, html):
        super().__init__()
        self.found = []
        self.feed(html)

    def handle_starttag(self, tag, attributes):
        self.found.append((tag, dict(attributes)))


def test_everything_that_is_shown_is_escaped(reader):
    (recorded, *_) = record(evil_event(), evil_event())
    evil = quote(EVIL)
    addresses = [
        "/audit/",
        f"/audit/events/{recorded.id}/",
        "/audit/actors/",
        *(
            f"/audit/?{name}={evil}"
            for name in ("q", "model", "actor", "action", "request", "since", "cursor", "range")
        ),
        f"/audit/?model={evil}&object={evil}",
        f"/audit/news/?actor={evil}&after=WzBd",
        f"/audit/hints/?model=x&actor={evil}",
        f"/audit/login/?next={evil}",
    ]
    for address in addresses:
        for tag, attributes in Tags(reader.get(address).text).found:
            assert tag != "img", address
            assert tag != "script" or attributes["src"].startswith("/static/"), address
            assert not any(name.startswith("on") for name in attributes), address
            assert not str(attributes.get("href")).startswith("javascript"), address
    assert "&lt;script&gt;alert(1)" in reader.get("/audit/").text


def test_pages_have_no_inline_script_or_style_and_ask_no_other_host(reader):
    (recorded,) = record(event(context=REQUEST))
    pages = ["", "?q=zzz&actor=9", f"events/{recorded.id}/", "objects/", "actors/", "login/"]
    for page in pages:
        html = reader.get(f"/audit/{page}").text
        assert not re.search(r"<style|\sstyle=|\son[a-z]+=\"|<script(?![^>]*\ssrc=)|javascript:", html), page
        assert not re.search(r"(?:src|href)=\"(?:https?:)?//", html), page
