"""The reference is complete: what the code has and a page lacks fails here."""

import inspect
import re
from dataclasses import fields
from pathlib import Path

import pytest

from audit_core.diff import Change
from audit_core.event import Actor, Context, Event, Target
from audit_core.relay import RelaySettings
from audit_django import checks, conf, record
from audit_django.conf import AuditSettings
from audit_django.options import Options

REFERENCE = Path(__file__).parents[3] / "docs/reference"
pytestmark = pytest.mark.skipif(not REFERENCE.is_dir(), reason="this package stands alone, without the docs")


def page(name):
    return (REFERENCE / name).read_text()


def section(name, heading):
    found = re.search(rf"^## {re.escape(heading)}$(.*?)(?=^## |\Z)", page(name), re.MULTILINE | re.DOTALL)
    assert found, f"{name} has no section {heading!r}"
    return found[1]


@pytest.mark.parametrize("name", [field.name.upper() for field in fields(AuditSettings)])
def test_every_setting_has_a_section(name):
    assert len(section("settings.md", name).split()) > 4


@pytest.mark.parametrize("option", fields(RelaySettings), ids=lambda field: field.name)
def test_every_option_of_the_relay_has_a_row_with_its_default(option):
    row = f"| `{option.name}` | `{option.type}` | {option.default:g} |"
    assert row in section("settings.md", "RELAY_OPTIONS")


def test_the_models_that_are_excluded_are_listed():
    listed = re.findall(r"`(\w+\.\w+)`", section("settings.md", "EXCLUDE_MODELS"))
    assert set(listed) == set(conf.DEFAULT_EXCLUDED_MODELS)


def check_ids():
    source = inspect.getsource(checks) + inspect.getsource(conf)
    return sorted(set(re.findall(r'"(audit\.[EW]\d{3})"', source)))


@pytest.mark.parametrize("id", check_ids())
def test_every_check_has_a_row(id):
    assert f"| `{id}` |" in page("checks.md")


def test_no_check_is_described_that_is_not_there():
    assert set(re.findall(r"`(audit\.[EW]\d{3})`", page("checks.md"))) == set(check_ids())


@pytest.mark.parametrize("name", [field.name for field in fields(Options)])
def test_every_option_of_register(name):
    assert f"| `{name}` |" in section("models-and-registration.md", "register")


def test_record_is_described_as_it_is():
    signature = re.search(
        r"`record\((.*?)\)` records", section("models-and-registration.md", "record"), re.DOTALL
    )
    described = re.findall(r"(\w+)(?=[,=)]|$)", signature[1].replace('"', ""))
    assert [name for name in inspect.signature(record).parameters if name not in described] == []


@pytest.mark.parametrize("part", [Event, Actor, Target, Context, Change])
def test_every_key_of_the_event(part):
    text = section("event.md", part.__name__)
    missing = [name for name in part.__annotations__ if f"`{name}`" not in text]
    assert missing == []
