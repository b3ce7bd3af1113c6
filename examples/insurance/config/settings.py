"""The project's settings. What differs between a laptop and production comes from the environment (README.md)."""

import os
from pathlib import Path

from django.core.exceptions import ImproperlyConfigured

from config import environment

BASE_DIR = Path(__file__).resolve().parent.parent
VAR_DIR = Path(os.environ.get("INSURANCE_VAR") or BASE_DIR / "var").resolve()  # what running makes

DEBUG = environment.flag("DEBUG", default=False)
SECRET_KEY = os.environ.get("SECRET_KEY") or ("only for development" if DEBUG else "")
if not SECRET_KEY:
    raise ImproperlyConfigured("Set SECRET_KEY to a long random text, or DEBUG=1 on your own machine.")
ALLOWED_HOSTS = environment.words("ALLOWED_HOSTS")

DATABASES = {"default": environment.database(VAR_DIR / "insurance.sqlite3")}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

INSTALLED_APPS = [
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "audit_django",
    "accounts",
    "customers",
    "policies",
    "claims",
]

MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "audit_django.middleware.AuditMiddleware",  # after the one that knows the user
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]

AUDIT = {
    "STORAGES": environment.document("AUDIT_STORAGES", {"default": {"BACKEND": "database"}}),
    "STREAMS": environment.document("AUDIT_STREAMS", {}),
    "RELAY": os.environ.get("AUDIT_RELAY") or "inline",
    "SENSITIVE_KEYS": environment.words("AUDIT_SENSITIVE_KEYS"),
    "TRUSTED_PROXIES": environment.words("AUDIT_TRUSTED_PROXIES"),
    "TENANT_RESOLVER": "accounts.tenancy.tenant_of_request",
    "TENANTS_OF_USER": "accounts.tenancy.tenants_of_user",
}

if broker := os.environ.get("CELERY_BROKER_URL"):
    CELERY_BROKER_URL = broker
elif AUDIT["RELAY"] == "celery":
    raise ImproperlyConfigured(
        "AUDIT_RELAY=celery needs CELERY_BROKER_URL, for example redis://localhost:6379/0."
    )

ROOT_URLCONF = "config.urls"
WSGI_APPLICATION = "config.wsgi.application"
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
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

AUTH_USER_MODEL = "accounts.User"
LOGIN_URL = "login"
LOGIN_REDIRECT_URL = "home"
LOGOUT_REDIRECT_URL = "login"
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "django.contrib.auth.password_validation.UserAttributeSimilarityValidator"},
    {"NAME": "django.contrib.auth.password_validation.MinimumLengthValidator"},
]
if DEBUG:  # the demo logs in some hundred times; a hash as slow as production's would cost a minute
    PASSWORD_HASHERS = ["accounts.hashers.QuickPBKDF2PasswordHasher"]
else:
    SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = environment.flag("SECURE_COOKIES", default=True)

LANGUAGE_CODE = "en-us"
TIME_ZONE = os.environ.get("TIME_ZONE") or "UTC"
USE_TZ = True

STATIC_URL = "static/"
STATIC_ROOT = VAR_DIR / "static"
STATICFILES_DIRS = [BASE_DIR / "static"]
MEDIA_URL = "media/"
MEDIA_ROOT = VAR_DIR / "media"
