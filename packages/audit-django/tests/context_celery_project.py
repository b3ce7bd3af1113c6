"""The project of test_relay_celery with tasks of its own, each of which records who it was done for."""

import os

from celery import group, shared_task
from celery_project import *  # noqa: F403
from celery_project import app

app.conf.update(
    result_backend=os.environ["AUDIT_TEST_RESULTS"],
    task_acks_late=True,
    task_reject_on_worker_lost=True,
    task_protocol=int(os.environ.get("AUDIT_TEST_TASK_PROTOCOL", "2")),
)


def mark(name):
    from audit_django import record

    record("worked", extra={"task": name})


@shared_task(name="simple")
def simple(*args):
    mark("simple")


@shared_task(name="failing", bind=True, max_retries=2)
def failing(self):
    mark(f"failing {self.request.retries}")
    if self.request.retries < 2:
        raise self.retry(countdown=0.01)
    raise ValueError("on purpose")


@shared_task(name="nested")
def nested():
    mark("nested")
    simple.delay()


@shared_task(name="eager")
def eager():
    simple.apply()
    mark("eager")


@shared_task(name="member", ignore_result=False)
def member(*args):
    mark("member")


@shared_task(name="body")
def body(*args):
    mark("body")


@shared_task(name="replaced", bind=True)
def replaced(self):
    raise self.replace(group(member.s(), member.s()) | body.s())


@shared_task(name="dies", bind=True)
def dies(self):
    """The first delivery kills the process that works on it, before it acknowledges."""
    if not self.request.delivery_info["redelivered"]:
        os._exit(1)
    mark("dies")


@shared_task(name="audit_error")
def audit_error(*args):
    mark("audit_error")
