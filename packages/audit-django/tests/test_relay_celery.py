"""The relay as a Celery task, in processes as users have them: one that saves, a worker, and a broker that may be away."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from uuid import uuid4

import pytest
from django.db import connection
from testapp.models import Tag

from audit_django.models import AuditEvent, LogEntry, OutboxEntry
from audit_django.relay.nudge import PAUSE_SECONDS

pytest.importorskip("celery", reason="Celery is not installed")
pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.slow]

WAIT = 60  # seconds, for another process
SAVE = """
import json, socket, sys, threading, time
import django
django.setup()
from testapp.models import Tag
import celery_project

callers = []
connect = socket.socket.connect
def recorded(self, address):
    if address[1] == json.loads(sys.argv[2]):
        callers.append(threading.current_thread().name)
    return connect(self, address)
socket.socket.connect = recorded

started = time.monotonic()
for number in range(int(sys.argv[1])):
    Tag.objects.create(name=str(number))
seconds = time.monotonic() - started
from audit_django.relay.nudge import nudger
print(json.dumps({"seconds": seconds, "nudged": nudger.flush(30), "callers": callers}))
"""


class Project:
    """The processes of :mod:`celery_project` on the database of the test, with one broker and one file as sink."""

    def __init__(self, broker, port, folder):
        self.queue = f"audit-test-{uuid4().hex}"
        self.port = port
        self.sink = folder / "events.jsonl"
        self.broker = broker
        self.environment = {
            **os.environ,
            "AUDIT_TEST_WORKER_DATABASE": json.dumps(
                {
                    key: value
                    for key, value in connection.settings_dict.items()
                    if key in ("NAME", "ENGINE", "USER", "PASSWORD", "HOST", "PORT")
                },
                default=str,
            ),
            "AUDIT_TEST_AUDIT": json.dumps(
                {
                    "RELAY": "celery",
                    "STORAGES": {
                        "default": {"BACKEND": "database"},
                        "file": {"BACKEND": "jsonl", "OPTIONS": {"path": str(self.sink)}},
                    },
                }
            ),
            "AUDIT_TEST_BROKER": broker,
            "AUDIT_TEST_QUEUE": self.queue,
            "DJANGO_SETTINGS_MODULE": "celery_project",
            "PYTHONPATH": os.pathsep.join([str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")]),
        }

    def run(self, *arguments):
        """Run Python with these arguments to its end; what it wrote to its two outputs."""
        run = subprocess.run(
            [sys.executable, *arguments], env=self.environment, capture_output=True, text=True, timeout=WAIT, check=False
        )  # fmt: skip
        assert run.returncode == 0, run.stdout + run.stderr
        return run.stdout, run.stderr

    def save(self, number):
        """Save so many objects in a process of its own; what it reports, and its complaints."""
        out, err = self.run("-c", SAVE, str(number), str(self.port))
        return json.loads(out), err

    def call(self):
        """Queue the task as the beat does: for every database."""
        self.run("-m", "celery", "-A", "celery_project", "call", "audit.relay")

    def worker(self):
        """A real worker."""
        command = [
            sys.executable,
            "-m",
            "celery",
            "-A",
            "celery_project",
            "worker",
            "-P",
            "solo",
            "-l",
            "WARNING",
        ]
        return Process([*command, "-Q", self.queue], self.environment)

    def delivered(self):
        """The labels of the objects whose events the sink has, in its order."""
        lines = self.sink.read_text().splitlines() if self.sink.exists() else []
        return [json.loads(line)["target"]["repr"] for line in lines]

    def queued(self):
        """How many tasks are in the queue."""
        from kombu import Connection

        with Connection(self.broker) as broker:
            return broker.default_channel.queue_declare(self.queue, passive=True).message_count

    def remove_queue(self):
        from kombu import Connection, Exchange, Queue

        with Connection(self.broker) as broker:
            queue = Queue(self.queue, Exchange(self.queue), self.queue, channel=broker.default_channel)
            queue.declare()  # on Redis the bindings alone that this connection has made go with the queue
            queue.delete()
            queue.exchange.delete()


class Process:
    """A process that ends with the block."""

    def __init__(self, command, environment):
        self.process = subprocess.Popen(
            command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )

    def wait_until(self, condition):
        deadline = time.monotonic() + WAIT
        while not condition():  # another process: nothing here can be waited for
            assert self.process.poll() is None, self.process.communicate()
            assert time.monotonic() < deadline
            time.sleep(0.05)

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.process.send_signal(signal.SIGTERM)
        try:
            self.output, _ = self.process.communicate(timeout=WAIT)
        finally:
            self.process.kill()


@pytest.fixture(params=["AUDIT_TEST_REDIS", "AUDIT_TEST_RABBITMQ"])
def project(request, tmp_path):
    """A project on a real broker."""
    if request.param not in os.environ:
        pytest.skip(f"needs a server, named by {request.param}")
    broker = os.environ[request.param]
    from kombu.utils.url import parse_url

    project = Project(broker, parse_url(broker)["port"], tmp_path)
    yield project
    project.remove_queue()


@pytest.fixture(params=["closed", "black hole"])
def away(request):
    """The port of a broker that refuses every connection, or accepts it and says nothing."""
    with socket.create_server(("127.0.0.1", 0), backlog=100) as server:
        port = server.getsockname()[1]
        if request.param == "closed":
            server.close()
        yield port


@pytest.mark.integration
def test_a_worker_delivers_what_another_process_commits(project):
    with project.worker() as worker:
        project.save(30)
        worker.wait_until(lambda: len(project.delivered()) == 30)
        project.save(1)  # ends before its nudge could wait out a pause
        worker.wait_until(lambda: len(project.delivered()) == 31)
    assert "Traceback" not in worker.output
    assert project.delivered() == [*map(str, range(30)), "0"]
    assert OutboxEntry.objects.count() == 0


@pytest.mark.integration
def test_a_thousand_commits_queue_a_handful_of_tasks(project):
    report, complaints = project.save(1000)
    assert complaints == ""
    most = (
        report["seconds"] / PAUSE_SECONDS + 2
    )  # the first, one a pause, and the last at the end of the process
    assert 1 <= project.queued() <= most
    assert set(report["callers"]) == {"audit-nudge"}
    with project.worker() as worker:
        worker.wait_until(lambda: len(project.delivered()) == 1000)


@pytest.mark.integration
def test_the_beat_finds_what_no_nudge_came_through_for(project, away, tmp_path):
    Project(f"redis://127.0.0.1:{away}/0", away, tmp_path).save(3)
    assert OutboxEntry.objects.count() == 3
    project.call()
    with project.worker() as worker:
        worker.wait_until(lambda: project.delivered() == ["0", "1", "2"])


@pytest.mark.parametrize("scheme", ["redis", "amqp"])
def test_no_request_talks_to_a_broker_that_is_away(scheme, away, tmp_path):
    project = Project(f"{scheme}://user:swordfish@127.0.0.1:{away}", away, tmp_path)
    report, complaints = project.save(100)
    assert report["nudged"]  # the thread is done with it, so this is all that was tried and said
    assert set(report["callers"]) == {"audit-nudge"}
    assert Tag.objects.count() == AuditEvent.objects.count() == OutboxEntry.objects.count() == 100
    assert complaints.count("cannot be queued (OperationalError from ") == 1
    assert len(complaints.splitlines()) == 1
    assert "swordfish" not in complaints

    project.run("-m", "django", "audit", "relay", "--once")
    assert len(project.delivered()) == LogEntry.objects.count() == 100
