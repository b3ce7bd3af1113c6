"""Settings of the processes that a test starts on a database of its own: their database and their sinks are the test's."""

import json
import os

from django_settings import *  # noqa: F403

AUDIT = json.loads(os.environ["AUDIT_TEST_AUDIT"])
INSTALLED_APPS = ["django.contrib.contenttypes", "django.contrib.auth", "audit_django", "testapp"]
ROOT_URLCONF = "audit_django.urls"  # of the urls of other tests, half needs apps that are not installed here
