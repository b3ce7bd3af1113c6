"""A project with Celery, as users have it: settings and app in one module. The test says which broker and which sinks."""

import json
import os

from celery import Celery
from django_settings import *  # noqa: F403

from audit_django.tasks import BEAT_SCHEDULE

AUDIT = json.loads(os.environ["AUDIT_TEST_AUDIT"])
CELERY_BROKER_URL = os.environ["AUDIT_TEST_BROKER"]
CELERY_TASK_DEFAULT_QUEUE = os.environ["AUDIT_TEST_QUEUE"]
CELERY_BEAT_SCHEDULE = BEAT_SCHEDULE
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True

app = Celery("celery_project")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()
