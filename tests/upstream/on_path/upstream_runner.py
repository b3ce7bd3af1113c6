"""A test runner that writes what becomes of each test, line by line, to the file that UPSTREAM_REPORT names."""

import json
import os
import unittest
from pathlib import Path

from django.test.runner import DiscoverRunner

REPORT = Path(os.environ["UPSTREAM_REPORT"])


class Result(unittest.TextTestResult):
    """Notes outcomes at once, one JSON object a line: what has run is known even if the process dies."""

    def _note(self, test, outcome, err=None):
        error = None if err is None else self._exc_info_to_string(err, test)
        with REPORT.open("a", encoding="utf-8") as report:
            print(json.dumps({"test": test.id(), "outcome": outcome, "error": error}), file=report)

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


class Runner(DiscoverRunner):
    """Django's runner with that result."""

    def get_resultclass(self):
        return Result
