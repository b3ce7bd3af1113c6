"""A test runner that writes what becomes of each test, line by line, to the file that UPSTREAM_REPORT names."""

import json
import os
import unittest
from pathlib import Path

from django.apps import apps
from django.db import connections
from django.test import TestCase
from django.test.runner import DiscoverRunner

REPORT = Path(os.environ["UPSTREAM_REPORT"])


class Result(unittest.TextTestResult):
    """Notes outcomes at once, one JSON object a line: what has run is known even if the process dies."""

    def _note(self, test, outcome, err=None):
        error = None if err is None else self._exc_info_to_string(err, test)
        line = json.dumps({"test": test.id(), "outcome": outcome, "error": error}) + "\n"
        with REPORT.open("ab", buffering=0) as report:  # in one write: several processes share the file
            report.write(line.encode())

    def addSuccess(self, test):
        super().addSuccess(test)
        self._note(test, "passed")

    def addError(self, test, err):
        super().addError(test, err)
        self._note(test, "failed", err)

    def addFailure(self, test, err):
        super().addFailure(test, err)
        self._note(test, "failed", err)

    def addSubTest(self, test, subtest, err):
        super().addSubTest(test, subtest, err)
        if err is not None:
            self._note(test, "failed", err)

    def addSkip(self, test, reason):
        super().addSkip(test, reason)
        self._note(test, "skipped")

    def addExpectedFailure(self, test, err):
        super().addExpectedFailure(test, err)
        self._note(test, "passed")

    def addUnexpectedSuccess(self, test):
        super().addUnexpectedSuccess(test)
        self._note(test, "unexpected success")


def flush_before_teardown(self, teardown=TestCase._fixture_teardown):
    """End a TestCase as COMMIT would: with the events written. Its transaction is rolled back, so otherwise none ever were."""
    from audit_django.capture.transactions import state_of

    try:
        for alias in self._databases_names(include_mirrors=False):
            connection = connections[alias]
            # PostgreSQL takes no more statements after one that failed: that test would not have committed.
            if connection.in_atomic_block and not connection.needs_rollback and connection.is_usable():
                state_of(connection).flush()
    finally:
        teardown(self)


class Runner(DiscoverRunner):
    """Django's runner with that result."""

    def setup_test_environment(self, **kwargs):
        super().setup_test_environment(**kwargs)
        if apps.is_installed("audit_django"):
            TestCase._fixture_teardown = flush_before_teardown

    def get_resultclass(self):
        return Result
