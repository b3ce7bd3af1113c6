"""``make demo``: makes the insurance project's history if there is none yet, and serves it with its timeline.

The history is not inserted: some weeks of work are done through the project's own pages and admin, on a clock
that is set back.
"""

from __future__ import annotations

import argparse
import logging
import os
import shutil
import signal
import socket
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

PROJECT = Path(__file__).resolve().parent
VAR = Path(os.environ.get("INSURANCE_VAR") or PROJECT / "var").resolve()
OWN_DATABASE = VAR / "insurance.sqlite3"  # unless DATABASE_URL names another
HOST = "127.0.0.1"


def main() -> int:
    """Prepare, say what there is, and serve. Returns the exit code."""
    options = _options()
    if not options.no_serve and (problem := _port_problem(options.port)):
        return _fail(problem)
    is_own = not os.environ.get("DATABASE_URL")
    if options.reset and not is_own:
        return _fail("--reset deletes only the demo's own database. Empty that of DATABASE_URL yourself.")
    if options.reset:
        _delete(OWN_DATABASE)
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
    os.environ.setdefault("DEBUG", "1")
    sys.path.insert(0, str(PROJECT))
    try:
        prepare(options.days, is_own=is_own)
    except KeyboardInterrupt:
        again = (
            "Start again: what was half made is thrown away."
            if is_own
            else "The database of DATABASE_URL holds a part of it."
        )
        return _fail(f"Interrupted while the history was made. {again}")
    if options.no_serve:
        return 0
    print(welcome(options.port))
    return serve(options.port)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="demo.py",
        description="Make the history of the insurance example, then serve the example and its timeline.",
        epilog="The database is kept: the next start loses nothing. DATABASE_URL names another one.",
    )
    port = os.environ.get("PORT") or "8000"
    parser.add_argument("--port", type=int, default=port, help="where to serve; default: $PORT, or 8000")
    parser.add_argument(
        "--days", type=int, default=21, help="how many days of history to make; default: %(default)s"
    )
    parser.add_argument(
        "--reset", action="store_true", help="delete the demo's database and make the history again"
    )
    parser.add_argument("--no-serve", action="store_true", help="only prepare")
    options = parser.parse_args()
    if options.days < 1:
        parser.error("--days must be 1 or more.")
    return options


def _fail(message: str) -> int:
    print(message, file=sys.stderr)
    return 1


def _port_problem(port: int) -> str | None:
    """Why nothing can be served on ``port``; ``None`` when it is free. Asked first: nobody shall wait for it."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except (OSError, OverflowError) as error:
            why, other = getattr(error, "strerror", None) or error, 8001 if port != 8001 else 8002
            return (
                f"Port {port} cannot be used: {why}. Choose another one, for example: make demo PORT={other}"
            )
    return None


def prepare(days: int, *, is_own: bool) -> None:
    """Bring the database up to date, and make the history if nobody has an account yet.

    The demo's own database gets its name once it is complete: an interrupted start leaves nothing half made.
    """
    unfinished = OWN_DATABASE.with_suffix(".unfinished")
    is_new = is_own and not OWN_DATABASE.exists()
    if is_new:
        _delete(unfinished)
        shutil.rmtree(VAR / "media", ignore_errors=True)
        os.environ["DATABASE_URL"] = f"sqlite:///{unfinished}"
    import django

    django.setup()
    from django.contrib.auth import get_user_model
    from django.core.management import call_command
    from django.db import connection

    if not is_new:
        call_command("migrate", verbosity=0)
        if get_user_model().objects.exists():
            return
    make_history(days)
    if is_new:
        connection.close()  # SQLite puts its journal into the file
        unfinished.replace(OWN_DATABASE)
        connection.settings_dict["NAME"] = str(OWN_DATABASE)


def make_history(days: int) -> None:
    """Let people work for some days through the application's pages."""
    from django.core.management import call_command

    from audit_django.models import AuditEvent
    from history.story import Story

    logging.getLogger("django.request").setLevel(
        logging.ERROR
    )  # what is refused in the history is refused on purpose
    started = time.monotonic()
    with _progress(days) as progress, _interruptible() as look:

        def day_done(done: int, total: int) -> None:
            progress(done, total)
            look()

        Story(days, datetime.now(UTC), day_done).tell(lambda: call_command("migrate", verbosity=0))
    seconds = time.monotonic() - started
    logging.getLogger("django.request").setLevel(logging.NOTSET)
    print(f"Made {AuditEvent.objects.count()} events in {days} days of work, in {seconds:.0f} s.")


@contextmanager
def _interruptible() -> Iterator[Callable[[], None]]:
    """A Ctrl-C is heard when the block calls what it is given.

    Raised at any moment, as Python does, it would be lost in a destructor now and then.
    """
    pressed: list[int] = []
    before = signal.signal(signal.SIGINT, lambda number, frame: pressed.append(number))

    def look() -> None:
        if pressed:
            raise KeyboardInterrupt

    try:
        yield look
    finally:
        signal.signal(signal.SIGINT, before)


@contextmanager
def _progress(days: int) -> Iterator[Callable[[int, int], object]]:
    """Something to look at: a bar on a terminal with rich, a line now and then without."""
    what = f"Two insurers work for {days} days"
    try:
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
    except ImportError:
        Progress = None  # type: ignore[assignment,misc]  # noqa: N806
    if Progress is None or not sys.stdout.isatty():
        print(f"{what} …", flush=True)
        yield (
            lambda done, total: (
                print(f"  day {done} of {total}", flush=True) if done and done % 7 == 0 else None
            )
        )
        return
    with Progress(TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn()) as bar:
        task = bar.add_task(what, total=days)
        yield lambda done, total: bar.update(task, completed=done)


def welcome(port: int) -> str:
    """The address, the logins and what to try."""
    from audit_django.models import AuditEvent
    from history import people

    events = AuditEvent.objects.filter(target_type="policies.Policy", actor_label="Alice Moreau").order_by(
        "-number"
    )
    newest = events.first()
    policy = (newest.event.target.repr if newest and newest.event.target else None) or "P-1001"
    base = f"http://localhost:{port}"
    return f"""
  The application   {base}/
  Its timeline      {base}/audit/

  Log in as         alice    a lead of Northwind Mutual: may approve, sees the trail of her insurer
                    bob      a claims handler there; daniel and erin are at Lakeside Life
                    olivia   an auditor: sees the trail of both insurers and nothing else
                    admin    everything, and the admin at {base}/admin/
  Password          {people.PASSWORD} (all of them)

  What to try
    1. As alice, open {base}/policies/{policy}/ and read its history at the foot of the page.
    2. Edit that policy: its premium, a tag, the notes. The change is in the timeline at once.
    3. In the timeline press / and type “{policy}”, then f for filters, ? for the other keys.
    4. Delete a claim that has documents: it goes with them, and all its values stay readable.
    5. Log in as olivia and look for what failed: 203.0.113.9 tried some passwords.

  Ctrl-C stops it. Nothing is lost: the next start finds everything as you left it.
"""


def serve(port: int) -> int:
    """Serve until somebody presses Ctrl-C."""
    from django.core.management import call_command

    os.environ["DJANGO_RUNSERVER_HIDE_WARNING"] = "true"
    sys.stdout.flush()
    try:
        call_command("runserver", f"{HOST}:{port}", use_reloader=False, skip_checks=True)
    except (KeyboardInterrupt, SystemExit):
        print()
    return 0


def _delete(database: Path) -> None:
    for suffix in ("", "-wal", "-shm", "-journal"):
        database.with_name(database.name + suffix).unlink(missing_ok=True)


if __name__ == "__main__":
    sys.exit(main())
