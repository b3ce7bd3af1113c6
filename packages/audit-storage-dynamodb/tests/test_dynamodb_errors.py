"""What goes wrong gets an error that says what to do next; no server is needed."""

import sys
import threading
from contextlib import contextmanager
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from subprocess import run

import pytest
from botocore import exceptions as boto
from botocore.config import Config
from botocore.parsers import ResponseParserError

from audit_core.backends import build, check
from audit_core.errors import ConfigurationError, PermanentError, RetryableError
from audit_core.plugins.manager import get_plugin_manager
from audit_core.query import EventQuery
from audit_core.testing import make_event
from audit_storage_dynamodb import client
from audit_storage_dynamodb.storage import DynamoDBStorage
from audit_storage_dynamodb.table import definition

NOON = datetime(2026, 3, 3, 12, tzinfo=UTC)
NOWHERE = "http://127.0.0.1:1"  # nothing listens there


@pytest.fixture
def storage(make_storage):
    return make_storage("audit", endpoint_url=NOWHERE)


def test_importing_the_plugin_imports_no_boto3():
    program = (
        "import sys, audit_storage_dynamodb.plugin as plugin; plugin.audit_register_storages(); "
        "sys.exit('boto3' in sys.modules or 'botocore' in sys.modules)"
    )
    assert run([sys.executable, "-c", program], check=False).returncode == 0


def test_it_is_found_by_its_name():
    storage = build(
        "storage", {"BACKEND": "dynamodb", "OPTIONS": {"table": "audit"}}, plugins=get_plugin_manager()
    )
    assert isinstance(storage, DynamoDBStorage)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({}, "needs the option 'table'"),
        ({"table": "x"}, "3 to 255"),
        ({"table": 'audit" VALUE'}, "3 to 255"),
        ({"table": 7}, "3 to 255"),
        ({"table": "audit", "retention_days": 0}, "retention_days is 0"),
        ({"table": "audit", "retention_days": "30"}, "retention_days is '30'"),
        ({"table": "audit", "retention_days": True}, "retention_days is True"),
        ({"table": "audit", "aws_secret_access_key": "s3cret"}, "has no option 'aws_secret_access_key'"),
    ],
)
def test_wrong_options_are_refused(options, words):
    with pytest.raises(ConfigurationError, match=words) as caught:
        build("storage", {"BACKEND": "dynamodb", "OPTIONS": options}, plugins=get_plugin_manager())
    assert "s3cret" not in str(caught.value)


# requests


@pytest.mark.parametrize(
    ("code", "message", "kind", "words"),
    [
        ("ProvisionedThroughputExceededException", "…", RetryableError, "throttles the table 'audit'"),
        ("ThrottlingException", "…", RetryableError, "throttles"),
        ("RequestLimitExceeded", "…", RetryableError, "throttles"),
        ("InternalServerError", "…", RetryableError, "could not serve"),
        ("ServiceUnavailable", "…", RetryableError, "could not serve"),
        ("SomethingNew", "…", RetryableError, "SomethingNew"),
        ("ResourceNotFoundException", "…", ConfigurationError, "does not exist. Run setup"),
        ("TableNotFoundException", "…", ConfigurationError, "does not exist. Run setup"),
        (
            "AccessDeniedException",
            "User: x is not authorized to perform: dynamodb:PartiQLInsert",
            ConfigurationError,
            "lack a permission.*dynamodb:PartiQLInsert",
        ),
        ("UnrecognizedClientException", "…", ConfigurationError, "refuses the credentials"),
        ("ExpiredTokenException", "…", ConfigurationError, "refuses the credentials"),
        (
            "InvalidSignatureException",
            "Signature expired: 20260303T110000Z is now earlier than 20260303T115500Z",
            ConfigurationError,
            "the clock of this machine is wrong",
        ),
        (
            "InvalidSignatureException",
            "Signature not yet current: 20260303T130000Z is still later than 20260303T120500Z",
            ConfigurationError,
            "the clock of this machine is wrong",
        ),
    ],
)
def test_each_refusal_says_who_should_act(storage, faults, code, message, kind, words):
    with (
        faults.answer(storage, "BatchExecuteStatement", lambda: faults.refusal(code, message)),
        pytest.raises(kind, match=words),
    ):
        storage.write([make_event(seq=1)])


def test_a_refused_signature_is_not_repeated(storage, faults):
    message = "The request signature we calculated does not match. String to sign: AWS4-HMAC s3cret"
    with (
        faults.answer(
            storage, "BatchExecuteStatement", lambda: faults.refusal("InvalidSignatureException", message)
        ),
        pytest.raises(ConfigurationError) as caught,
    ):
        storage.write([make_event(seq=1)])
    assert "s3cret" not in str(caught.value)


@pytest.mark.parametrize("code", ["AccessDenied", "ResourceNotFound"])
def test_a_statement_that_a_person_must_act_on_refuses_no_event(storage, faults, code):
    answer = {"Responses": [{"Error": {"Code": code, "Message": "dynamodb:PartiQLInsert"}}]}
    with (
        faults.answer(storage, "BatchExecuteStatement", lambda: answer),
        pytest.raises(ConfigurationError),
    ):
        storage.write([make_event(seq=1)])


def test_an_invalid_request_is_the_fault_of_the_table_or_of_the_event(storage, faults):
    wrong = faults.refusal("ValidationException", "One or more parameter values were invalid")
    ours = {"Table": good_table()}
    with (
        faults.answer(storage, "BatchExecuteStatement", lambda: wrong),
        faults.answer(storage, "DescribeTable", lambda: ours),
        pytest.raises(PermanentError, match="One or more parameter values"),
    ):
        storage.write([make_event(seq=1)])
    theirs = {"Table": {**good_table(), "KeySchema": [{"AttributeName": "pk", "KeyType": "HASH"}]}}
    with (
        faults.answer(storage, "BatchExecuteStatement", lambda: wrong),
        faults.answer(storage, "DescribeTable", lambda: theirs),
        pytest.raises(ConfigurationError, match="not ours"),
    ):
        storage.write([make_event(seq=1)])


def good_table():
    return {**definition("audit"), "TableStatus": "ACTIVE"}


# the client


@pytest.mark.parametrize(
    ("error", "kind", "words"),
    [
        (boto.EndpointConnectionError(endpoint_url="https://x"), RetryableError, "could not be reached"),
        (boto.ConnectTimeoutError(endpoint_url="https://x"), RetryableError, "could not be reached"),
        (boto.ReadTimeoutError(endpoint_url="https://x"), RetryableError, "could not be reached"),
        (boto.ConnectionClosedError(endpoint_url="https://x"), RetryableError, "could not be reached"),
        (boto.CredentialRetrievalError(provider="iam-role", error_msg="x"), RetryableError, "iam-role"),
        (boto.NoCredentialsError(), ConfigurationError, "no usable credentials.*boto3's chain"),
        (boto.ConfigParseError(path="config"), ConfigurationError, "not configured as it should be"),
        (boto.InvalidProxiesConfigError(), ConfigurationError, "not configured as it should be"),
        (ResponseParserError("no XML of STS"), RetryableError, "no XML of STS"),
        (boto.SSLError(endpoint_url="https://x", error="bad"), ConfigurationError, "could not be trusted"),
    ],
)
def test_each_failure_of_the_client_says_who_should_act(storage, faults, error, kind, words):
    with faults.answer(storage, "Query", lambda: error), pytest.raises(kind, match=words):
        storage.search(EventQuery())


def test_nobody_listens(storage, monkeypatch):
    once = client.CONFIG.merge(Config(retries={"total_max_attempts": 1}))
    monkeypatch.setattr(client, "CONFIG", once)
    with pytest.raises(RetryableError, match="could not be reached"):
        storage.write([make_event(seq=1)])
    assert "could not be reached" in check(storage)[0]


def test_without_credentials(storage, monkeypatch):
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    with pytest.raises(ConfigurationError, match="no usable credentials"):
        storage.write([make_event(seq=1)])
    assert "no usable credentials" in check(storage)[0]


def test_without_a_region(make_storage, monkeypatch):
    monkeypatch.delenv("AWS_DEFAULT_REGION")
    storage = make_storage("audit")
    with pytest.raises(ConfigurationError, match="No AWS region is set"):
        storage.write([make_event(seq=1)])
    assert "No AWS region is set" in check(storage)[0]


@pytest.mark.parametrize(
    "options",
    [
        {"endpoint_url": "dynamodb.internal:8000"},
        {"endpoint_url": "http://"},
        {"endpoint_url": 8000},
        {"region": "eu central"},
        {"region": 7},
    ],
)
def test_a_region_or_an_address_that_is_none(make_storage, options):
    storage = make_storage("audit", **options)
    with pytest.raises(ConfigurationError, match="Correct the options `region` and `endpoint_url`"):
        storage.write([make_event(seq=1)])
    assert "No client for DynamoDB can be made" in storage.check()[0]


@pytest.mark.parametrize("body", [b"<html>Please log in</html>", b"", b"{}"])
@pytest.mark.parametrize("call", ["write", "get", "search", "prune", "setup"])
def test_what_answers_is_another_server(make_storage, body, call):
    with answering(body) as address:
        storage = make_storage("audit", endpoint_url=address)
        event = make_event(seq=1)
        argument = {"write": [[event]], "get": [event.id], "search": [EventQuery()], "prune": [NOON]}
        with pytest.raises(RetryableError, match="is not DynamoDB, but a proxy"):
            getattr(storage, call)(*argument.get(call, []))
        assert "is not DynamoDB" in storage.check()[0]


@contextmanager
def answering(body):
    """A server that says 200 to everything."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *arguments):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def test_without_encryption(make_storage, faults):
    storage = make_storage("audit", endpoint_url="http://dynamodb.internal:8000")
    with faults.answer(storage, "DescribeTable", lambda: faults.refusal("AccessDeniedException")):
        assert check(storage)[0] == (
            "Events go to dynamodb.internal unencrypted: use https in `endpoint_url`."
        )
    local = make_storage("audit", endpoint_url="http://localhost:8000")
    with faults.answer(local, "DescribeTable", lambda: faults.refusal("AccessDeniedException")):
        assert len(check(local)) == 1


def test_nothing_is_sent_for_nothing(storage, faults):
    with faults.count(storage) as calls:
        storage.write([])
    assert not calls
