"""What a person is told when S3 refuses, without a server: the answers are given by the client's own hooks."""

from __future__ import annotations

import socketserver
import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import pytest
from botocore.awsrequest import AWSResponse
from botocore.config import Config
from botocore.exceptions import (
    ConnectTimeoutError,
    EndpointConnectionError,
    FlexibleChecksumError,
    IncompleteReadError,
    MetadataRetrievalError,
    NoCredentialsError,
    SSLError,
)
from botocore.parsers import ResponseParserError

from audit_core.errors import AuditError, ConfigurationError, PermanentError, RetryableError
from audit_core.testing import make_events
from audit_storage_s3.bucket import CONFIG
from audit_storage_s3.storage import S3Storage

Answer = Callable[..., S3Storage]


class Raw:
    """The body of an answer, as urllib3 gives it."""

    def __init__(self, body: bytes) -> None:
        self._body = body

    def stream(self, **_: Any) -> Any:
        yield self._body


@pytest.fixture
def answering(credentials: None, monkeypatch: pytest.MonkeyPatch) -> Answer:
    """A storage whose every request is answered like this."""
    once = Config(retries={"mode": "standard", "total_max_attempts": 1})
    monkeypatch.setattr("audit_storage_s3.bucket.CONFIG", CONFIG.merge(once))

    def answering(status: int, code: str = "", message: str = "", **headers: str) -> S3Storage:
        storage = S3Storage("audit", endpoint_url="http://s3.invalid")
        body = f"<Error><Code>{code}</Code><Message>{message}</Message></Error>".encode() if code else b""
        plain = {name.replace("_", "-"): value for name, value in headers.items()}

        def answer(request: Any, **_: Any) -> AWSResponse:
            return AWSResponse(request.url, status, plain, Raw(body))

        storage.bucket.client.meta.events.register("before-send.s3", answer)
        return storage

    return answering


CASES = [
    (404, "NoSuchBucket", "", ConfigurationError, "does not exist. Create it"),
    (403, "InvalidAccessKeyId", "", ConfigurationError, "credentials are wrong or have expired"),
    (403, "SignatureDoesNotMatch", "", ConfigurationError, "credentials are wrong"),
    (400, "ExpiredToken", "", ConfigurationError, "have expired"),
    (403, "RequestTimeTooSkewed", "", ConfigurationError, "clock is more than 15 minutes away"),
    (403, "AccessDenied", "Access Denied.", ConfigurationError, "Allow s3:ListBucket to the credentials"),
    (
        403,
        "AccessDenied",
        "not authorized to perform: kms:GenerateDataKey",
        ConfigurationError,
        "KMS key was refused",
    ),
    (400, "KMS.DisabledException", "", ConfigurationError, "KMS key was refused"),
    (400, "ThrottlingException", "the rate at which you may call KMS", RetryableError, "tried again"),
    (400, "KMS.ThrottlingException", "", RetryableError, "tried again"),
    (403, "InvalidObjectState", "", ConfigurationError, "archive class"),
    (
        400,
        "InvalidRequest",
        "Bucket is missing Object Lock Configuration",
        ConfigurationError,
        "without Object Lock",
    ),
    (400, "InvalidRequest", "Something else", ConfigurationError, "Something else"),
    (501, "NotImplemented", "If-None-Match is not known", ConfigurationError, "If-None-Match is not known"),
    (400, "EntityTooLarge", "", PermanentError, "larger than the store takes"),
    (503, "SlowDown", "", RetryableError, "tried again"),
    (500, "InternalError", "", RetryableError, "tried again"),
    (429, "TooManyRequests", "", RetryableError, "tried again"),
    (507, "XMinioStorageFull", "", RetryableError, "store is full"),
    (502, "", "", RetryableError, "tried again"),
]


@pytest.mark.parametrize(("status", "code", "message", "kind", "words"), CASES)
def test_an_answer_says_what_to_do(
    answering: Answer, status: int, code: str, message: str, kind: type[AuditError], words: str
) -> None:
    storage = answering(status, code, message)
    with pytest.raises(kind, match=words) as raised:
        storage.write(make_events(1, first_seq=1))
    assert "not-a-secret" not in str(raised.value)
    assert "AKIATEST" not in str(raised.value)
    [problem] = storage.check()
    assert words in problem


def test_an_answer_that_is_not_s3s_acknowledges_nothing(answering: Answer) -> None:
    storage = answering(200)
    with pytest.raises(RetryableError, match="not S3"):
        storage.write(make_events(1, first_seq=1))
    [problem] = storage.check()
    assert "not S3" in problem


@pytest.mark.parametrize(
    "heard",
    [b"HTTP/1.1 200 OK", b"HTTP/1.1 200 OK\r\nAccept-Ra", b"HTTP/1.1 200 OK\r\nContent-Length: 300\r\n\r\n<"],
)
def test_an_answer_that_ends_too_early_is_no_empty_listing(
    credentials: None, monkeypatch: pytest.MonkeyPatch, heard: bytes
) -> None:
    once = Config(retries={"mode": "standard", "total_max_attempts": 1})
    monkeypatch.setattr("audit_storage_s3.bucket.CONFIG", CONFIG.merge(once))

    class Answer(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            self.request.recv(65536)
            self.wfile.write(heard)

    with socketserver.TCPServer(("127.0.0.1", 0), Answer) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        storage = S3Storage("audit", endpoint_url=f"http://127.0.0.1:{server.server_address[1]}")
        with pytest.raises(RetryableError):
            list(storage.read())
        storage.close()
        server.shutdown()


def test_throttling_hands_on_how_long_to_wait(answering: Answer) -> None:
    with pytest.raises(RetryableError) as raised:
        answering(503, "SlowDown", retry_after="7").write(make_events(1, first_seq=1))
    assert raised.value.retry_after_seconds == 7


def test_a_bucket_in_another_region_says_which(answering: Answer) -> None:
    storage = answering(400, "AuthorizationHeaderMalformed", x_amz_bucket_region="eu-west-1")
    with pytest.raises(ConfigurationError, match="the region eu-west-1. Correct the option `region`"):
        storage.write(make_events(1, first_seq=1))


@pytest.mark.parametrize(("hours", "words"), [(1, "clock"), (0, "not permitted")])
def test_a_refusal_without_words_is_the_clock_when_the_date_says_so(
    answering: Answer, hours: int, words: str
) -> None:
    date = format_datetime(datetime.now(UTC) - timedelta(hours=hours), usegmt=True)
    with pytest.raises(ConfigurationError, match=words):
        answering(403, date=date).write(make_events(1, first_seq=1))


@pytest.mark.parametrize(
    ("error", "kind", "words"),
    [
        (EndpointConnectionError(endpoint_url="x"), RetryableError, "does not answer"),
        (ConnectTimeoutError(endpoint_url="x"), RetryableError, "does not answer"),
        (ConnectionResetError(), RetryableError, "does not answer"),
        (SSLError(endpoint_url="x", error="certificate verify failed"), ConfigurationError, "TLS to"),
        (SSLError(endpoint_url="x", error="unexpected EOF"), RetryableError, "does not answer"),
        (IncompleteReadError(actual_bytes=1, expected_bytes=2), RetryableError, "damaged on its way"),
        (FlexibleChecksumError(error_msg="e"), RetryableError, "damaged on its way"),
        (MetadataRetrievalError(error_msg="e"), RetryableError, "could not be fetched"),
        (ResponseParserError("no XML"), RetryableError, "is not S3"),
        (NoCredentialsError(), ConfigurationError, "boto3 finds no credentials"),
    ],
)
def test_no_answer_says_what_to_do(
    credentials: None, monkeypatch: pytest.MonkeyPatch, error: Exception, kind: type[AuditError], words: str
) -> None:
    storage = S3Storage("audit", endpoint_url="http://s3.invalid")

    def fail(**_: Any) -> Any:
        raise error

    monkeypatch.setattr(
        storage.bucket.client, "get_paginator", lambda _: type("P", (), {"paginate": staticmethod(fail)})
    )
    with pytest.raises(kind, match=words):
        storage.write(make_events(1, first_seq=1))


def test_a_port_that_nobody_listens_on(credentials: None) -> None:
    storage = S3Storage("audit", endpoint_url="http://127.0.0.1:9")
    with pytest.raises(
        RetryableError, match=r"http://127.0.0.1:9 does not answer \(EndpointConnectionError\)"
    ):
        storage.write(make_events(1, first_seq=1))
    storage.close()


@pytest.mark.parametrize("address", ["http://", "http://a b"])
def test_an_address_that_is_none(credentials: None, address: str) -> None:
    [problem] = S3Storage("audit", endpoint_url=address).check()
    assert "Invalid endpoint" in problem


def test_no_credentials_anywhere(credentials: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    with pytest.raises(ConfigurationError, match="boto3 finds no credentials"):
        S3Storage("audit", endpoint_url="http://127.0.0.1:9").write(make_events(1, first_seq=1))


def test_a_child_process_makes_its_own_client(credentials: None, monkeypatch: pytest.MonkeyPatch) -> None:
    bucket = S3Storage("audit").bucket
    parents = bucket.client
    assert bucket.client is parents
    monkeypatch.setattr("os.getpid", lambda: -1)
    assert bucket.client is not parents
