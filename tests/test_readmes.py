"""The READMEs keep their word: what they show runs and says what they say; what they point to is there."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("packages/*/README.md")])


def test_the_core_readme_prints_what_it_says(capsys):
    readme = (ROOT / "packages/audit-core/README.md").read_text()
    code, printed = re.search(r"```python\n(.*?)```\n\n```text\n(.*?)```", readme, re.DOTALL).groups()
    exec(compile(code, "README.md", "exec"), {})
    assert capsys.readouterr().out == printed


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page):
    links = re.findall(r"\]\(([^)#\s]+)\)", page.read_text())
    local = [link for link in links if "://" not in link]
    assert [link for link in local if not (page.parent / link).exists()] == []


def test_the_settings_that_the_readme_shows_exist():
    from audit_django.conf import AuditSettings

    shown = re.search(r"^AUDIT = \{.*?^\}", (ROOT / "README.md").read_text(), re.MULTILINE | re.DOTALL)[0]
    names = re.findall(r'^    "([A-Z_]+)":', shown, re.MULTILINE)
    assert len(names) >= 8
    assert [name for name in names if name.lower() not in AuditSettings.__dataclass_fields__] == []
