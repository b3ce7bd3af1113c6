"""Settings for Django's own tests, plain or under audit. ``runtests.py`` has the folder of ``test_sqlite`` on its path."""

import os
import sys

from test_sqlite import *  # noqa: F403
from upstream_server import postgres

TEST_RUNNER = "upstream_runner.Runner"

if "UPSTREAM_POSTGRES" in os.environ:
    DATABASES = {alias: postgres(alias) for alias in ("default", "other")}

# The apps that every test has: runtests.py installs them before it looks for tests. Its subprocesses need nothing of ours.
if "UPSTREAM_AUDITED" in os.environ and hasattr(sys.modules["__main__"], "ALWAYS_INSTALLED_APPS"):
    runtests = sys.modules["__main__"]
    runtests.ALWAYS_INSTALLED_APPS.append("audit_django")
    runtests.ALWAYS_MIDDLEWARE.append("audit_django.middleware.AuditMiddleware")
    AUDIT = {"MODELS": "all", "DATABASES": ["default", "other"]}
