"""From settings to a backend, and what is said when that does not work."""

from __future__ import annotations

import pytest

from audit_core import backends
from audit_core.errors import ConfigurationError, RetryableError
from audit_core.plugins.manager import PluginManager
from audit_core.storages.jsonl import JsonLinesStorage


class Shelf:
    """A storage whose options can be told from its signature."""

    def __init__(self, path, *, mode="fast"):
        self.path, self.mode = path, mode

    def write(self, events): ...


class Broker:
    """A stream that passes options on to its client, as they are."""

    def __init__(self, topic, **client):
        self.topic, self.client = topic, client

    def publish(self, events): ...


def lazy(**options):
    from a_client_library_that_is_missing import Storage

    return Storage(**options)


@pytest.fixture
def plugins(plugin_object):
    def refuse(**options):
        raise ValueError("the bucket's name is not allowed")

    def unreachable():
        raise RetryableError("timed out")

    storages = {
        "shelf": Shelf,
        "lazy": lazy,
        "nothing": dict,
        "refuse": refuse,
        "unreachable": unreachable,
        "wrong": lambda **options: Shelf(**options),
    }
    plugin = plugin_object(
        audit_register_storages=lambda: storages, audit_register_streams=lambda: {"broker": Broker}
    )
    return PluginManager([], plugins={"audit-test": plugin})


def test_a_backend_is_made_from_its_options(plugins):
    storage = backends.build(
        "storage", {"BACKEND": "shelf", "OPTIONS": {"path": "p", "mode": "safe"}}, plugins=plugins
    )
    assert isinstance(storage, Shelf)
    assert (storage.path, storage.mode) == ("p", "safe")


def test_options_that_are_no_identifiers_reach_the_client(plugins):
    options = {"topic": "events", "bootstrap.servers": "broker:9092"}
    stream = backends.build("stream", {"BACKEND": "broker", "OPTIONS": options}, plugins=plugins)
    assert stream.client == {"bootstrap.servers": "broker:9092"}


def test_a_backend_may_be_a_dotted_path(tmp_path):
    config = {
        "BACKEND": "audit_core.storages.jsonl.JsonLinesStorage",
        "OPTIONS": {"path": tmp_path / "a.jsonl"},
    }
    assert isinstance(backends.build("storage", config), JsonLinesStorage)


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ({}, "STORAGES['archive'] has no BACKEND: write {'BACKEND': name, 'OPTIONS': {…}}"),
        ("shelf", "STORAGES['archive'] has no BACKEND"),
        ({"BACKEND": None}, "STORAGES['archive'] has no BACKEND"),
        ({"BACKEND": "shelf", "OPTION": {}}, "has the unknown key 'OPTION'. Did you mean 'OPTIONS'?"),
        (
            {"BACKEND": "shelf", "bucket": "b"},
            "What the backend itself is to be given goes into OPTIONS.",
        ),
        ({"BACKEND": "shelf", "OPTIONS": ["path"]}, "OPTIONS must be a mapping"),
        ({"BACKEND": "shelv"}, "STORAGES['archive']: There is no storage 'shelv'. Did you mean 'shelf'?"),
        ({"BACKEND": "broker"}, "There is a stream of that name"),
        (
            {"BACKEND": "shelf", "OPTIONS": {"path": "p", "mod": "fast"}},
            "['archive'] (shelf) has no option 'mod'. Did you mean 'mode'? Its OPTIONS are: path, mode.",
        ),
        ({"BACKEND": "shelf"}, "(shelf) needs the option 'path'. Its OPTIONS are: path, mode."),
        ({"BACKEND": "unreachable", "OPTIONS": {"a": 1}}, "has no option 'a'. It takes no OPTIONS."),
        ({"BACKEND": "wrong", "OPTIONS": {"mod": 1}}, "(wrong) does not accept its OPTIONS: TypeError: "),
        (
            {"BACKEND": "refuse"},
            "(refuse) does not accept its OPTIONS: ValueError: the bucket's name is not allowed.",
        ),
        (
            {"BACKEND": "lazy"},
            "(lazy) needs a package that cannot be imported: ModuleNotFoundError: No module named",
        ),
        (
            {"BACKEND": "nothing"},
            "(nothing) gave an object of type dict, which is no storage: it has no write().",
        ),
    ],
)
def test_what_is_wrong_is_said_with_its_place(plugins, config, words):
    with pytest.raises(ConfigurationError) as caught:
        backends.build("storage", config, label="STORAGES['archive']", plugins=plugins)
    assert words in str(caught.value)


def test_no_message_shows_the_value_of_an_option(plugins):
    for options in ({"path": "p", "password": "hunter2"}, {"mode": "hunter2"}):
        with pytest.raises(ConfigurationError) as caught:
            backends.build("storage", {"BACKEND": "shelf", "OPTIONS": options}, plugins=plugins)
        assert "hunter2" not in str(caught.value)


def test_a_store_that_cannot_be_reached_now_is_no_wrong_configuration(plugins):
    with pytest.raises(RetryableError):
        backends.build("storage", {"BACKEND": "unreachable"}, plugins=plugins)


class Complete(Shelf):
    def __init__(self, problems):
        self.problems, self.calls = problems, []

    def setup(self):
        self.calls.append("setup")

    def check(self):
        if isinstance(self.problems, Exception):
            raise self.problems
        return self.problems

    def close(self):
        self.calls.append("close")


def test_what_is_optional_may_be_there():
    backend = Complete([])
    backends.setup(backend)
    backends.close(backend)
    assert backend.calls == ["setup", "close"]


def test_what_is_optional_may_be_missing():
    backend = Shelf("p")
    backends.setup(backend)
    backends.close(backend)
    assert backends.check(backend) == []


@pytest.mark.parametrize(
    ("answer", "problems"),
    [
        ([], []),
        (None, []),
        (("no bucket", "no right"), ["no bucket", "no right"]),
        ("no bucket", ["no bucket"]),
        (OSError("connection refused"), ["It could not be checked. OSError: connection refused"]),
        (ConfigurationError("Set a region."), ["It could not be checked. Set a region."]),
    ],
)
def test_problems_are_words_in_a_list(answer, problems):
    assert backends.check(Complete(answer)) == problems
