"""The index of words: whatever each database does to keep it cheap, what is written is found at once, and what is gone is not."""

import pytest
from django.db import connection, transaction

from audit_core.event import Actor
from audit_core.query import EventQuery
from audit_core.testing import make_event
from audit_django.insert import ARRAYS_FROM_ROWS
from audit_django.models import AuditEvent
from audit_django.models.search import FTS_BATCH, FTS_TABLE
from audit_django.outbox import DjangoOutbox
from audit_django.storages.database import DatabaseStorage

pytestmark = pytest.mark.django_db(transaction=True)

SOME = 2 * FTS_BATCH + 10


def written(words, together):
    """Events with these words in their diffs, written one by one or in groups."""
    events = [make_event(diff={"note": (None, word)}) for word in words]
    for start in range(0, len(events), together):
        with transaction.atomic():
            DjangoOutbox().append(events[start : start + together])
    return events


def found(text):
    return [
        recorded.event.diff["note"].after
        for recorded in DatabaseStorage().search(EventQuery(text=text)).events
    ]


@pytest.mark.parametrize("together", [1, 7, SOME])
def test_each_event_is_found_as_soon_as_it_is_there(together):
    words = [f"word{n:03} common" for n in range(SOME)]
    for start in range(0, SOME, together):
        written(words[start : start + together], together)
        last = words[start : start + together][-1]
        assert found(last) == [last]
    for n, word in enumerate(words):
        assert found(word) == [word], n
    assert found("common")[0] == words[-1]
    assert found("word00") == [word for word in reversed(words) if word.startswith("word00")]
    assert found("word001 word002") == found("ord001") == []


@pytest.mark.skipif(connection.vendor != "sqlite", reason="only SQLite's index is kept by triggers")
def test_sqlite_indexes_many_at_once_and_forgets_what_is_deleted():
    words = [f"word{n:03}" for n in range(SOME)]
    written(words, 1)
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT count(*) FROM {FTS_TABLE}_docsize")
        (indexed,) = cursor.fetchone()
    assert 0 < SOME - indexed < FTS_BATCH, "the last ones wait"
    numbers = list(AuditEvent.objects.order_by("number").values_list("number", flat=True))
    gone = [numbers[0], numbers[FTS_BATCH], numbers[-1]]  # indexed, and waiting
    with connection.cursor() as cursor:
        cursor.execute(f"DELETE FROM {AuditEvent._meta.db_table} WHERE number IN (%s, %s, %s)", gone)
    for word in (words[0], words[FTS_BATCH], words[-1]):
        assert found(word) == []
    assert found(words[1]) == [words[1]]
    written([f"later{n:03}" for n in range(FTS_BATCH)], 1)
    assert found("later000") == ["later000"]
    with connection.cursor() as cursor:
        cursor.execute(f"INSERT INTO {FTS_TABLE} ({FTS_TABLE}) VALUES ('integrity-check')")


@pytest.mark.parametrize(
    "label", ["unit \x1f separator", "record \x1e separator", "\x1e", "quote \" ' \\ %s"]
)
def test_texts_that_separate_other_texts_are_written_as_they_are(label):
    events = [make_event(actor=Actor(id=str(n), repr=label)) for n in range(ARRAYS_FROM_ROWS)]
    with transaction.atomic():
        DjangoOutbox().append(events)
    assert set(AuditEvent.objects.values_list("actor_label", flat=True)) == {label}
    assert AuditEvent.objects.count() == len(events)


def test_an_event_without_a_single_word_can_be_written():
    with transaction.atomic():
        DjangoOutbox().append(
            [make_event(action="!", target=None, actor=None, diff={}), make_event(action="?")]
        )
    assert AuditEvent.objects.order_by("number").values_list("search", flat=True)[0] == ""


def test_a_word_without_an_end_can_be_written():
    """PostgreSQL's words end at 2,046 bytes, and InnoDB indexes none of more than 84 characters."""
    long = "\U00010400" * 600
    written([long, "x" * 450], 2)
    assert AuditEvent.objects.count() == 2
    if connection.vendor != "mysql":
        assert found("x" * 420) == found("x" * 60) == ["x" * 450]


def test_indexes_with_conditions_are_no_news_to_any_database():
    assert AuditEvent.check(databases=["default"]) == []


def test_a_search_of_very_many_words_is_answered():
    written(["common"], 1)
    assert found(" ".join(["common"] * 2000)) == ["common"]
    assert found(" ".join(f"word{n}" for n in range(2000))) == []
