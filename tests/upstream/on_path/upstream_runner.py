"""A test runner that writes what became of each test, by its id, to the file that UPSTREAM_REPORT names."""

import json
import os
import unittest
from pathlib import Path

from django.test.runner import DiscoverRunner


class Result(unittest.TextTestResult):
    """Remembers outcomes: ``{id: {"outcome": …, "errors": [traceback, …]}}``."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.outcomes = {}

    def _note(self, test, outcome, err=None):
        known = self.outcomes.setdefault(test.id(), {"outcome": outcome, "errors": []})
        if err is not None:
            known["outcome"] = outcome  # a test that passed may still fail in its clean-up
            known["errors"].append(self._exc_info_to_string(err, test))

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

    def run_suite(self, suite, **kwargs):
        result = super().run_suite(suite, **kwargs)
        Path(os.environ["UPSTREAM_REPORT"]).write_text(json.dumps(result.outcomes), encoding="utf-8")
        return result
