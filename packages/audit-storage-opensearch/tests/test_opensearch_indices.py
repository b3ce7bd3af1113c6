"""Where an event belongs, and what OPTIONS are taken."""

import subprocess
import sys
from base64 import b64decode
from datetime import UTC, datetime
from uuid import UUID, uuid4

import pytest

from audit_core import backends
from audit_core.errors import ConfigurationError
from audit_core.ids import uuid7
from audit_storage_opensearch.indices import UNDATED, Names, month_of
from audit_storage_opensearch.storage import OpenSearchStorage


def id_of(moment: datetime) -> UUID:
    ms = int(moment.timestamp() * 1000)
    return UUID(int=ms << 80 | 0x7 << 76 | 0b10 << 62)


@pytest.mark.parametrize(
    ("event_id", "month"),
    [
        (id_of(datetime(2026, 3, 31, 23, 59, 59, 999000, tzinfo=UTC)), "2026.03"),
        (id_of(datetime(2026, 4, 1, tzinfo=UTC)), "2026.04"),
        (UUID("00000000-0000-7000-8000-000000000000"), "1970.01"),
        (UUID("ffffffff-ffff-7fff-bfff-ffffffffffff"), UNDATED),  # the year 10889
        (uuid4(), UNDATED),
        (UUID(int=0), UNDATED),
    ],
)
def test_the_month_is_that_of_the_id(event_id, month):
    assert month_of(event_id) == month


def test_a_new_id_is_of_this_month():
    assert month_of(uuid7()) == f"{datetime.now(UTC):%Y.%m}"


def test_the_names_of_one_storage_do_not_match_those_of_another():
    names, other = Names("audit"), Names("audit-test")
    assert names.index_behind(names.alias_of(uuid4())) == "audit-v1-undated"
    assert not other.index_behind(other.alias_of(uuid4())).startswith(names.pattern.removesuffix("*"))


@pytest.mark.parametrize(
    "index",
    [
        "",
        "Audit",
        "audit*",
        "audit.2026",
        "-audit",
        "a,b",
        "a" * 101,
        None,
        7,
        "audit-v1",
        "audit-v2-x",
        "audit-undated",
    ],
)
def test_an_index_that_is_no_name_is_refused(index):
    with pytest.raises(ConfigurationError, match="index"):
        OpenSearchStorage("http://localhost:9200", index=index)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"hosts": []}, "hosts"),
        ({"hosts": "localhost:9200"}, "hosts"),
        ({"hosts": ["https://a.example", "ftp://b.example"]}, "Address 2"),
        ({"hosts": [9200]}, "Address 1"),
        ({"hosts": "https://a.example:port"}, "Address 1"),
        ({"hosts": "https://[::1"}, "Address 1"),
        ({"username": "audit"}, "belong together"),
        ({"password": "s3cret"}, "belong together"),
        ({"username": "audit", "password": "s3cret", "aws_region": "eu-west-1"}, "not both"),
        ({"refresh": "yes"}, "refresh"),
        ({"max_bulk_bytes": 1000}, "max_bulk_bytes"),
        ({"retention_days": 0}, "retention_days"),
        ({"timeout_seconds": 0}, "timeout_seconds"),
        ({"index_settings": {"index.translog.durability": "async"}}, "durability"),
        ({"index_settings": {"translog.durability": "async"}}, "durability"),
        ({"index_settings": {"translog": {"durability": "async"}}}, "durability"),
        ({"index_settings": {"index": {"translog": {"durability": "async"}}}}, "durability"),
    ],
)
def test_options_that_do_not_fit_are_refused(options, words):
    with pytest.raises(ConfigurationError, match=words) as caught:
        OpenSearchStorage(**{"hosts": "http://localhost:9200", **options})
    assert "s3cret" not in str(caught.value)


def test_a_client_that_cannot_be_made_is_a_configuration_error():
    storage = OpenSearchStorage("https://localhost:9200", client={"ca_certs": ""})
    with pytest.raises(ConfigurationError, match="cannot be made"):
        storage.setup()


def test_a_password_of_any_script():
    storage = OpenSearchStorage("https://localhost:9200", username="aüdit", password="pä€")
    connection = storage._connection.client().transport.get_connection()
    scheme, _, value = connection.headers["authorization"].partition(" ")
    assert (scheme, b64decode(value).decode()) == ("Basic", "aüdit:pä€")


def test_several_threads_keep_a_connection_each():
    connection = OpenSearchStorage("http://localhost:9200")._connection.client().transport.get_connection()
    assert connection.pool.pool.maxsize > 1


def test_requests_to_aws_are_signed(monkeypatch, canned):
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIAEXAMPLE")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "s3cret")
    pytest.importorskip("boto3")
    storage = canned({}).storage(aws_region="eu-west-1")
    sign = storage._connection._arguments["http_auth"]
    headers = sign("GET", "https://search.example.com/", None)
    assert "AKIAEXAMPLE" in headers["Authorization"]
    assert "/eu-west-1/es/" in headers["Authorization"]


def test_without_aws_credentials_a_person_is_told(monkeypatch, tmp_path):
    boto3 = pytest.importorskip("boto3")
    monkeypatch.setattr(boto3.Session, "get_credentials", lambda self: None)
    with pytest.raises(ConfigurationError, match="role or a profile"):
        OpenSearchStorage("https://localhost:9200", aws_region="eu-west-1")


def test_it_is_found_by_its_name():
    storage = backends.build(
        "storage", {"BACKEND": "opensearch", "OPTIONS": {"hosts": "http://localhost:9200"}}
    )
    assert isinstance(storage, OpenSearchStorage)
    backends.close(storage)


def test_the_plugin_imports_no_client():
    code = "import sys, audit_storage_opensearch as p; p.audit_register_storages(); print('opensearchpy' in sys.modules)"
    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == "False"


def test_a_forked_child_gets_a_client_of_its_own(monkeypatch, canned):
    storage = canned({}).storage()
    mine = storage._connection.client()
    assert storage._connection.client() is mine
    monkeypatch.setattr("os.getpid", lambda: -1)
    assert storage._connection.client() is not mine
