"""``manage.py audit setup``: create what the backends need."""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand

from audit_core import backends as core_backends
from audit_django import backends

HELP = "Create the tables, buckets, indexes and topics that the configured backends need."
EPILOG = """\
examples:
  manage.py audit setup   what is there already is left as it is

The tables in this application's own database are made by `manage.py migrate`.
"""


def add_arguments(parser: ArgumentParser) -> None:
    """No option."""


def run(command: BaseCommand, options: dict[str, Any]) -> int:
    """Set up every backend; the exit code."""
    for place, backend in backends.configured().items():
        core_backends.setup(backend)
        command.stdout.write(f"{place}: ready")
    return 0
