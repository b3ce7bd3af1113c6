"""Wagtail, as ``wagtail start`` makes a project of it, with every model audited and no change to it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from tests.upstream.site import AUDITED, Site, assert_told, differences_by_table

HERE = Path(__file__).parent
FILLED_BY_TRIGGERS = "wagtailsearch.SQLiteFTSIndexEntry"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Site:
    folder = tmp_path_factory.mktemp("wagtail")
    site = Site(folder, "audited")
    site.run("-c", "from wagtail.bin.wagtail import main; main()", "start", "mysite", str(folder))
    with (folder / "home" / "models.py").open("a") as models:
        models.write((HERE / "wagtail_models.py").read_text())
    (folder / "audited.py").write_text(f"from mysite.settings.dev import *\n{AUDITED}")
    site.manage("makemigrations", "home")
    site.manage("migrate")
    return site


@pytest.fixture(scope="module")
def before(site: Site) -> dict[str, Any]:
    return site.snapshot()


@pytest.fixture(scope="module")
def done(site: Site, before: dict[str, Any]) -> dict[str, Any]:
    return json.loads(site.run(HERE / "wagtail_drive.py"))


@pytest.fixture(scope="module")
def after(site: Site, done: dict[str, Any]) -> dict[str, Any]:
    return site.snapshot()


@pytest.fixture(scope="module")
def events(after: dict[str, Any]) -> list[dict[str, Any]]:
    return [json.loads(text) for text in after["events"]]


def test_what_the_editor_did_is_in_the_trail(done: dict[str, Any], events: list[dict[str, Any]]) -> None:
    assert_told(done, events)


def test_the_editor_is_the_actor(events: list[dict[str, Any]]) -> None:
    (login,) = (place for place, event in enumerate(events) if event["action"] == "login")
    assert {event["actor"]["username"] for event in events[login:]} == {"editor"}
    assert {event["context"]["path"] for event in events[login:]} >= {"/admin/login/", "/admin/images/add/"}


def test_the_tables_are_rebuilt_from_the_events(before: dict[str, Any], after: dict[str, Any]) -> None:
    found = differences_by_table(before, after)
    found.pop(FILLED_BY_TRIGGERS, None)
    assert found == {}
