"""A shop of django-oscar, with every model audited and no change to it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from tests.upstream.site import AUDITED, Site, assert_told, differences_by_table

HERE = Path(__file__).parent
URLS = """
from django.apps import apps
from django.urls import include, path

urlpatterns = [path("i18n/", include("django.conf.urls.i18n")), path("", include(apps.get_app_config("oscar").urls[0]))]
"""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Site:
    folder = tmp_path_factory.mktemp("oscar")
    shutil.copy(HERE / "oscar_settings.py", folder / "shop_settings.py")
    (folder / "shop_urls.py").write_text(URLS)
    (folder / "audited.py").write_text(f"from shop_settings import *\n{AUDITED}")
    site = Site(folder, "audited")
    site.manage("migrate")
    return site


@pytest.fixture(scope="module")
def before(site: Site) -> dict[str, Any]:
    return site.snapshot()


@pytest.fixture(scope="module")
def done(site: Site, before: dict[str, Any]) -> dict[str, Any]:
    return json.loads(site.run(HERE / "oscar_drive.py"))


@pytest.fixture(scope="module")
def after(site: Site, done: dict[str, Any]) -> dict[str, Any]:
    return site.snapshot()


@pytest.fixture(scope="module")
def events(after: dict[str, Any]) -> list[dict[str, Any]]:
    return [json.loads(text) for text in after["events"]]


def test_what_was_done_is_in_the_trail(done: dict[str, Any], events: list[dict[str, Any]]) -> None:
    assert_told(done, events)


def test_the_manager_and_the_customer_are_the_actors(events: list[dict[str, Any]]) -> None:
    actors: dict[str, set[str]] = {}
    for event in events:
        if event["category"] == "change" and event.get("context", {}).get("source") == "request":
            email = event.get("actor", {}).get("email") or "nobody"
            actors.setdefault(event["target"]["type"], set()).add(email)
    assert actors["catalogue.Product"] == {"manager@example.com"}
    assert actors["order.Order"] == {"ann@example.com", "manager@example.com"}
    assert actors["order.Line"] == {"ann@example.com"}
    assert actors["order.OrderNote"] == {"manager@example.com"}


def test_the_tables_are_rebuilt_from_the_events(before: dict[str, Any], after: dict[str, Any]) -> None:
    assert differences_by_table(before, after) == {}
