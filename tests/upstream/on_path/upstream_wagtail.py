"""Settings for Wagtail's own tests, plain or under audit."""

import os
from pathlib import Path
from tempfile import TemporaryDirectory

from upstream_server import postgres
from wagtail.test.settings import *  # noqa: F403

TEST_RUNNER = "upstream_runner.Runner"
files = TemporaryDirectory()  # gone when the process ends
MEDIA_ROOT = Path(files.name) / "media"
STATIC_ROOT = Path(files.name) / "static"

if "UPSTREAM_POSTGRES" in os.environ:
    DATABASES = {"default": postgres("wagtail")}
    INSTALLED_APPS = [*INSTALLED_APPS, "django.contrib.postgres"]  # noqa: F405

if "UPSTREAM_AUDITED" in os.environ:
    INSTALLED_APPS = [*INSTALLED_APPS, "audit_django"]
    MIDDLEWARE = [*MIDDLEWARE, "audit_django.middleware.AuditMiddleware"]  # noqa: F405
    AUDIT = {"MODELS": "all"}
