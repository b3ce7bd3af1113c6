"""What audit breaks in somebody else's tests: two runs of a suite, plain and under audit, compared by test id."""

from __future__ import annotations

import ast
import json
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

Outcomes = Mapping[str, Mapping[str, Any]]

# The last frame of the test's own code, and what unittest says under it.
FRAME = re.compile(r'^  File "(?P<file>[^"]+)", line (?P<line>\d+), in (?P<function>\S+)$', re.MULTILINE)
QUERIES_COUNTED = re.compile(r"^AssertionError: .*\b\d+ quer(y|ies) executed, \d+ expected$", re.MULTILINE)
CAPTURES = frozenset({"CaptureQueriesContext", "assertNumQueries"})
CAPTURED = frozenset({"captured_queries", "queries", "queries_log"})


@dataclass
class Comparison:
    """The ids of the tests of both runs by what they tell; ``faults`` with the tracebacks under audit."""

    equal: list[str] = field(default_factory=list)
    queries: list[str] = field(default_factory=list)
    known: list[str] = field(default_factory=list)
    faults: dict[str, str] = field(default_factory=dict)
    mended: list[str] = field(default_factory=list)  # listed as known, but they pass

    def __str__(self) -> str:
        rows = [
            ("tests", len(self.equal) + len(self.queries) + len(self.known) + len(self.faults)),
            ("equal with and without audit", len(self.equal)),
            ("differ only in the queries they count", len(self.queries)),
            ("known faults", len(self.known)),
            ("faults", len(self.faults)),
            ("listed as known, but equal", len(self.mended)),
        ]
        return "\n".join(f"{number:8,}  {words}" for words, number in rows)


def compare(plain: Outcomes, audited: Outcomes, known: Mapping[str, str]) -> Comparison:
    """Which tests end otherwise under audit. ``known``: the reasons of the faults that are expected, by test id."""
    result = Comparison()
    for test in sorted({*plain, *audited}):
        before = plain.get(test, {"outcome": "not run", "errors": []})
        after = audited.get(test, {"outcome": "not run", "errors": []})
        if after["outcome"] == before["outcome"]:
            result.equal.append(test)
        elif after["errors"] and all(counts_queries(error) for error in after["errors"]):
            result.queries.append(test)
        elif test in known:
            result.known.append(test)
        else:
            errors = "\n".join(after["errors"])
            result.faults[test] = f"{before['outcome']} without audit, {after['outcome']} under it\n{errors}"
    result.mended = sorted(set(known) & set(result.equal))
    return result


def outcomes(report: Path) -> dict[str, dict[str, Any]]:
    """The outcome of each test, and its errors, from the lines that the runner wrote."""
    found: dict[str, dict[str, Any]] = {}
    for line in report.read_text(encoding="utf-8").splitlines():
        note = json.loads(line)
        test = found.setdefault(note["test"], {"outcome": note["outcome"], "errors": []})
        if note["error"]:  # a test that passed may still fail in its clean-up
            test["outcome"] = note["outcome"]
            test["errors"].append(note["error"])
    return found


def known_faults(path: Path, suite: str) -> dict[str, str]:
    """The reasons by test id, from tables of ``reason`` and ``tests`` under the name of the suite."""
    groups = tomllib.loads(path.read_text(encoding="utf-8")).get(suite, [])
    return {test: group["reason"] for group in groups for test in group["tests"]}


def counts_queries(error: str) -> bool:
    """Whether a failure is about which queries were executed, and about nothing else.

    Either ``assertNumQueries`` says so, or the statement of the test that failed looks at captured queries.
    """
    if QUERIES_COUNTED.search(error):
        return True
    own = [match for match in FRAME.finditer(error) if "/unittest/" not in match["file"]]
    if not own or not re.search(r"^(AssertionError|IndexError|ValueError)\b", error, re.MULTILINE):
        return False
    where = own[-1]
    if not where["function"].startswith(("test", "assert")) or "/tests" not in where["file"]:
        return False
    return int(where["line"]) in _lines_about_queries(where["file"])


@cache
def _lines_about_queries(path: str) -> frozenset[int]:
    """The lines of the simple statements that use captured queries, or a name that was made of them."""
    lines: set[int] = set()
    for function in ast.walk(ast.parse(Path(path).read_text(encoding="utf-8"))):
        if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef):
            names = _names_of_queries(function)
            for node in ast.walk(function):
                if isinstance(node, ast.Expr | ast.Assign) and _uses(node, names):
                    lines.update(range(node.lineno, (node.end_lineno or node.lineno) + 1))
    return frozenset(lines)


def _names_of_queries(function: ast.AST) -> set[str]:
    names: set[str] = set()
    while True:
        more = set(names)
        for node in ast.walk(function):
            if isinstance(node, ast.withitem) and _calls_capture(node.context_expr):
                more |= _stored(node.optional_vars)
            elif isinstance(node, ast.Assign) and _uses(node.value, names):
                more.update(*map(_stored, node.targets))
            elif isinstance(node, ast.For | ast.comprehension) and _uses(node.iter, names):
                more |= _stored(node.target)
        if more == names:
            return names
        names = more


def _calls_capture(node: ast.AST) -> bool:
    called = node.func if isinstance(node, ast.Call) else None
    return getattr(called, "id", getattr(called, "attr", None)) in CAPTURES


def _stored(node: ast.AST | None) -> set[str]:
    names = ast.walk(node) if node is not None else ()
    return {name.id for name in names if isinstance(name, ast.Name) and isinstance(name.ctx, ast.Store)}


def _uses(node: ast.AST, names: set[str]) -> bool:
    return any(
        (isinstance(n, ast.Name) and n.id in names) or (isinstance(n, ast.Attribute) and n.attr in CAPTURED)
        for n in ast.walk(node)
    )
