"""What check() says, and the retention policy. No server: the answers are canned."""

import json
import re
import time

import pytest
from opensearchpy import ConnectionError as LostConnection

from audit_core.errors import ConfigurationError
from audit_core.ids import uuid7
from audit_storage_opensearch.indices import FIELDS, Names, month_of
from audit_storage_opensearch.storage import OpenSearchStorage

HEALTH = ("GET", "/_cat/health")
TEMPLATE = ("GET", "/_index_template/audit-v1")
INDICES = ("GET", "/audit-v1-*")
STATE = ("GET", "/_cluster/health/audit-v1-*")
POLICY = ("GET", "/_plugins/_ism/policies/audit-retention")
BULK = ("POST", "/_bulk")


def clock(offset=0.0):
    return lambda body: (200, [{"epoch": str(int(time.time() + offset))}])


def template(fields=FIELDS):
    return 200, {"index_templates": [{"index_template": {"template": {"mappings": {"properties": fields}}}}]}


def index(fields=FIELDS, settings=None, aliases=("audit",)):
    found = {
        "mappings": {"properties": fields},
        "settings": settings or {},
        "aliases": {alias: {} for alias in aliases},
    }
    return 200, {"audit-v1-2026.03": found}


def probe(status=404, kind="index_not_found_exception", reason="no such index"):
    item = {"_id": "check", "status": status, "error": {"type": kind, "reason": reason}}
    return 200, {"items": [{"create": item}]}


def policy(age):
    transition = {"state_name": "deleted", "conditions": {"min_index_age": age}}
    return 200, {
        "_seq_no": 7,
        "_primary_term": 2,
        "policy": {"states": [{"name": "kept", "transitions": [transition]}]},
    }


GOOD = {HEALTH: clock(), TEMPLATE: template(), INDICES: index(), BULK: probe()}


def check(canned, answers, **options):
    return canned({**GOOD, **answers}).storage(**options).check()


def test_a_good_server_has_no_problems(canned):
    assert check(canned, {}) == []
    assert check(canned, {POLICY: policy("397d")}, retention_days=365) == []


@pytest.mark.parametrize(
    ("answers", "words"),
    [
        ({("GET", "/"): LostConnection("N/A", "refused", OSError())}, "cannot be reached"),
        ({("GET", "/"): (401, "Unauthorized")}, "credentials"),
        ({("GET", "/"): (200, {"version": {"number": "8.15.0"}})}, "no OpenSearch"),
        ({("GET", "/"): (200, {"version": {"distribution": "opensearch", "number": "1.3.2"}})}, "1.3.2"),
        ({HEALTH: clock(3600)}, "3600 s ahead"),
        ({HEALTH: clock(-3600)}, "3600 s behind"),
        ({HEALTH: (403, "no permissions for [cluster:monitor/health]")}, "cluster:monitor/health"),
        (
            {BULK: probe(403, "security_exception", "no permissions for [indices:data/write/bulk[s]]")},
            "write/bulk",
        ),
        ({BULK: probe(429, "rejected_execution_exception", "full")}, "too much to do"),
        ({TEMPLATE: (404, {"error": "missing"})}, "template audit-v1 is missing"),
        ({TEMPLATE: template({"id": FIELDS["id"]})}, "template audit-v1 has not the fields"),
        ({INDICES: index({**FIELDS, "seq": {"type": "text"}})}, r"audit-v1-2026.03 has not .* \(seq are"),
        ({INDICES: index(settings={"index.translog.durability": "async"})}, "lost in a crash"),
        ({INDICES: index(settings={"index.blocks.read_only_allow_delete": "true"})}, "takes no writes"),
        ({INDICES: index(aliases=())}, "lost its alias"),
        ({STATE: (200, {"indices": {"audit-v1-2026.03": {"status": "red"}}})}, "not available"),
        ({STATE: (200, {"indices": {"audit-v1-2026.03": {"status": "yellow"}}})}, "fewer copies"),
    ],
)
def test_each_problem_is_told_alone(canned, answers, words):
    [problem] = check(canned, answers)
    assert re.search(words, problem), problem


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (policy("397d"), None),
        (policy("30d"), "does not keep events for 365 days"),
        ((404, {"error": "not found"}), "missing, so events are kept for ever"),
        ((400, {"error": "no handler found for uri [/_plugins/_ism]"}), "Index State Management"),
        ((403, "no permissions for [cluster:admin/opendistro/ism/policy/get]"), "ism/policy/get"),
    ],
)
def test_the_retention_policy_is_looked_at(canned, answer, words):
    problems = check(canned, {POLICY: answer}, retention_days=365)
    assert len(problems) == (words is not None)
    assert words is None or words in problems[0]


def test_a_policy_that_is_not_wanted_any_more_is_told(canned):
    [problem] = check(canned, {POLICY: policy("397d")}, retention_days=None)
    assert "goes on deleting" in problem
    assert "_plugins/_ism/remove/audit-v1-*" in problem


def test_a_month_that_is_to_come_would_be_deleted_too_early(canned):
    # The policy counts from the day on which the index was made.
    this = f"audit-v1-{month_of(uuid7())}"
    indices = {("GET", "/audit-v1-*.*/_alias"): (200, {this: {}, "audit-v1-2999.01": {}})}
    [problem] = check(canned, {POLICY: policy("397d"), **indices}, retention_days=365)
    assert problem.startswith("audit-v1-2999.01 is of a month to come")


@pytest.mark.parametrize("answer", ["<html>Log in</html>", "", [], {}, {"items": []}])
def test_what_is_not_opensearch_is_told(canned, answer):
    storage = canned(dict.fromkeys([("GET", "/"), HEALTH, BULK, TEMPLATE, INDICES], (200, answer))).storage()
    assert any("not OpenSearch" in problem for problem in storage.check())


def test_a_client_that_cannot_be_made_is_a_problem_in_words():
    [problem] = OpenSearchStorage("https://localhost:9200", client={"ca_certs": ""}).check()
    assert "cannot be made" in problem


def test_a_permission_is_tried_where_no_storage_can_have_an_alias(canned):
    server = canned(GOOD)
    server.storage().check()
    [place] = [line["create"]["_index"] for line in server.operations(server.asked(*BULK)[0][1])]
    with pytest.raises(ConfigurationError):
        Names(place)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"hosts": "http://search.example.com"}, "without encryption"),
        ({"hosts": ["https://a.example", "http://b.example"]}, "without encryption"),
        ({"hosts": "http://127.0.0.1:9200"}, None),
        ({"client": {"verify_certs": False}}, "not verified"),
    ],
)
def test_the_protection_of_the_connection_is_looked_at(canned, options, words):
    problems = check(canned, {}, **options)
    assert len(problems) == (words is not None)
    assert words is None or words in problems[0]


# setup() and the policy, which the test server does not have

PUT = ("PUT", "/_plugins/_ism/policies/audit-retention")
ADD = ("POST", "/_plugins/_ism/add/audit-v1-*.*")
CHANGE = ("POST", "/_plugins/_ism/change_policy/audit-v1-*.*")
DONE = (200, {})
ISM = {PUT: DONE, ADD: DONE, CHANGE: DONE}


def test_setup_creates_the_policy(canned):
    server = canned({**ISM, POLICY: (404, {"error": "not found"})})
    server.storage(retention_days=365).setup()
    [(params, body)] = server.asked(*PUT)
    policy = json.loads(body)["policy"]
    assert policy["states"][0]["transitions"][0]["conditions"] == {
        "min_index_age": "397d"
    }  # 365, a whole month, and a day for clocks that are ahead
    assert policy["states"][1]["actions"] == [{"delete": {}}]
    assert policy["ism_template"][0]["index_patterns"] == [
        "audit-v1-*.*"
    ]  # not the undated index: it never ends
    assert not params
    assert server.asked(*ADD) == []  # no index is there yet


def test_setup_changes_the_policy_and_that_of_the_indices(canned):
    there = {("GET", "/audit-v1-*.*/_alias"): (200, {"audit-v1-2026.03": {}})}
    server = canned({**ISM, **there, POLICY: policy("30d")})
    server.storage(retention_days=365).setup()
    [(params, _)] = server.asked(*PUT)
    assert params == {"if_seq_no": 7, "if_primary_term": 2}
    for request in (ADD, CHANGE):
        assert json.loads(server.asked(*request)[0][1]) == {"policy_id": "audit-retention"}


def test_setup_leaves_a_right_policy_alone(canned):
    server = canned({**ISM, POLICY: policy("397d")})
    server.storage(retention_days=365).setup()
    assert server.asked(*PUT) == []


def test_setup_does_without_the_plugin_and_without_retention(canned):
    canned({}).storage(retention_days=365).setup()
    server = canned({})
    server.storage(retention_days=None).setup()
    assert server.asked(*POLICY) == []
