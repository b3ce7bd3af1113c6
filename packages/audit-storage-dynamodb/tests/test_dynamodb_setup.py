"""setup() makes what is missing; check() says what is."""

import re
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from uuid import uuid4

import pytest

from audit_core.errors import ConfigurationError, RetryableError
from audit_core.query import EventQuery
from audit_core.testing import make_events
from audit_storage_dynamodb.table import definition

pytestmark = pytest.mark.integration


@pytest.fixture
def fresh(endpoint, make_storage, faults):
    """A storage whose table does not exist."""
    storage = make_storage(f"test-{uuid4()}", endpoint_url=endpoint, point_in_time_recovery=False)
    yield storage
    client = faults.client(storage)
    if storage.table in client.list_tables()["TableNames"]:
        client.delete_table(TableName=storage.table)


def test_setup_makes_the_table(fresh, faults):
    assert fresh.check() == [
        f"The table {fresh.table!r} or one of its indexes does not exist. Run setup (`audit setup`), or "
        f"correct the region or the option `table`."
    ]
    fresh.setup()
    assert fresh.check() == []
    client = faults.client(fresh)
    table = client.describe_table(TableName=fresh.table)["Table"]
    assert table["BillingModeSummary"]["BillingMode"] == "PAY_PER_REQUEST"
    ttl = client.describe_time_to_live(TableName=fresh.table)["TimeToLiveDescription"]
    assert ttl == {"AttributeName": "expires_at", "TimeToLiveStatus": "ENABLED"}


def test_setup_again_asks_for_nothing_new(fresh, faults):
    fresh.setup()
    with faults.count(fresh) as calls:
        fresh.setup()
    assert "UpdateTable" not in calls
    assert "UpdateTimeToLive" not in calls


def test_setup_adds_a_missing_index_and_lists_old_events_in_it(fresh, faults):
    older = definition(fresh.table)
    older["GlobalSecondaryIndexes"] = [
        index for index in older["GlobalSecondaryIndexes"] if index["IndexName"] != "by_actor"
    ]
    older["AttributeDefinitions"] = [
        item for item in older["AttributeDefinitions"] if item["AttributeName"] != "actor_shard"
    ]
    faults.client(fresh).create_table(**older)
    events = make_events(3, first_seq=1)
    fresh.write(events)
    assert fresh.check() == [f"The table {fresh.table!r} has no index 'by_actor': run setup (`audit setup`)."]
    with pytest.raises(ConfigurationError, match="has no index 'by_actor'"):
        fresh.search(EventQuery(actor_id="7"))
    fresh.setup()
    assert fresh.check() == []
    assert len(fresh.search(EventQuery(actor_id="7")).events) == 3


def test_a_table_of_somebody_else_is_left_alone(fresh, faults):
    client = faults.client(fresh)
    client.create_table(
        TableName=fresh.table,
        BillingMode="PAY_PER_REQUEST",
        AttributeDefinitions=[{"AttributeName": "pk", "AttributeType": "S"}],
        KeySchema=[{"AttributeName": "pk", "KeyType": "HASH"}],
    )
    with pytest.raises(ConfigurationError, match="other keys than event_id and item: it is not ours"):
        fresh.setup()
    assert "not ours" in fresh.check()[0]
    with pytest.raises(ConfigurationError, match="not ours"):
        fresh.write(make_events(2, first_seq=1))
    assert client.scan(TableName=fresh.table)["Count"] == 0


def test_an_index_of_another_shape_is_named(fresh, faults):
    other = definition(fresh.table)
    other["GlobalSecondaryIndexes"][0]["Projection"] = {"ProjectionType": "KEYS_ONLY"}
    faults.client(fresh).create_table(**other)
    assert "index 'history'" in fresh.check()[0]
    assert "delete the index, and run setup" in fresh.check()[0]
    with pytest.raises(ConfigurationError, match="delete the index"):
        fresh.setup()


def without(table, *indexes):
    """The definition of a table that an earlier version has made."""
    older = definition(table)
    older["GlobalSecondaryIndexes"] = [
        index for index in older["GlobalSecondaryIndexes"] if index["IndexName"] not in indexes
    ]
    keys = [key["AttributeName"] for index in older["GlobalSecondaryIndexes"] for key in index["KeySchema"]]
    older["AttributeDefinitions"] = [
        item for item in older["AttributeDefinitions"] if item["AttributeName"] in ("event_id", "item", *keys)
    ]
    return older


def test_indexes_are_added_one_at_a_time_and_with_no_attribute_that_none_has(fresh, faults):
    # DynamoDB refuses definitions of attributes that are no key; DynamoDB Local does not.
    faults.client(fresh).create_table(**without(fresh.table, "by_tenant", "by_actor"))
    asked = []
    with faults.change_request(fresh, "UpdateTable", asked.append):
        fresh.setup()
    there = {"event_id", "item", "target", "number", "shard", "at"}
    names = [{item["AttributeName"] for item in one["AttributeDefinitions"]} for one in asked]
    assert names == [there | {"tenant_shard"}, there | {"tenant_shard", "actor_shard"}]
    assert fresh.check() == []


def test_an_index_of_a_table_with_provisioned_capacity_gets_as_much(fresh, faults):
    capacity = {"ReadCapacityUnits": 7, "WriteCapacityUnits": 9}
    older = without(fresh.table, "by_actor") | {
        "BillingMode": "PROVISIONED",
        "ProvisionedThroughput": capacity,
    }
    for index in older["GlobalSecondaryIndexes"]:
        index["ProvisionedThroughput"] = capacity
    faults.client(fresh).create_table(**older)
    fresh.setup()
    assert fresh.check() == []
    table = faults.client(fresh).describe_table(TableName=fresh.table)["Table"]
    [made] = [index for index in table["GlobalSecondaryIndexes"] if index["IndexName"] == "by_actor"]
    assert capacity.items() <= made["ProvisionedThroughput"].items()


def test_a_table_that_was_just_made_may_not_be_known_yet(fresh, faults, monkeypatch):
    monkeypatch.setattr("audit_storage_dynamodb.table._POLL_SECONDS", 0.001)
    answers = iter([faults.refusal("ResourceNotFoundException")] * 3)
    with faults.answer(fresh, "DescribeTable", lambda: next(answers, None)):
        fresh.setup()
    assert fresh.check() == []


@pytest.mark.parametrize("status", ["ARCHIVED", "INACCESSIBLE_ENCRYPTION_CREDENTIALS", "CREATING"])
def test_a_table_that_is_not_served_is_named_and_refuses_no_event(storage, faults, status):
    table = faults.client(storage).describe_table(TableName=storage.table)
    table["Table"]["TableStatus"] = status
    with (
        faults.answer(storage, "DescribeTable", lambda: table),
        faults.answer(storage, "BatchExecuteStatement", lambda: faults.refusal("ValidationException")),
    ):
        [problem] = storage.check()
        assert f"is {status}" in problem
        with pytest.raises(ConfigurationError, match=f"is {status}"):
            storage.write(make_events(2, first_seq=1))
        if status != "CREATING":
            with pytest.raises(ConfigurationError, match=f"is {status}"):
                storage.setup()


def test_an_index_that_is_being_built_is_named(storage, faults):
    table = faults.client(storage).describe_table(TableName=storage.table)
    table["Table"]["GlobalSecondaryIndexes"][1]["IndexStatus"] = "CREATING"
    name = table["Table"]["GlobalSecondaryIndexes"][1]["IndexName"]
    with faults.answer(storage, "DescribeTable", lambda: table):
        [problem] = storage.check()
    assert f"The index {name!r}" in problem
    assert "is CREATING" in problem


# point-in-time recovery, which DynamoDB Local does not know


def recovery(status):
    point = {"PointInTimeRecoveryStatus": status}
    return {
        "ContinuousBackupsDescription": {
            "ContinuousBackupsStatus": "ENABLED",
            "PointInTimeRecoveryDescription": point,
        }
    }


def test_a_server_without_recovery_is_set_up_and_named(endpoint, storage, make_storage):
    storage = make_storage(storage.table, endpoint_url=endpoint)
    storage.setup()
    [problem] = storage.check()
    assert "does not know point-in-time recovery: it is DynamoDB Local" in problem
    assert "Set point_in_time_recovery to False" in problem


def test_setup_switches_recovery_on(endpoint, storage, make_storage, faults):
    storage = make_storage(storage.table, endpoint_url=endpoint)
    asked = []
    with (
        faults.answer(storage, "DescribeContinuousBackups", lambda: recovery("DISABLED")),
        faults.answer(storage, "UpdateContinuousBackups", lambda: recovery("ENABLED")),
        faults.change_request(storage, "UpdateContinuousBackups", asked.append),
    ):
        [problem] = storage.check()
        assert "recovery is off" in problem
        storage.setup()
    assert asked[0]["PointInTimeRecoverySpecification"] == {"PointInTimeRecoveryEnabled": True}
    with faults.answer(storage, "DescribeContinuousBackups", lambda: recovery("ENABLED")):
        assert storage.check() == []


def test_recovery_of_a_table_that_was_just_made_is_waited_for(
    endpoint, storage, make_storage, faults, monkeypatch
):
    monkeypatch.setattr("audit_storage_dynamodb.table._POLL_SECONDS", 0.001)
    storage = make_storage(storage.table, endpoint_url=endpoint)
    answers = iter([*[faults.refusal("ContinuousBackupsUnavailableException")] * 2, recovery("ENABLED")])
    with (
        faults.answer(storage, "DescribeContinuousBackups", lambda: recovery("DISABLED")),
        faults.answer(storage, "UpdateContinuousBackups", lambda: next(answers)),
    ):
        storage.setup()
    assert list(answers) == []


# retention


def test_a_time_to_live_of_another_attribute_is_a_matter_for_a_person(fresh, faults):
    client = faults.client(fresh)
    client.create_table(**definition(fresh.table))
    other = {"Enabled": True, "AttributeName": "other"}
    client.update_time_to_live(TableName=fresh.table, TimeToLiveSpecification=other)
    with pytest.raises(ConfigurationError, match="is on for the attribute other"):
        fresh.setup()


def test_a_time_to_live_that_is_being_switched_off_is_waited_for_by_the_person(storage, faults):
    ending = {"TimeToLiveDescription": {"TimeToLiveStatus": "DISABLING", "AttributeName": "expires_at"}}
    with (
        faults.answer(storage, "DescribeTimeToLive", lambda: ending),
        pytest.raises(RetryableError, match="Run setup again then"),
    ):
        storage.setup()


def test_a_retention_that_the_table_does_not_apply_is_named(endpoint, storage, make_storage, faults):
    short = make_storage(
        storage.table, endpoint_url=endpoint, retention_days=30, point_in_time_recovery=False
    )
    assert short.check() == []
    off = {"TimeToLiveDescription": {"TimeToLiveStatus": "DISABLED"}}
    with faults.answer(short, "DescribeTimeToLive", lambda: off):
        [problem] = short.check()
        assert "time to live is DISABLED" in problem
    with faults.answer(storage, "DescribeTimeToLive", lambda: off):
        assert storage.check() == []  # nothing ends


# permissions, clock, TLS


@pytest.mark.parametrize(
    ("operation", "permission"),
    [
        ("DescribeTable", "dynamodb:DescribeTable"),
        ("BatchExecuteStatement", "dynamodb:PartiQLInsert"),
        ("BatchGetItem", "dynamodb:BatchGetItem"),
        ("Query", "dynamodb:Query"),
    ],
)
def test_a_missing_permission_is_named(storage, faults, operation, permission):
    message = f"User: arn:aws:iam::1:role/audit is not authorized to perform: {permission}"
    with faults.answer(storage, operation, lambda: faults.refusal("AccessDeniedException", message)):
        [problem] = storage.check()
    assert permission in problem
    assert "lack a permission" in problem


def test_a_role_that_only_adds_is_enough_to_write(storage, faults):
    forbidden = {"PutItem", "BatchWriteItem", "DeleteItem", "UpdateItem", "TransactWriteItems"}
    with faults.count(storage) as calls:
        storage.write(make_events(30, first_seq=1))
        storage.check()
    assert not forbidden & set(calls)


@pytest.mark.parametrize(("hours", "words"), [(-1, "ahead of"), (1, "behind")])
def test_a_clock_that_is_an_hour_off_is_named(storage, faults, hours, words):
    def date(parsed):
        moment = datetime.now(UTC) + timedelta(hours=hours)
        parsed["ResponseMetadata"]["HTTPHeaders"]["date"] = format_datetime(moment, usegmt=True)

    with (
        faults.change_response(storage, "DescribeTable", date),
        faults.answer(storage, "BatchGetItem", lambda: faults.refusal("AccessDeniedException")),
    ):
        problem, another = storage.check()
    assert "lack a permission" in another
    assert re.search(rf"is (3599|3600|3601) s {words}", problem)
    assert "Synchronize it" in problem


def test_the_server_says_what_time_it_is(storage, faults):
    headers = faults.client(storage).describe_table(TableName=storage.table)["ResponseMetadata"][
        "HTTPHeaders"
    ]
    assert "date" in headers
