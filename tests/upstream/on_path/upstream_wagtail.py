"""Settings for Wagtail's own tests, plain or under audit."""

import os

from wagtail.test.settings import *  # noqa: F403

TEST_RUNNER = "upstream_runner.Runner"
MEDIA_ROOT = os.path.join(os.environ["UPSTREAM_MEDIA"], "media")
STATIC_ROOT = os.path.join(os.environ["UPSTREAM_MEDIA"], "static")

if "UPSTREAM_AUDITED" in os.environ:
    INSTALLED_APPS = [*INSTALLED_APPS, "audit_django"]  # noqa: F405
    MIDDLEWARE = [*MIDDLEWARE, "audit_django.middleware.AuditMiddleware"]  # noqa: F405
    AUDIT = {"MODELS": "all"}
