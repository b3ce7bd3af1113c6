"""What the settings read from the environment, and what they say when it cannot be read."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import dj_database_url
from django.core.exceptions import ImproperlyConfigured

_SQLITE = {
    # Writers wait for each other instead of failing when a reader turns into one; readers never wait (WAL).
    "transaction_mode": "IMMEDIATE",
    "timeout": 20,
    "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL",
}


def flag(name: str, default: bool) -> bool:
    """A switch: 1, true, yes or on; 0, false, no or off."""
    value = os.environ.get(name, "").strip().lower()
    if value in ("1", "true", "yes", "on"):
        return True
    if value in ("0", "false", "no", "off"):
        return False
    if value:
        raise ImproperlyConfigured(f"{name} is {value!r}. Write 1 or 0.")
    return default


def words(name: str) -> list[str]:
    """A list with commas between its items."""
    return [word.strip() for word in os.environ.get(name, "").split(",") if word.strip()]


def document(name: str, default: dict[str, Any]) -> dict[str, Any]:
    """A JSON object."""
    text = os.environ.get(name)
    if not text:
        return default
    try:
        value = json.loads(text)
    except ValueError as error:
        raise ImproperlyConfigured(f"{name} is not JSON: {error}.") from error
    if not isinstance(value, dict):
        raise ImproperlyConfigured(f'{name} must be a JSON object: {{"default": {{"BACKEND": "database"}}}}.')
    return value


def database(default: Path) -> dict[str, Any]:
    """DATABASE_URL (``postgres://``, ``mysql://``, ``sqlite:///``) as an entry of DATABASES.

    Without it, a SQLite file at ``default``.
    """
    url = os.environ.get("DATABASE_URL") or f"sqlite:///{default}"
    try:
        entry: dict[str, Any] = dict(dj_database_url.parse(url))
    except (
        ValueError
    ) as error:  # it names the URL only as far as the scheme: a password must not get into a log
        raise ImproperlyConfigured(f"DATABASE_URL cannot be used: {error}") from None
    options = entry.setdefault("OPTIONS", {})
    if entry["ENGINE"].endswith("sqlite3"):
        Path(entry["NAME"]).parent.mkdir(parents=True, exist_ok=True)
        entry["OPTIONS"] = {**_SQLITE, **options}
    elif entry["ENGINE"].endswith("mysql"):
        entry["OPTIONS"] = {"charset": "utf8mb4", **options}
        _mysql_client()
    return entry


def _mysql_client() -> None:
    """Django wants mysqlclient, which is built from C; PyMySQL takes its place where it is not installed."""
    try:
        import MySQLdb  # noqa: F401
    except ImportError:
        import pymysql

        pymysql.install_as_MySQLdb()
