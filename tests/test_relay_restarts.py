"""The database goes away under load, ten times: the relay comes back by itself, and nothing is lost."""

import os
from contextlib import ExitStack, closing, contextmanager
from uuid import uuid4

import django_settings
import pytest
from tests.servers_own.postgres import own_postgres
from tests.servers_own.project import Project

TIMES = 10
CATCH_UP_SECONDS = 15.0  # a lease of 1 s and a pause of 0.5 s, on a machine that does other things

pytestmark = pytest.mark.integration


@contextmanager
def under_load(project):
    """A relay and two writers; at the end they are whole, and the same processes as at the start."""
    with ExitStack() as writing, project.relay() as relay:
        writers = [writing.enter_context(project.writer(name)) for name in ("one", "two")]
        project.wait_for_saves(writers)
        project.wait_for_deliveries()
        yield writers
        project.wait_for_saves(writers)
        writing.close()
        project.wait_until(project.has_caught_up, CATCH_UP_SECONDS)
        assert relay.is_alive()  # it came back by itself
        assert "broken" in relay.states()  # it was hit
    project.assert_whole(writers)


@pytest.fixture(autouse=True)
def database_access(django_db_blocker):
    """To the servers of these tests; Django's own test database is not used."""
    with django_db_blocker.unblock():
        yield


def test_postgresql_crashes_ten_times_and_its_sessions_are_terminated(tmp_path):
    with own_postgres() as postgres:
        project = Project(tmp_path, postgres.entry("postgres"))
        project.audit["RELAY_NOTIFY"] = True
        project.migrate()
        with under_load(project) as writers:
            for time in range(TIMES):
                if time % 3 == 0:
                    postgres.terminate_all("postgres")
                    project.wait_for_saves(writers)
                if time % 2:  # else the relay is still coming back from the last one
                    project.wait_for_deliveries()
                postgres.crash()
                project.wait_for_refusals(writers)
                postgres.start()
                project.wait_for_saves(writers)


@pytest.fixture
def mariadb():
    """An entry of DATABASES for a database of this test's own on the shared server."""
    if "AUDIT_TEST_MARIADB" not in os.environ:
        pytest.skip("needs a server, named by AUDIT_TEST_MARIADB")
    entry = django_settings.database("mariadb", "restarts")
    entry |= {"NAME": f"audit_test_restarts_{uuid4().hex}"}
    with closing(connect_to_mariadb(entry)) as connection:
        connection.query(f"CREATE DATABASE {entry['NAME']} CHARACTER SET utf8mb4")
        yield entry
        connection.query(f"DROP DATABASE {entry['NAME']}")


def connect_to_mariadb(entry):
    import pymysql

    return pymysql.connect(
        host=entry["HOST"],
        port=entry["PORT"],
        user=entry["USER"],
        password=entry["PASSWORD"],
        autocommit=True,
    )


def test_mariadb_kills_all_connections_ten_times(mariadb, tmp_path):
    project = Project(tmp_path, mariadb)
    project.migrate()
    with under_load(project) as writers, closing(connect_to_mariadb(mariadb)) as connection:
        for time in range(TIMES):
            if time % 2:
                project.wait_for_deliveries()
            kill_all(connection, mariadb["NAME"])
            project.wait_for_saves(writers)


def kill_all(connection, database):
    import pymysql

    with connection.cursor() as cursor:
        cursor.execute("SELECT id FROM information_schema.processlist WHERE db = %s", [database])
        for (id_,) in cursor.fetchall():
            try:
                cursor.execute("KILL %s", [id_])
            except pymysql.err.OperationalError as error:
                if error.args[0] != 1094:  # it has gone by itself
                    raise
