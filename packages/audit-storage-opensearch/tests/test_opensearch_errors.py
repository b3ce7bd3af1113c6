"""What the server may answer to a write, and who is told to do what. No server: the answers are canned."""

import json
import socketserver
import threading
from dataclasses import replace

import pytest
from opensearchpy import ConnectionError as LostConnection
from opensearchpy import ConnectionTimeout

from audit_core.errors import ConfigurationError, PartialWrite, PermanentError, RetryableError
from audit_core.query import EventQuery
from audit_core.testing import make_event, make_events
from audit_storage_opensearch.indices import month_of
from audit_storage_opensearch.storage import OpenSearchStorage

BULK = ("POST", "/_bulk")
SEARCH = ("POST", "/audit/_search")
FLUSHED = (200, {"_shards": {"total": 2, "successful": 1, "failed": 0}})
FLOOD = "index [a] blocked by: [TOO_MANY_REQUESTS/12/disk usage exceeded flood-stage watermark, …];"


def failure(kind, reason, **more):
    error = {"type": kind, "reason": reason}
    return {"error": {**error, "root_cause": [error]}, **more}


def items(events, **different):
    """A bulk answer: all events created but for those named by their place."""
    answers = []
    for n, event in enumerate(events):
        status, kind = different.get(f"e{n}", (201, None))
        error = {"error": {"type": kind, "reason": f"because of {kind}"}} if kind else {}
        answers.append({"create": {"_id": str(event.id), "status": status, **error}})
    return 200, {"items": answers}


@pytest.mark.parametrize(
    ("answer", "expected", "words"),
    [
        ((401, "Unauthorized"), ConfigurationError, "credentials"),
        ((403, failure("security_exception", "no permissions for [indices:data/write/bulk]")), ConfigurationError, "role"),
        ((403, failure("cluster_block_exception", "[FORBIDDEN/8/index write (api)]")), RetryableError, "blocks"),
        ((429, failure("cluster_block_exception", FLOOD)), RetryableError, "free"),
        ((404, failure("index_not_found_exception", "no such index [audit]")), ConfigurationError, "setup"),
        ((400, failure("illegal_argument_exception", "what")), ConfigurationError, "refuses"),
        ((413, "too large"), PermanentError, "max_bulk_bytes"),
        ((429, failure("circuit_breaking_exception", "Data too large")), RetryableError, "too much"),
        ((502, "Bad Gateway"), RetryableError, "502"),
        ((503, failure("cluster_manager_not_discovered_exception", "null")), RetryableError, "503"),
        ([ConnectionTimeout("TIMEOUT", "timed out", OSError())] * 9, RetryableError, "timeout_seconds"),
        ([LostConnection("N/A", "refused", OSError())] * 9, RetryableError, "reached"),
    ],
    ids=lambda value: str(value[0]) if isinstance(value, tuple) else "",
)  # fmt: skip
def test_a_request_that_fails(canned, monkeypatch, answer, expected, words):
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    storage = canned({BULK: answer, ("POST", "/audit/_search"): answer}).storage(
        username="audit", password="s3cret"
    )
    acts = [lambda: storage.write([make_event()]), lambda: storage.search(EventQuery())]
    if answer[0] == 404:
        acts.pop()  # a search where nothing was written yet finds nothing
    for act in acts:
        with pytest.raises(expected, match=words) as caught:
            act()
        assert "s3cret" not in f"{caught.value!r} {caught.value}"


@pytest.mark.parametrize(
    ("status", "kind", "expected"),
    [
        (429, "cluster_block_exception", RetryableError),
        (403, "cluster_block_exception", RetryableError),
        (403, "security_exception", ConfigurationError),
        (400, "strict_dynamic_mapping_exception", ConfigurationError),
        (400, "illegal_argument_exception", ConfigurationError),
        (503, "unavailable_shards_exception", RetryableError),
        (500, "null_pointer_exception", RetryableError),
    ],
)
def test_one_event_that_is_not_taken_now(canned, monkeypatch, status, kind, expected):
    # Also when another is refused for good: that can be said when all the others are kept.
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    events = make_events(3)
    answer = items(events, e1=(status, kind), e2=(400, "mapper_parsing_exception"))
    answers = [answer] + [items(events[1:2], e0=(status, kind))] * 2
    with pytest.raises(expected, match=kind):
        canned({BULK: answers}).storage().write(events)


def test_an_event_that_is_refused_for_good_is_named_and_the_others_are_kept(canned):
    events = make_events(3)
    server = canned({BULK: items(events, e1=(400, "mapper_parsing_exception"))})
    with pytest.raises(PartialWrite) as caught:
        server.storage().write(events)
    assert caught.value.reasons == {events[1].id: "because of mapper_parsing_exception"}
    assert len(server.asked(*BULK)) == 1


def test_a_refused_event_beside_those_of_a_new_month(canned):
    # What is named as refused says that all others are kept: so first they are.
    events = make_events(3)
    missing = (404, "index_not_found_exception")
    answers = [
        items(events, e0=missing, e1=(400, "mapper_parsing_exception"), e2=missing),
        items([events[0], events[2]]),
    ]
    month = month_of(events[0].id)
    made = ("PUT", f"/audit-v1-{month}")
    server = canned({BULK: answers, ("HEAD", "/_index_template/audit-v1"): (200, {}), made: (200, {})})
    with pytest.raises(PartialWrite) as caught:
        server.storage().write(events)
    assert caught.value.reasons.keys() == {events[1].id}
    assert server.answers[BULK] == []
    assert json.loads(server.asked(*made)[0][1]) == {"aliases": {f"audit-{month}": {}}}


def test_only_throttled_events_are_sent_again(canned, monkeypatch):
    waited = []
    monkeypatch.setattr("time.sleep", waited.append)
    events = make_events(4)
    rejected = (429, "rejected_execution_exception")
    answers = [
        items(events, e1=rejected, e3=rejected),
        items([events[1], events[3]], e0=rejected),
        items(events[1:2]),
    ]
    server = canned({BULK: answers})
    server.storage().write(events)
    sent = [body.count(b'{"create"') for _, body in server.asked(*BULK)]
    assert sent == [4, 2, 1]
    assert waited == [1, 2]


def test_what_stays_throttled_is_left_to_the_relay(canned, monkeypatch):
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    events = make_events(1)
    server = canned({BULK: items(events, e0=(429, "rejected_execution_exception"))})
    with pytest.raises(RetryableError, match="too much to do"):
        server.storage().write(events)
    assert len(server.asked(*BULK)) == 3


def test_what_is_there_already_is_flushed_to_the_disk(canned):
    events = make_events(2)
    month = f"audit-{month_of(events[0].id)}"
    flush = ("POST", f"/{month}/_flush")
    server = canned({BULK: items(events, e0=(409, "version_conflict_engine_exception")), flush: FLUSHED})
    server.storage().write(events)
    assert len(server.asked(*flush)) == 1


def test_what_does_not_come_to_the_disk_is_not_acknowledged(canned):
    events = make_events(2)
    flush = ("POST", f"/audit-{month_of(events[0].id)}/_flush")
    failed = (200, {"_shards": {"total": 2, "successful": 1, "failed": 1}})
    server = canned({BULK: items(events, e0=(409, "version_conflict_engine_exception")), flush: failed})
    with pytest.raises(RetryableError, match="disk"):
        server.storage().write(events)


@pytest.mark.parametrize(
    "answer", ["<html>Log in</html>", "", [], {}, {"items": []}, {"items": [{}]}, {"hits": {}}]
)
def test_the_answer_of_something_else_is_neither_an_acknowledgement_nor_a_page(canned, answer):
    events = make_events(3)
    path = f"/audit-{month_of(events[0].id)}/_doc/{events[0].id}"
    answers = {BULK: (200, answer), SEARCH: (200, answer), ("GET", path): (200, answer)}
    storage = canned(answers).storage()
    for act in (
        lambda: storage.write(events),
        lambda: storage.search(EventQuery()),
        lambda: storage.get(events[0].id),
        lambda: storage.histogram(EventQuery(), "day"),
    ):
        with pytest.raises(RetryableError):
            act()


@pytest.mark.parametrize("data", [[], 7, {"error": []}, "<html>"])
def test_a_refusal_that_is_not_opensearchs(canned, monkeypatch, data):
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    with pytest.raises(RetryableError):
        canned({BULK: (502, data)}).storage().write(make_events(1))


def test_an_answer_for_some_of_the_events_is_none(canned):
    events = make_events(3)
    with pytest.raises(RetryableError, match="for 2 of 3"):
        canned({BULK: items(events[:2])}).storage().write(events)


def test_an_event_that_is_somewhere_else_is_not_missing(canned):
    event = make_event()
    path = f"/audit-{month_of(event.id)}/_doc/{event.id}"
    answers = {
        ("HEAD", "/_index_template/audit-v1"): (404, ""),
        ("GET", path): (404, "<html>Not Found</html>"),
    }
    with pytest.raises(ConfigurationError, match="index template"):
        canned(answers).storage().get(event.id)
    with pytest.raises(KeyError):
        canned({("GET", path): (404, {"_id": str(event.id), "found": False})}).storage().get(event.id)


def test_an_event_whose_text_is_damaged_keeps_nobody_out(canned):
    events = make_events(3)
    damaged = replace(events[1], text='{"id": 1')
    server = canned({})
    with pytest.raises(PartialWrite) as caught:
        server.storage().write([events[0], damaged, events[2]])
    assert caught.value.reasons.keys() == {damaged.id}
    [(_, body)] = server.asked(*BULK)
    assert [line["create"]["_id"] for line in server.operations(body)] == [
        str(events[0].id),
        str(events[2].id),
    ]


def test_a_label_that_is_no_utf8_is_made_visible(canned):
    event = make_event()
    data = {
        **event.event.to_dict(),
        "actor": {"id": "1", "repr": "A\ud800"},
        "target": {"type": "a.B", "repr": "\ud800"},
    }
    server = canned({})
    server.storage().write([replace(event, text=json.dumps(data))])
    [(_, body)] = server.asked(*BULK)
    kept = json.loads(body.splitlines()[1])
    assert (kept["actor"], kept["target"]) == ("A\\ud800", "\\ud800")


def test_a_search_never_leaves_out_the_events_of_a_part_that_fails(canned):
    search = ("POST", "/audit/_search")
    server = canned({search: (200, {"hits": {"hits": []}})})
    server.storage().search(EventQuery())
    [(params, _)] = server.asked(*search)
    assert params["allow_partial_search_results"] == b"false"


@pytest.mark.parametrize(
    "heard",
    [
        b"HTTP/1.1 200 OK",
        b"HTTP/1.1 200 OK\r\ncontent-ty",
        b"HTTP/1.1 200 OK\r\ncontent-length: 300\r\n\r\n{",
    ],
)
def test_an_answer_that_ends_too_early(heard):
    class Answer(socketserver.StreamRequestHandler):
        def handle(self):
            self.request.recv(65536)
            self.wfile.write(heard)

    with socketserver.TCPServer(("127.0.0.1", 0), Answer) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        storage = OpenSearchStorage(
            f"http://127.0.0.1:{server.server_address[1]}", client={"max_retries": 0}, retention_days=None
        )
        events = make_events(1, first_seq=1)
        calls = [
            lambda: storage.write(events),
            lambda: storage.get(events[0].id),
            lambda: storage.search(EventQuery()),
            lambda: storage.prune(events[0].event.occurred_at),
            storage.setup,
        ]
        for call in calls:
            with pytest.raises(RetryableError, match="cannot be reached"):
                call()
        storage.close()
        server.shutdown()


def test_a_server_that_cannot_be_reached():
    storage = OpenSearchStorage("http://audit:s3cret@127.0.0.1:9", timeout_seconds=2)
    with pytest.raises(RetryableError, match="cannot be reached") as caught:
        storage.write([make_event()])
    assert "s3cret" not in f"{caught.value!r} {caught.value}"
    assert any("cannot be reached" in problem for problem in storage.check())
    storage.close()
