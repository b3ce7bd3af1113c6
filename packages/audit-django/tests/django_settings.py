"""Settings of the test runs. The database is chosen by AUDIT_TEST_DATABASE: sqlite (the default), postgres or mariadb."""

import json
import os
from pathlib import Path
from urllib.parse import urlsplit

SECRET_KEY = "only for tests"
USE_TZ = True
TIME_ZONE = "UTC"
ROOT_URLCONF = "test_urls"
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
ALLOWED_HOSTS = ["*"]
STATIC_URL = "static/"
MEDIA_ROOT = Path(os.environ.get("TMPDIR", "/tmp")) / "audit-test-media"

INSTALLED_APPS = [
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "rest_framework",
    "rest_framework.authtoken",
    "audit_django",
    "testapp",
    "cornerapp",
]
MIDDLEWARE = [
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "audit_django.middleware.AuditMiddleware",
]
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ]
        },
    }
]
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
AUDIT = {}


def database(kind: str, name: str) -> dict:
    """One entry of DATABASES; the test database's name tells processes that run side by side apart."""
    test = {"NAME": f"audit_test_{name}_{os.getpid()}"}
    if kind == "sqlite":
        # A file, as users have one: threads that share a database in memory do not wait for one another's locks.
        folder = os.environ.get("TMPDIR", "/tmp")
        return {
            "ENGINE": "django.db.backends.sqlite3",
            "NAME": f"{folder}/audit_{os.getpid()}.sqlite3",  # never made; a live server shares what is in memory
            "TEST": {"NAME": f"{folder}/{test['NAME']}.sqlite3"},
            "OPTIONS": {"init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=OFF"},
        }
    variable = {"postgres": "AUDIT_TEST_POSTGRES", "mariadb": "AUDIT_TEST_MARIADB"}[kind]
    if variable not in os.environ:
        raise SystemExit(f"AUDIT_TEST_DATABASE={kind} needs the server's address in {variable}.")
    url = urlsplit(os.environ[variable])
    entry = {
        "NAME": url.path.lstrip("/"),
        "USER": url.username,
        "PASSWORD": url.password or "",
        "HOST": url.hostname,
        "PORT": url.port,
        "TEST": test,
    }
    if kind == "postgres":
        return {"ENGINE": "django.db.backends.postgresql", **entry}
    try:
        import MySQLdb  # noqa: F401
    except ImportError:
        import pymysql

        pymysql.install_as_MySQLdb()
    return {"ENGINE": "django.db.backends.mysql", **entry, "OPTIONS": {"charset": "utf8mb4"}}


_kind = os.environ.get("AUDIT_TEST_DATABASE", "sqlite")
DATABASES = {"default": database(_kind, "default"), "other": database(_kind, "other")}
if worker := os.environ.get("AUDIT_TEST_WORKER_DATABASE"):  # a process that a test starts on its own database
    DATABASES["default"].update(json.loads(worker))
