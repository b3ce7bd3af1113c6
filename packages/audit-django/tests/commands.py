"""Runs ``manage.py audit`` in this process."""

from io import StringIO

from django.core.management import call_command


def run(*arguments):
    """Exit code, output and errors."""
    out, err, code = StringIO(), StringIO(), 0
    try:
        call_command("audit", *arguments, stdout=out, stderr=err)
    except SystemExit as end:
        code = end.code
    return code, out.getvalue(), err.getvalue()
