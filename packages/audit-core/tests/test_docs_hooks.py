"""Each hook is documented, with the arguments and of the kind that it has."""

from __future__ import annotations

import inspect
import re
from pathlib import Path

import pytest

from audit_core.plugins import spec
from audit_core.plugins.discovery import hook_callers, hook_names, new_pluggy_manager

PAGE = Path(__file__).parents[3] / "docs" / "reference" / "hooks.md"


def sections(text: str) -> dict[str, str]:
    """The text under each heading of the second level."""
    parts = re.split(r"^## (.+)$", text, flags=re.MULTILINE)
    return {heading.strip(): body.strip() for heading, body in zip(parts[1::2], parts[2::2], strict=True)}


DOCUMENTED = sections(PAGE.read_text(encoding="utf-8"))


def heading(name: str) -> str:
    return f"{name}({', '.join(inspect.signature(getattr(spec, name)).parameters)})"


def kind(name: str) -> str:
    if dict(hook_callers(new_pluggy_manager()))[name].spec.opts["firstresult"]:
        return "first result"
    returns_nothing = inspect.signature(getattr(spec, name)).return_annotation == "None"
    return "notify" if returns_nothing else "collect"


@pytest.mark.parametrize("name", hook_names())
def test_a_hook_is_documented_with_its_arguments_and_its_kind(name):
    assert heading(name) in DOCUMENTED, f"write a section '## {heading(name)}' in {PAGE.name}"
    assert DOCUMENTED[heading(name)].startswith(f"{kind(name)}. ")


@pytest.mark.parametrize("name", hook_names())
def test_a_hook_says_in_its_docstring_who_calls_it(name):
    assert re.search(r"\bCalled\b", inspect.getdoc(getattr(spec, name)))


def test_no_hook_is_documented_that_does_not_exist():
    assert set(DOCUMENTED) == {heading(name) for name in hook_names()}


def test_a_missing_section_is_noticed():
    assert heading("audit_enrich_event") not in sections(
        "# Hooks\n\n## audit_enrich_event()\n\ncollect. Text.\n"
    )
