"""What the capture costs: the time of each way of writing, as a ratio to plain Django.

    python benchmarks/capture.py                                     # SQLite
    AUDIT_TEST_POSTGRES=… python benchmarks/capture.py --database postgres
    python benchmarks/capture.py create delete --rounds 15            # some workloads

All kinds take turns within each round, so that whatever else the machine does strikes all of them; a ratio is the median over the
rounds of the time of one kind to that of plain Django in the same round. "floor" writes one row with plain SQL beside each write,
in the same transaction: less than that no audit trail in the same database can cost. Other packages are measured where they are
installed: django-auditlog, django-simple-history, django-reversion and (on PostgreSQL) django-pghistory.

--delay-ms puts a proxy between us and PostgreSQL that keeps back every answer for so long.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import contextmanager, nullcontext
from pathlib import Path

sys.path[:0] = [
    str(Path(__file__).parent),
    str(Path(__file__).resolve().parents[1] / "packages/audit-django/tests"),
]

from django.conf import settings

OPTIONS = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
OPTIONS.add_argument("workloads", nargs="*", help="all of them")
OPTIONS.add_argument("--database", choices=["sqlite", "postgres"], default="sqlite")
OPTIONS.add_argument("--rounds", type=int, default=9)
OPTIONS.add_argument(
    "--delay-ms", type=float, default=0.0, help="only PostgreSQL; 0.7 is a server in another rack"
)
OPTIONS.add_argument("--kinds", nargs="*", help="all of them")
OPTIONS.add_argument("--profile", metavar="KIND", help="profile this kind instead of measuring")


def configure(database: dict) -> None:
    """Settings of a project with nothing but the packages that are compared."""
    import importlib.util

    apps = ["django.contrib.auth", "django.contrib.contenttypes", "audit_django", "capture_models"]
    others = ["auditlog", "simple_history", "reversion"]
    others += ["pgtrigger", "pghistory"] if database["ENGINE"].endswith("postgresql") else []
    found = [name for name in others if importlib.util.find_spec(name)]
    if "pghistory" not in found:
        sys.modules["pghistory"] = None  # type: ignore[assignment]
    settings.configure(
        DATABASES={"default": database},
        INSTALLED_APPS=[*found, *apps],
        USE_TZ=True,
        DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
        AUDIT={"RELAY": "worker"},
        SECRET_KEY="only for measuring",
        MIGRATION_MODULES={"capture_models": None},
    )
    import django

    django.setup()


def make(model, n: int, **values):
    """An object that is not saved yet."""
    from datetime import UTC, date, datetime
    from decimal import Decimal

    return model(
        number=f"P-{n}",
        holder="Jane Doe-Smith",
        premium=Decimal("1200.00"),
        valid_from=date(2026, 3, 1),
        created_at=datetime(2026, 3, 1, 9, 30, tzinfo=UTC),
        **values,
    )


class Workload:
    """One way of writing: ``prepare`` makes what ``work`` takes ``times`` times; only that is measured."""

    def __init__(self, name: str, times: int, prepare: Callable, work: Callable) -> None:
        self.name, self.times, self.prepare, self.work = name, times, prepare, work


def saved(model, n: int) -> list:
    model._base_manager.bulk_create([make(model, i) for i in range(n)])
    return list(model._base_manager.order_by("-pk")[:n])


def workloads() -> list[Workload]:
    """Those of the table in the docs."""
    from capture_models.models import Label
    from django.db import transaction
    from django.db.models import F

    def update(policy, kind):
        policy.status = "approved"
        with around(kind):
            policy.save()

    def updates(policies, kind):
        with transaction.atomic(), around(kind):
            for policy in policies:
                policy.status = "approved"
                policy.save()

    def create(policy, kind):
        with around(kind):
            policy.save()

    def delete(policy, kind):
        with around(kind):
            policy.delete()

    def unchanged(policy, kind):
        with around(kind):
            policy.save()

    def many(policies, kind):
        with around(kind):
            type(policies[0])._base_manager.bulk_create(policies)

    def update_many(rows, kind):
        with around(kind):
            rows.update(discount=F("discount") + 1)

    def links(pair, kind):
        policy, labels = pair
        with around(kind):
            policy.labels.add(*labels)
            policy.labels.remove(*labels)

    def iterate(rows, kind):
        for _ in rows.all():
            pass

    def with_labels(model):
        labels = list(Label.objects.all()[:5])
        return [(policy, labels) for policy in saved(model, 30)] if hasattr(model, "labels") else None

    def rows_of(model):
        model._base_manager.all().delete()
        saved(model, 1000)
        return model._base_manager.all()

    return [
        Workload("create", 1, lambda m: [make(m, i) for i in range(100)], create),
        Workload("update one field", 1, lambda m: saved(m, 100), update),
        Workload("100 updates in one block", 100, lambda m: [saved(m, 100)], updates),
        Workload("delete", 1, lambda m: saved(m, 100), delete),
        Workload("bulk_create of 1,000", 1000, lambda m: [[make(m, i) for i in range(1000)]], many),
        Workload("update() over 1,000 rows", 1000, lambda m: [rows_of(m)], update_many),
        Workload("m2m +5 -5", 1, with_labels, links),
        Workload("iterate 1,000", 1000, lambda m: [rows_of(m)] * 5, iterate),
        Workload("save without change", 1, lambda m: saved(m, 100), unchanged),
    ]


INSERT = "INSERT INTO bench_floor (kind, target, body) VALUES (%s, %s, %s)"
BODY = "x" * 600  # the size of an event


def around(kind: str):
    """What a write of this kind stands in."""
    if kind == "floor":
        return floor()
    if kind == "reversion":
        import reversion

        return reversion.create_revision()
    return nullcontext()


def floor_table(vendor: str) -> str:
    """The CREATE of the table that :func:`floor` writes to."""
    key = "BIGSERIAL" if vendor == "postgresql" else "INTEGER"
    return f"CREATE TABLE bench_floor (id {key} PRIMARY KEY, kind TEXT, target TEXT, body TEXT)"


@contextmanager
def floor():
    from django.db import connection, transaction

    with transaction.atomic():
        yield
        with connection.cursor() as cursor:
            cursor.execute(INSERT, ("update", "1", BODY))


def measure(workload: Workload, model, kind: str) -> float | None:
    """Seconds of one unit of work."""
    prepared = workload.prepare(model)
    if prepared is None:
        return None
    started = time.perf_counter()
    for item in prepared:
        workload.work(item, kind)
    return (time.perf_counter() - started) / len(prepared) / workload.times


def start_anew() -> None:
    """Empty tables, and the labels that are linked."""
    from capture_models.models import Label
    from django.core.management import call_command

    call_command("flush", interactive=False, verbosity=0)
    Label.objects.bulk_create([Label(name=f"label {n}") for n in range(5)])


def run(options: argparse.Namespace) -> None:
    from django.core.management import call_command
    from django.db import connection

    call_command("migrate", verbosity=0)
    call_command("migrate", verbosity=0, run_syncdb=True)  # our own models, which refer to the others
    with connection.cursor() as cursor:
        cursor.execute(floor_table(connection.vendor))
    from capture_models.models import KINDS, Floor, Plain

    kinds = {"plain": Plain, "floor": Floor, **KINDS}
    if options.kinds:
        kinds = {name: kinds[name] for name in ("plain", *options.kinds)}
    print(f"{connection.vendor}, {options.rounds} rounds, ratios to plain Django\n")
    names = list(kinds)
    print(f"{'':28}{'plain':>10}" + "".join(f"{name:>16}" for name in names[1:]))
    for workload in workloads():
        if options.workloads and workload.name not in options.workloads:
            continue
        start_anew()
        if options.profile:
            profile(workload, kinds[options.profile], options.profile)
            continue
        times: dict[str, list[float]] = {name: [] for name in names}
        for n in range(options.rounds + 1):
            for name in names[n % len(names) :] + names[: n % len(names)]:
                took = measure(workload, kinds[name], name)
                if took is not None and n:  # the first round warms up
                    times[name].append(took)
        ratios = {
            name: statistics.median(a / b for a, b in zip(found, times["plain"], strict=True))
            if found
            else None
            for name, found in times.items()
        }
        base = f"{statistics.median(times['plain']) * 1e6:,.0f} µs"
        cells = "".join(f"{'–' if ratios[n] is None else f'{ratios[n]:.2f}':>16}" for n in names[1:])
        print(f"{workload.name:28}{base:>10}{cells}", flush=True)


def profile(workload: Workload, model, kind: str) -> None:
    """Where the time goes."""
    import cProfile
    import pstats

    measure(workload, model, kind)
    prepared = workload.prepare(model)
    profiler = cProfile.Profile()
    profiler.enable()
    for item in prepared:
        workload.work(item, kind)
    profiler.disable()
    print(workload.name)
    pstats.Stats(profiler).sort_stats("tottime").print_stats(30)


def main() -> None:
    options = OPTIONS.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        if options.database == "sqlite":
            configure(
                {
                    "ENGINE": "django.db.backends.sqlite3",
                    "NAME": f"{folder}/bench.sqlite3",
                }
            )
            run(options)
            return
        on_postgres(options, run)


def on_postgres(options: argparse.Namespace, run: Callable) -> None:
    """Run in a database of its own, which is dropped."""
    from urllib.parse import urlsplit

    import psycopg
    from delay_proxy import delayed

    url = os.environ["AUDIT_TEST_POSTGRES"]
    address, name = urlsplit(url), f"audit_bench_{os.getpid()}"
    host, port = str(address.hostname), int(address.port or 5432)
    proxy = delayed((host, port), options.delay_ms / 1000) if options.delay_ms else nullcontext(port)
    with psycopg.connect(url, autocommit=True) as admin, proxy as used_port:
        admin.execute(f"CREATE DATABASE {name}")
        try:
            configure(
                {
                    "ENGINE": "django.db.backends.postgresql",
                    "NAME": name,
                    "HOST": host,
                    "PORT": used_port,
                    "USER": address.username,
                    "PASSWORD": address.password or "",
                }
            )
            run(options)
        finally:
            from django.db import connections

            connections.close_all()
            admin.execute(f"DROP DATABASE {name} WITH (FORCE)")


if __name__ == "__main__":
    main()
