"""What MongoDB's errors become: who should act, what to do, and that nothing is given away."""

from __future__ import annotations

import pytest
from bson.errors import InvalidDocument
from pymongo import ReadPreference, errors

from audit_core.errors import ConfigurationError, PartialWrite, PermanentError, RetryableError
from audit_core.testing import make_event, make_events
from audit_storage_mongodb.bulk import insert
from audit_storage_mongodb.errors import explain


def failure(code, errmsg="said so", **reply):
    return errors.OperationFailure(errmsg, code, {"ok": 0, "code": code, "errmsg": errmsg, **reply})


@pytest.mark.parametrize(
    ("error", "kind", "words"),
    [
        (failure(13, "not authorized on audit"), ConfigurationError, "does not permit it: not authorized on audit"),
        (failure(18, "Authentication failed."), ConfigurationError, "refused the credentials"),
        (failure(8000, "bad auth"), ConfigurationError, "refused the credentials"),
        (failure(8000, "you are over your space quota"), RetryableError, "Atlas could not do it: you are over"),
        (failure(85, "Index already exists with different options"), ConfigurationError, "Drop the index"),
        (failure(86, "An existing index has the same name"), ConfigurationError, "Drop the index"),
        (failure(100, "Not enough data-bearing nodes"), ConfigurationError, "Set w in the uri"),
        (failure(14031, "available disk space"), RetryableError, "disk is full. Free or add space"),
        (failure(371, "User writes blocked"), RetryableError, "Unblock them"),
        (failure(449, "overloaded"), RetryableError, "could not do it now: overloaded (code 449)."),
        (failure(None), RetryableError, "could not do it now"),
        (errors.NotPrimaryError("not primary"), RetryableError, "did not answer: not primary"),
        (errors.NetworkTimeout("timed out"), RetryableError, "did not answer: timed out"),
        (errors.AutoReconnect("connection closed"), RetryableError, "Is it running"),
        (errors.ServerSelectionTimeoutError("refused, Timeout: 2s, Topology <x>"), RetryableError, "answer: refused. "),
        (errors.ExecutionTimeout("slow", 50, {"errmsg": "slow"}), RetryableError, "slow (code 50)"),
        (errors.AutoReconnect("SSL: CERTIFICATE_VERIFY_FAILED"), ConfigurationError, "tlsCAFile"),
        (errors.InvalidName("no '.'"), ConfigurationError, "as configured: no '.'"),
        (errors.DocumentTooLarge("BSON document too large (20 bytes)"), PermanentError, "too large (20 bytes)"),
        (InvalidDocument("cannot encode"), PermanentError, "cannot hold this event"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else None,
)  # fmt: skip
def test_each_error_says_who_should_act(error, kind, words):
    explained = explain(error)
    assert type(explained) is kind
    assert words in str(explained)


def test_an_overloaded_server_says_when_to_come_again():
    assert explain(failure(449, baseBackoffMS=1500)).retry_after_seconds == 1.5
    assert explain(failure(449)).retry_after_seconds is None


class Refusing:
    """A collection whose bulk write ends with this result."""

    full_name = "audit.events"

    def __init__(self, *write_errors, concerns=(), there=None):
        self.write_errors, self.concerns, self.there = write_errors, concerns, there
        self.written, self.texts = [], []

    def index_information(self):
        key = {"key": [("order", 1)], "unique": True}
        return {"_id_": {"key": [("_id", 1)]}, **({} if self.there is None else {"mine": key})}

    def with_options(self, *, read_preference):
        assert read_preference == ReadPreference.PRIMARY
        return self

    def find(self, where, projection):
        return [{"_id": id_} for id_ in where["_id"]["$in"] if id_ in self.there]

    def bulk_write(self, requests, *, ordered):
        assert ordered is False
        self.written += [request._doc["_id"] for request in requests]
        self.texts += [request._doc.get("text") for request in requests]
        found = [{"op": requests[error["index"]]._doc, **error} for error in self.write_errors]
        if found or self.concerns:
            raise errors.BulkWriteError({"writeErrors": found, "writeConcernErrors": list(self.concerns)})


DOCUMENTS = [{"_id": n} for n in range(4)]
DUPLICATE = {"index": 0, "code": 11000, "errmsg": "E11000 duplicate key", "keyPattern": {"_id": 1}}
TOO_LARGE = {"index": 1, "code": 10334, "errmsg": "object to insert too large"}
INVALID = {"index": 2, "code": 121, "errmsg": "Document failed validation"}
CONFLICT = {"index": 3, "code": 112, "errmsg": "WriteConflict"}


class TestBulk:
    def test_what_is_there_already_is_no_error(self):
        assert insert(Refusing(DUPLICATE), DOCUMENTS) == {}

    def test_a_server_that_names_no_index_is_asked_what_is_there(self):
        unnamed = [{"index": index, "code": 11000} for index in (1, 2)]
        assert insert(Refusing(*unnamed), DOCUMENTS) == {}  # no other unique index: nothing to ask
        assert insert(Refusing(*unnamed, there=[1, 2]), DOCUMENTS) == {}
        with pytest.raises(ConfigurationError, match=r"unique index \(mine\) keeps events out"):
            insert(Refusing(*unnamed, there=[1]), DOCUMENTS)

    def test_what_is_refused_is_named(self):
        assert insert(Refusing(DUPLICATE, TOO_LARGE, INVALID), DOCUMENTS) == {
            1: "MongoDB refused it: object to insert too large (code 10334)",
            2: "MongoDB refused it: Document failed validation (code 121)",
        }

    def test_what_may_pass_comes_before_what_is_refused(self):
        # The batch comes again, and then the refused one is named.
        with pytest.raises(RetryableError, match="WriteConflict"):
            insert(Refusing(TOO_LARGE, CONFLICT, DUPLICATE), DOCUMENTS)

    def test_another_unique_index_loses_nothing(self):
        foreign = {**DUPLICATE, "keyPattern": {"order": 1}}
        with pytest.raises(
            ConfigurationError, match=r"unique index \(on order\) keeps events out of audit\.events"
        ):
            insert(Refusing(foreign), DOCUMENTS)

    @pytest.mark.parametrize(
        ("code", "kind"), [(64, RetryableError), (91, RetryableError), (100, ConfigurationError)]
    )
    def test_what_no_majority_has_confirmed_is_not_stored(self, code, kind):
        with pytest.raises(kind):
            insert(
                Refusing(DUPLICATE, concerns=[{"code": code, "errmsg": "waiting for replication"}]), DOCUMENTS
            )

    def test_nothing_is_sent_for_nothing(self):
        collection = Refusing(CONFLICT)
        assert insert(collection, []) == {}
        assert collection.written == []


class TestWrite:
    @pytest.fixture
    def storage(self, offline):
        storage = offline()
        storage._events, storage._chunks = Refusing(), Refusing()
        return storage

    def test_refused_events_are_named_and_the_others_kept(self, storage):
        events = make_events(4, first_seq=1)
        storage._events = Refusing(DUPLICATE, TOO_LARGE)
        with pytest.raises(PartialWrite) as caught:
            storage.write(events)
        assert caught.value.reasons == {
            events[1].id: "MongoDB refused it: object to insert too large (code 10334)"
        }
        assert storage._events.written == [event.id for event in events]

    def test_an_event_whose_chunk_is_refused_is_not_there(self, storage, monkeypatch):
        monkeypatch.setattr("audit_storage_mongodb.documents.MAX_TEXT_BYTES", 600)
        small = make_event(seq=1)
        large = make_event(seq=2, reason="x" * 2000)
        storage._chunks = Refusing({**TOO_LARGE, "index": 1})
        with pytest.raises(PartialWrite) as caught:
            storage.write([small, large])
        assert caught.value.reasons.keys() == {large.id}
        assert storage._events.written == [small.id]

    def test_of_one_id_the_first_in_the_batch_is_sent(self, storage):
        first = make_event(seq=1)
        storage.write([first, make_event(id=first.id, action="forged", seq=1)])
        assert storage._events.texts == [first.text]

    def test_a_text_that_is_no_event_is_refused_alone(self, storage):
        good, bad = make_event(seq=1), make_event(seq=2)
        damaged = type(bad)(bad.id, "{}", bad.leaf_hash, seq=2)
        with pytest.raises(PartialWrite, match="no event"):
            storage.write([damaged, good])
        assert storage._events.written == [good.id]

    def test_no_message_holds_an_event(self, storage):
        storage._events = Refusing(CONFLICT, concerns=[])
        secret = "4111-1111"
        with pytest.raises(RetryableError) as caught:
            storage.write([make_event(reason=secret, seq=n) for n in range(4)])
        assert secret not in str(caught.value)


def test_a_server_that_is_not_there_is_an_outage(offline):
    storage = offline(timeout_seconds=0.2)
    with pytest.raises(RetryableError, match="did not answer.*localhost:1") as caught:
        storage.write([make_event(seq=1)])
    assert "Topology" not in str(caught.value)
    [problem] = storage.check()
    assert "Is it running" in problem
