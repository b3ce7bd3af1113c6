"""Between the relay and PostgreSQL: PgBouncer, Django's pool and persistent connections."""

import re
from contextlib import ExitStack, closing
from uuid import uuid4

import pytest
from django.db import transaction
from testapp.models import Policy, Tag
from tests.servers_own.postgres import PgBouncer, folder, own_postgres, pgbouncer_program
from tests.servers_own.project import ALIAS, Project
from tests.servers_own.sinks import Frail

from audit_django.models import Cursor, OutboxEntry

POOL_SIZE = 2  # sessions of PgBouncer: fewer than there are threads
SESSION_STATE = re.compile(
    r"""
    (SET\ (?!LOCAL|TRANSACTION|CONSTRAINTS)|RESET|(UN)?LISTEN|PREPARE|LOAD)\b
    | DECLARE\b.*\bWITH\ HOLD\b
    | CREATE\ ((GLOBAL|LOCAL)\ )?TEMP
    | .*\bpg_(try_)?advisory_(un)?lock
    | .*\bset_config\(.*,\ *false\)
    """,
    re.IGNORECASE | re.VERBOSE,
)

integration = pytest.mark.integration


@pytest.mark.parametrize(
    "sql",
    [
        "SET search_path = x",
        "SET SESSION statement_timeout = 0",
        "LISTEN audit_outbox",
        "UNLISTEN *",
        "PREPARE SELECT 1",
        'DECLARE "c" NO SCROLL CURSOR WITH HOLD FOR SELECT 1',
        "CREATE TEMPORARY TABLE t (i int)",
        "CREATE LOCAL TEMP TABLE t (i int)",
        "SELECT pg_advisory_lock(1)",
        "SELECT pg_try_advisory_lock_shared(1)",
        "SELECT set_config('TimeZone', 'UTC', false)",
    ],
)
def test_what_outlives_a_transaction_is_recognised(sql):
    assert SESSION_STATE.match(sql)


@pytest.mark.parametrize(
    "sql",
    [
        "SET LOCAL statement_timeout = 0",
        "SET CONSTRAINTS ALL IMMEDIATE",
        "SELECT pg_advisory_xact_lock(1)",
        "SELECT pg_notify('c', '')",
        "UPDATE t SET name = 'LISTEN'",
        "SELECT set_config('a.b', 'x', true)",
    ],
)
def test_what_ends_with_its_transaction_is_not(sql):
    assert not SESSION_STATE.match(sql)


@pytest.fixture(scope="module")
def postgres(django_db_blocker, tmp_path_factory):
    """A server of this module's own, with a database that the others are copied from."""
    with own_postgres() as postgres, django_db_blocker.unblock():
        with closing(postgres.connect("postgres")) as connection:
            connection.execute("CREATE DATABASE migrated")
        Project(tmp_path_factory.mktemp("migrate"), postgres.entry("migrated")).migrate()
        yield postgres


@pytest.fixture
def project(postgres, tmp_path):
    """An application on a database of its own."""
    name = f"audit_{uuid4().hex}"
    with closing(postgres.connect("postgres")) as connection:
        connection.execute(f"CREATE DATABASE {name} TEMPLATE migrated")
    return Project(tmp_path, postgres.entry(name))


@pytest.fixture
def pgbouncer(postgres, project):
    """A PgBouncer in transaction mode between the application and its database."""
    program = pgbouncer_program()
    if program is None:
        pytest.skip("needs PgBouncer on this machine: apt-get install pgbouncer")
    with folder() as place:
        pgbouncer = PgBouncer(program, place, postgres, POOL_SIZE)
        pgbouncer.start()
        # As Django's documentation says; `prepare_threshold` is its default.
        project.database |= {"PORT": pgbouncer.port, "DISABLE_SERVER_SIDE_CURSORS": True}
        project.database["OPTIONS"] = {"prepare_threshold": None}
        try:
            yield pgbouncer
        finally:
            pgbouncer.stop()


def stop_and_check(project, writing, writers):
    """The writers end, the relay catches up, and all is there."""
    writing.close()
    project.wait_until(project.has_caught_up)
    project.assert_whole(writers)


# PgBouncer


@integration
def test_rival_workers_and_writers_share_two_sessions_of_pgbouncer(project, pgbouncer):
    with ExitStack() as writing, project.relay("one") as one, project.relay("two") as two:
        writers = [writing.enter_context(project.writer(name)) for name in ("three", "four")]
        project.wait_until(lambda: {"idle", "busy"} & one.states() and {"idle", "busy"} & two.states())
        project.wait_for_saves(writers, 10)
        pool = pgbouncer.pools(project.database["NAME"])
        assert pool["pool_mode"] == "transaction"
        servers = sum(
            count for name, count in pool.items() if name.startswith("sv_") and "cancel" not in name
        )
        clients = pool["cl_active"] + pool["cl_waiting"]
        assert servers <= POOL_SIZE < clients
        stop_and_check(project, writing, writers)
    assert not [writer for writer in writers if writer.refused()]


@integration
def test_notifications_are_lost_in_pgbouncer_and_the_worker_says_so_and_polls(project, pgbouncer):
    project.audit["RELAY_NOTIFY"] = True
    with ExitStack() as writing, project.relay() as relay:
        writers = [writing.enter_context(project.writer("writer"))]
        project.wait_until(lambda: "no notification comes through" in relay.errors())
        project.wait_for_deliveries()
        stop_and_check(project, writing, writers)
    assert relay.errors().count("polling goes on") == 1


@integration
def test_capture_and_relay_leave_nothing_in_their_sessions(project, postgres):
    """Seen by the server itself, with no pooler in between, which sets things of its own."""
    name = project.database["NAME"]
    with closing(postgres.connect(name)) as connection:
        connection.execute(f"ALTER DATABASE {name} SET log_statement = 'all'")
    with ExitStack() as writing, project.relay():
        writers = [writing.enter_context(project.writer("writer"))]
        project.wait_for_deliveries()
        with project.looked_at(), transaction.atomic(using=ALIAS):
            tags = Tag.objects.using(ALIAS).bulk_create([Tag(name="a"), Tag(name="b")])
            Policy.objects.using(ALIAS).get().tags.set(tags)
            Tag.objects.using(ALIAS).update(name="c")
            Tag.objects.using(ALIAS).all().delete()
        stop_and_check(project, writing, writers)
    statements = postgres.statements(name)
    for verb, model in (("INSERT INTO", OutboxEntry), ("UPDATE", Cursor), ("DELETE FROM", Tag)):
        assert any(
            f'{verb} "{model._meta.db_table}"' in sql for sql in statements
        )  # they did not go by unseen
    assert [sql for sql in statements if SESSION_STATE.match(sql)] == []


# connections that are kept


KEPT = {  # options of Django, and how many sessions the worker keeps when two of its three threads are well
    "persistent": ({"CONN_MAX_AGE": None, "CONN_HEALTH_CHECKS": True}, 2),
    "for a minute": ({"CONN_MAX_AGE": 60}, 2),
    "pool of one": ({"OPTIONS": {"pool": {"min_size": 1, "max_size": 1}}}, 1),
}


@integration
@pytest.mark.parametrize(("options", "kept"), KEPT.values(), ids=KEPT.keys())
def test_connections_that_are_kept(project, postgres, options, kept):
    """A thread whose sink is out of order holds none while it waits, and all come back when theirs are terminated."""
    frail = Frail(project.folder / "frail.jsonl")
    down = project.folder / "down"
    down.touch()
    project.audit["RELAY_OPTIONS"] |= {"idle_max_seconds": 2, "backoff_cap_seconds": 0.5}
    backend = f"{Frail.__module__}.{Frail.__name__}"
    project.audit["STORAGES"]["frail"] = {"BACKEND": backend, "OPTIONS": {"path": str(frail.path)}}
    project.database |= options
    with ExitStack() as writing, project.relay() as relay:
        project.wait_until(lambda: "failed" in relay.states() and project.has_caught_up())
        project.wait_until(
            lambda: sessions(postgres, project) == ["idle"] * kept
        )  # and no transaction is open

        writers = [writing.enter_context(project.writer("writer"))]
        project.wait_for_saves(writers)
        postgres.terminate_all(project.database["NAME"])
        project.wait_for_saves(writers)
        project.wait_for_deliveries()
        down.unlink()
        stop_and_check(project, writing, writers)
        project.wait_until(lambda: ids(frail) == ids(project.archive))


def sessions(postgres, project):
    """The states of the worker's sessions."""
    with closing(postgres.connect("postgres")) as connection:
        query = "SELECT state FROM pg_stat_activity WHERE datname = %s AND application_name = 'relay'"
        return [state for (state,) in connection.execute(query, [project.database["NAME"]])]


def ids(storage):
    return [recorded.id for recorded in storage.read()]
