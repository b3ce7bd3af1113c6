"""Whether the comparison of two runs tells what is broken from what is not."""

from pathlib import Path

import pytest
from tests.upstream.compare import compare, known_faults

TEST = """
def test_it(self):
    with CaptureQueriesContext(connection) as context:
        Thing.objects.create()
    statements = [query["sql"] for query in context.captured_queries]
    self.assertNotIn("SELECT", statements[0])
    self.assertEqual(Thing.objects.count(), 1)
"""


def failed(error: str) -> dict[str, object]:
    return {"outcome": "failed", "errors": [error]}


PASSED: dict[str, object] = {"outcome": "passed", "errors": []}


def test_a_test_that_ends_otherwise_is_a_fault() -> None:
    result = compare({"a": PASSED, "b": PASSED}, {"a": PASSED, "b": failed("ValueError: no")}, {})
    assert result.equal == ["a"]
    assert list(result.faults) == ["b"]


def test_a_test_that_was_not_run_or_that_no_longer_fails_is_a_fault() -> None:
    result = compare({"a": PASSED, "b": failed("ValueError")}, {"b": PASSED}, {})
    assert list(result.faults) == ["a", "b"]


def test_a_known_fault_is_no_fault_and_a_mended_one_is_named() -> None:
    result = compare(
        {"a": PASSED, "b": PASSED}, {"a": failed("ValueError"), "b": PASSED}, {"a": "x", "b": "y"}
    )
    assert (result.known, result.faults, result.mended) == (["a"], {}, ["b"])


def test_query_counts_are_recognised() -> None:
    counted = "AssertionError: 3 != 1 : 3 queries executed, 1 expected\nCaptured queries were:\n1. SELECT"
    result = compare({"a": PASSED}, {"a": failed(counted)}, {})
    assert result.queries == ["a"]
    both = {"outcome": "failed", "errors": [counted, "ValueError: no"]}
    assert list(compare({"a": PASSED}, {"a": both}, {}).faults) == ["a"]


def test_a_statement_about_captured_queries_is_about_queries_and_the_next_one_is_not(tmp_path: Path) -> None:
    (tmp_path / "tests.py").write_text(TEST)

    def error(line: int) -> str:
        place = f'  File "{tmp_path / "tests.py"}", line {line}, in test_it'
        return f"Traceback (most recent call last):\n{place}\n    self.assert…\nAssertionError: no"

    result = compare({"a": PASSED, "b": PASSED}, {"a": failed(error(6)), "b": failed(error(7))}, {})
    assert result.queries == ["a"]
    assert list(result.faults) == ["b"]


@pytest.mark.parametrize("suite", ["django", "wagtail"])
def test_every_known_fault_has_a_reason(suite: str) -> None:
    known = known_faults(Path(__file__).parent / "known_faults.toml", suite)
    assert all(len(reason) > 20 for reason in known.values())
