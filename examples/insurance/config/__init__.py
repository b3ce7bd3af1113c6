"""The project's configuration. With a broker, the Celery app is loaded together with Django."""

import os

if os.environ.get("CELERY_BROKER_URL"):
    from config.celery import app as celery_app

    __all__ = ["celery_app"]
