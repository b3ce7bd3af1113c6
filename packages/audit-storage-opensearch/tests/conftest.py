"""A storage on the real server with indices of its own for each test, and one that talks to canned answers."""

import json
import os
from uuid import uuid4

import pytest
from opensearchpy import Connection, OpenSearch, Urllib3HttpConnection

from audit_storage_opensearch.storage import OpenSearchStorage

ISM_MISSING = (400, {"error": "no handler found for uri [/_plugins/_ism/policies/x] and method [GET]"})


@pytest.fixture(scope="session")
def server() -> str:
    address = os.environ.get("AUDIT_TEST_OPENSEARCH")
    if not address:
        pytest.skip("AUDIT_TEST_OPENSEARCH names no server")
    return address


@pytest.fixture(scope="session")
def bare(server):
    """The client library itself, to look behind the storage."""
    client = OpenSearch(server, timeout=60)
    yield client
    client.close()


@pytest.fixture
def index() -> str:
    return f"test-{uuid4().hex[:12]}"


@pytest.fixture
def make_storage(server, bare, index):
    """Makes storages of one test: they share their indices unless told otherwise, and are set up."""
    made = []

    def make(set_up=True, **options):
        # The test server has one node, and no Index State Management. A test searches right after it wrote.
        defaults = {
            "index": index,
            "refresh": True,
            "retention_days": None,
            "index_settings": {"number_of_replicas": 0},
        }
        storage = OpenSearchStorage(server, **{**defaults, **options})
        made.append(storage)
        if set_up:
            storage.setup()
        return storage

    yield make
    for storage in made:
        storage.close()
    for name in bare.indices.get_alias(index=f"{index}*"):
        bare.indices.delete(index=name)
    bare.indices.delete_index_template(name=f"{index}*", ignore=404)


@pytest.fixture
def storage(make_storage):
    return make_storage()


@pytest.fixture
def between():
    """Something between a storage and the real server: ``OPTIONS`` for a storage whose requests go through ``act``.

    ``act(send, method, path, body)`` calls ``send()`` for the server's answer, and raises or returns what it likes.
    """

    def options(act):
        class Between(Urllib3HttpConnection):
            def perform_request(self, method, url, params=None, body=None, *args, **kwargs):
                return act(
                    lambda: super(Between, self).perform_request(method, url, params, body, *args, **kwargs),
                    method,
                    url,
                    body,
                )

        return {"client": {"connection_class": Between}}

    return options


class Canned:
    """A server that says what a test wants: ``answers[method, path]`` is a status and a JSON answer, or a list of them to
    be given in turn, or a function of the body, or an exception. ``requests`` is what was asked of it.
    """

    def __init__(self, answers):
        self.answers = {**self.healthy(), **answers}
        self.requests = []

    @staticmethod
    def healthy():
        version = {"distribution": "opensearch", "number": "2.19.1"}
        return {
            ("GET", "/"): (200, {"version": version}),
            ("POST", "/_bulk"): lambda body: (200, {"items": [created(line) for line in lines_of(body)]}),
            ("GET", "/_plugins/_ism/policies/audit-retention"): ISM_MISSING,
            ("PUT", "/_index_template/audit-v1"): (200, {"acknowledged": True}),
            ("GET", "/audit-v1-*/_alias"): (200, {}),
            ("GET", "/audit-v1-*.*/_alias"): (200, {}),
            ("GET", "/audit-v1-*"): (200, {}),
            ("GET", "/_cluster/health/audit-v1-*"): (200, {"indices": {}}),
        }

    def storage(self, **options):
        canned = self

        class CannedConnection(Connection):
            def perform_request(
                self, method, url, params=None, body=None, timeout=None, ignore=(), headers=None
            ):
                status, data = canned.answer(method, url, params, body)
                text = isinstance(data, str)
                raw, kind = (data, "text/plain") if text else (json.dumps(data), "application/json")
                if not 200 <= status < 300 and status not in ignore:
                    self._raise_error(status, raw, kind)
                return status, {"content-type": kind}, raw

            def close(self):
                pass

        defaults = {"hosts": "https://search.example.com", "retention_days": None}
        client = {"connection_class": CannedConnection, **options.pop("client", {})}
        return OpenSearchStorage(**{**defaults, **options}, client=client)

    def answer(self, method, url, params, body):
        self.requests.append((method, url, params, body))
        answer = self.answers[method, url]
        if isinstance(answer, list):
            answer = answer.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer(body) if callable(answer) else answer

    @staticmethod
    def operations(body):
        return lines_of(body)

    def asked(self, method, url):
        """The requests of this kind: their parameters and bodies."""
        return [(params, body) for m, u, params, body in self.requests if (m, u) == (method, url)]


def lines_of(body):
    """The operations of a bulk request."""
    return [json.loads(line) for line in body.decode().splitlines()][::2]


def created(operation):
    return {"create": {"_id": operation["create"]["_id"], "status": 201}}


@pytest.fixture
def canned():
    return Canned
