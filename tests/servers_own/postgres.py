"""A PostgreSQL and a PgBouncer of a test's own, to be crashed at will. The shared server of the tests is everybody's."""

from __future__ import annotations

import os
import random
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Generator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest

START_SECONDS = 60.0
PORTS = range(20_000, 32_000)  # below those that outgoing connections take: a restart needs its port again
USER = "postgres"  # the database's, and the machine's where we are root: neither program runs as root


def postgres_programs() -> Path | None:
    """The folder of ``initdb`` and ``postgres``: on the PATH, or the newest of Debian's."""
    if on_path := shutil.which("initdb"):
        return Path(on_path).resolve().parent
    installed = Path("/usr/lib/postgresql").glob("*/bin/initdb")
    return max((path.parent for path in installed), key=lambda folder: int(folder.parent.name), default=None)


def pgbouncer_program() -> str | None:
    """PgBouncer, which Debian keeps off the PATH of users."""
    return shutil.which("pgbouncer", path=os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin"]))


def free_port() -> int:
    """A port on which nobody listens."""
    while True:
        port = random.choice(PORTS)
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)):
                return port


@contextmanager
def folder() -> Generator[Path]:
    """A folder for the server's user: pytest's own may be read by nobody but us."""
    path = Path(tempfile.mkdtemp(prefix="audit-server-"))
    try:
        if os.geteuid() == 0:
            shutil.chown(path, USER)
        yield path
    finally:
        shutil.rmtree(path)


class Server:
    """A process that listens on a port of loopback, as a user of lower rank when we are root."""

    def __init__(self, folder: Path) -> None:
        self.port = free_port()
        self.log = folder / "log"
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None

    def connect(self, database: str) -> psycopg.Connection[Any]:
        """A connection in autocommit."""
        return psycopg.connect(
            host="127.0.0.1", port=self.port, user=USER, dbname=database, autocommit=True, connect_timeout=10
        )

    def end(self, number: signal.Signals) -> None:
        """Send a signal, and wait until it is gone."""
        if self._process is not None:
            self._process.send_signal(number)
            self._process.wait(START_SECONDS)
            self._process = None

    def _privileges(self) -> dict[str, Any]:
        return {"user": USER, "group": USER, "extra_groups": []} if os.geteuid() == 0 else {}

    def _launch(self, *command: str | Path) -> None:
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                command, cwd=self._folder, stdin=subprocess.DEVNULL, stdout=log, stderr=log, **self._privileges()
            )  # fmt: skip

    def _wait_for(self, database: str) -> None:
        deadline = time.monotonic() + START_SECONDS
        while True:
            try:
                return self.connect(database).close()
            except psycopg.OperationalError as error:
                gone = self._process is None or self._process.poll() is not None
                if gone or time.monotonic() > deadline:
                    raise AssertionError(f"It does not start: {self.log.read_text()[-2000:]}") from error
                time.sleep(0.02)  # it tells nobody when it is ready


class Postgres(Server):
    """A cluster in ``folder``. Durable but for fsync: a crash of its processes loses nothing that was committed."""

    OPTIONS = (
        "listen_addresses=127.0.0.1",
        "unix_socket_directories=",
        "fsync=off",
        "shared_buffers=16MB",
        "log_line_prefix=%d ",
    )

    def __init__(self, programs: Path, folder: Path) -> None:
        super().__init__(folder)
        self._programs = programs
        self._data = folder / "data"
        make = ("-D", self._data, "-A", "trust", "-U", USER, "-E", "UTF8", "--locale=C", "-N")
        command = [programs / "initdb", *make]
        subprocess.run(command, cwd=folder, check=True, capture_output=True, **self._privileges())

    def start(self) -> None:
        """Start, recover if it crashed, and wait until it answers."""
        options = [word for option in self.OPTIONS for word in ("-c", option)]
        self._launch(self._programs / "postgres", "-D", self._data, "-p", str(self.port), *options)
        self._wait_for("postgres")

    def crash(self) -> None:
        """End all its processes at once, without a checkpoint and without a word to the clients that waits for them."""
        self.end(signal.SIGQUIT)

    def entry(self, database: str) -> dict[str, Any]:
        """A database of it, as an entry of DATABASES."""
        engine = "django.db.backends.postgresql"
        address = {"HOST": "127.0.0.1", "PORT": self.port, "USER": USER, "PASSWORD": ""}
        return {"ENGINE": engine, "NAME": database, **address, "OPTIONS": {}}

    def terminate_all(self, database: str) -> None:
        """End every session in a database, as an administrator or a failover does."""
        with closing(self.connect("postgres")) as connection:
            connection.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s AND pid <> pg_backend_pid()",
                [database],
            )

    def statements(self, database: str) -> list[str]:
        """What was executed in a database since its ``log_statement`` is ``all``, each in one line.

        A statement that was prepared under a name is ``PREPARE`` and the statement.
        """
        entries = self.log.read_text().replace("\n\t", " ").splitlines()
        mine = (
            entry.removeprefix(f"{database} LOG:  ")
            for entry in entries
            if entry.startswith(f"{database} LOG:")
        )
        said = [entry.partition(": ") for entry in mine]
        prepared = {
            what: "" if what in ("statement", "execute <unnamed>") else "PREPARE " for what, _, _ in said
        }
        return [
            prepared[what] + " ".join(sql.split())
            for what, _, sql in said
            if what.startswith(("statement", "execute"))
        ]


@contextmanager
def own_postgres() -> Generator[Postgres]:
    """A PostgreSQL for the length of a block; the test is skipped on a machine that has not the programs."""
    programs = postgres_programs()
    if programs is None:
        pytest.skip(
            "needs a PostgreSQL of its own: initdb and postgres, on the PATH or where Debian has them"
        )
    with folder() as place:
        postgres = Postgres(programs, place)
        postgres.start()
        try:
            yield postgres
        finally:
            postgres.crash()  # nobody needs its data any more


class PgBouncer(Server):
    """A pooler in transaction mode in front of ``postgres``: a client has a server's session for one transaction."""

    def __init__(self, program: str, folder: Path, postgres: Postgres, pool_size: int) -> None:
        super().__init__(folder)
        (folder / "users").write_text(f'"{USER}" ""\n')
        self._config = folder / "pgbouncer.ini"
        self._config.write_text(
            f"""
[databases]
* = host=127.0.0.1 port={postgres.port}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {self.port}
unix_socket_dir =
auth_type = trust
auth_file = {folder / "users"}
pool_mode = transaction
default_pool_size = {pool_size}
admin_users = {USER}
"""
        )
        self._program = program

    def start(self) -> None:
        """Start, and wait until it answers."""
        self._launch(self._program, self._config)
        self._wait_for("pgbouncer")

    def stop(self) -> None:
        """End it, whoever is connected."""
        self.end(signal.SIGTERM)

    def pools(self, database: str) -> dict[str, Any]:
        """What PgBouncer tells of the pool of a database."""
        with closing(self.connect("pgbouncer")) as connection:
            cursor = connection.execute("SHOW POOLS")
            names = [column.name for column in cursor.description or ()]
            [pool] = [
                row
                for row in (dict(zip(names, row, strict=True)) for row in cursor)
                if row["database"] == database
            ]
            return pool
