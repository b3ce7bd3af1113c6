"""``audit.toml``"""

from __future__ import annotations

import pytest

from audit_core.config import Config, load_config
from audit_core.errors import ConfigurationError

LOWER = """
[storages.archive]
backend = "jsonl"
options = { path = "audit.jsonl", Mode = "x" }

[streams.events]
backend = "memory"

[summarizer]
backend = "grammar"
"""
EXPECTED = Config(
    storages={"archive": {"BACKEND": "jsonl", "OPTIONS": {"path": "audit.jsonl", "Mode": "x"}}},
    streams={"events": {"BACKEND": "memory"}},
    summarizer={"BACKEND": "grammar"},
)
IN_SETTINGS = {
    "STORAGES": {"archive": {"BACKEND": "jsonl", "OPTIONS": {"path": "audit.jsonl", "Mode": "x"}}},
    "STREAMS": {"events": {"BACKEND": "memory"}},
    "SUMMARIZER": {"BACKEND": "grammar"},
}


def test_a_file_and_the_settings_of_django_say_the_same(tmp_path):
    path = tmp_path / "audit.toml"
    path.write_text(LOWER)
    assert load_config(path) == load_config(IN_SETTINGS) == EXPECTED


def test_backends_are_named_as_in_the_settings():
    assert [(kind, label) for kind, label, _ in EXPECTED.backends()] == [
        ("outbox", "OUTBOX"),
        ("storage", "STORAGES['archive']"),
        ("stream", "STREAMS['events']"),
        ("summarizer", "SUMMARIZER"),
    ]


def test_everything_has_a_default():
    assert load_config({}) == Config(summarizer={"BACKEND": "grammar"})


def test_the_environment_names_the_file_and_this_folder_is_the_last_resort(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("AUDIT_CONFIG", raising=False)
    with pytest.raises(ConfigurationError, match=r"There is no configuration at audit.toml. .*AUDIT_CONFIG"):
        load_config()
    (tmp_path / "audit.toml").write_text('[storages.here]\nbackend = "memory"')
    (tmp_path / "other.toml").write_text('[storages.other]\nbackend = "memory"')
    assert list(load_config().storages) == ["here"]
    monkeypatch.setenv("AUDIT_CONFIG", str(tmp_path / "other.toml"))
    assert list(load_config().storages) == ["other"]
    assert list(load_config("audit.toml").storages) == ["here"]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[storage.archive]", "has the unknown key 'STORAGE'. Did you mean 'STORAGES'?"),
        (
            "colour = 1",
            "has the unknown key 'COLOUR'. There are: OUTBOX, STORAGES, STREAMS, SUMMARIZER, RELAY.",
        ),
        ("storages = ['jsonl']", "STORAGES must be a table, not list"),
        ("[storages]\narchive = 'jsonl'", "STORAGES['archive'] must be a table, not str"),
        ("summarizer = 'grammar'", "SUMMARIZER must be a table, not str"),
        ("[storages]\n[STORAGES]", "has 'STORAGES' twice"),
        ("[storages.a]\nbackend = 'x'\nBACKEND = 'y'", "STORAGES['a'] has 'BACKEND' twice"),
        ("[storages", "cannot be read: Expected"),
    ],
)
def test_a_mistake_is_named_with_its_place(tmp_path, text, words):
    path = tmp_path / "audit.toml"
    path.write_text(text)
    with pytest.raises(ConfigurationError) as caught:
        load_config(path)
    assert words in str(caught.value)
    assert str(path) in str(caught.value)


def test_a_file_that_is_no_text_is_named(tmp_path):
    path = tmp_path / "audit.toml"
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigurationError, match="cannot be read"):
        load_config(path)
