"""The Celery app: ``celery -A config worker --beat``. Only loaded when CELERY_BROKER_URL is set."""

import os

from celery import Celery

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")

app = Celery("insurance")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()
