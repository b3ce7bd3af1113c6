"""On a real server an existing project can take the tables on, and give them up again without a trace."""

import os
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from urllib.parse import urlsplit

import pytest

SETTINGS = Path(__file__).parent.parent / "packages" / "audit-django" / "tests"
NAME = f"audit_migrations_{os.getpid()}"


def connect(kind: str, address: str):
    """A connection in autocommit to the server at ``address``, in the database that it names."""
    url = urlsplit(address)
    if kind == "postgres":
        import psycopg

        return psycopg.connect(address, autocommit=True)
    import pymysql

    return pymysql.connect(
        host=url.hostname,
        port=url.port,
        user=url.username,
        password=url.password or "",
        database=url.path.lstrip("/"),
        autocommit=True,
    )


@pytest.fixture(params=["postgres", "mariadb"])
def database(request):
    """An empty database of its own on a real server: its kind and its address."""
    kind = request.param
    variable = f"AUDIT_TEST_{kind.upper()}"
    if variable not in os.environ:
        pytest.skip(f"needs a server, named by {variable}")
    address = os.environ[variable]
    with closing(connect(kind, address)) as server, closing(server.cursor()) as cursor:
        cursor.execute(f"CREATE DATABASE {NAME}")
        try:
            yield kind, urlsplit(address)._replace(path=f"/{NAME}").geturl()
        finally:
            cursor.execute(f"DROP DATABASE {NAME}")


def manage(kind: str, address: str, *arguments: str) -> str:
    environment = {
        **os.environ,
        "AUDIT_TEST_DATABASE": kind,
        f"AUDIT_TEST_{kind.upper()}": address,
        "DJANGO_SETTINGS_MODULE": "django_settings",
        "PYTHONPATH": str(SETTINGS),
    }
    command = [sys.executable, "-m", "django", *arguments]
    run = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stdout + run.stderr
    return run.stdout


def tables(kind: str, address: str) -> set[str]:
    with closing(connect(kind, address)) as server, closing(server.cursor()) as cursor:
        schema = "current_schema()" if kind == "postgres" else "database()"
        cursor.execute(f"SELECT table_name FROM information_schema.tables WHERE table_schema = {schema}")
        return {name for (name,) in cursor.fetchall()}


@pytest.mark.integration
@pytest.mark.slow
def test_the_tables_come_and_go_on_a_server(database):
    kind, address = database
    manage(kind, address, "migrate", "contenttypes")
    before = tables(kind, address)

    for _ in range(2):  # nothing that was left behind is in the way of coming back
        manage(kind, address, "migrate", "audit_django")
        assert tables(kind, address) > before
        assert "No migrations to apply" in manage(kind, address, "migrate", "audit_django")
        manage(kind, address, "migrate", "audit_django", "zero")
        assert tables(kind, address) == before
