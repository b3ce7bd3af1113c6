"""The Celery app, for tasks of the project's own. Only loaded when CELERY_BROKER_URL is set and Celery is installed."""

import os

from django.core.exceptions import ImproperlyConfigured

try:
    from celery import Celery
except ImportError as error:
    raise ImproperlyConfigured(
        "CELERY_BROKER_URL is set, but Celery is not installed: pip install celery."
    ) from error

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")

app = Celery("insurance")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()
