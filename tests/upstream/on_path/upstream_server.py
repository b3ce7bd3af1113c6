"""The server that UPSTREAM_POSTGRES names, as Django's settings have it."""

import os
from urllib.parse import urlsplit


def postgres(name):
    """A database for this process alone."""
    server = urlsplit(os.environ["UPSTREAM_POSTGRES"])
    return {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": f"audit_upstream_{name}_{os.getpid()}",
        "USER": server.username,
        "PASSWORD": server.password or "",
        "HOST": server.hostname,
        "PORT": server.port or "",
    }
