"""The tutorial works: its own code blocks are run, in their order, in an empty folder."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

PAGE = Path(__file__).parents[1] / "docs/tutorial/first-timeline.md"
BLOCK = re.compile(r"^```(console|python)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def run(line: str, folder: Path) -> None:
    """One line of a console block. The packages are installed already, and a server that runs for ever is not started."""
    words = line.split()
    if words[0] == "pip" or "runserver" in words:
        return
    environment = {key: value for key, value in os.environ.items() if key != "DJANGO_SETTINGS_MODULE"}
    environment["DJANGO_SUPERUSER_PASSWORD"] = "for this test only"
    prefix = [sys.executable, "-m", "django"] if words[0] == "django-admin" else [sys.executable]
    if "-c" in words:
        command = [*prefix, *words[1 : words.index("-c") + 1], line.split(" -c ", 1)[1].strip('"')]
    else:
        command = [*prefix, *words[1:]]
    if "createsuperuser" in words:
        command.append("--noinput")
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{line}\n{done.stdout}{done.stderr}"


def follow(folder: Path) -> list[str]:
    """Do what the page says; the names of the files that it wrote."""
    written = []
    for kind, text in BLOCK.findall(PAGE.read_text()):
        if kind == "console":
            for line in text.splitlines():
                run(line.removeprefix("$ "), folder)
            continue
        name = text.splitlines()[0].removeprefix("# ")
        path = folder / name
        adds = name.endswith("settings.py")
        path.write_text((path.read_text() if adds else "") + text)
        written.append(name)
    return written


@pytest.mark.slow
def test_the_tutorial_works(tmp_path: Path) -> None:
    assert "contracts/audit.py" in follow(tmp_path)
    script = (
        "from django.contrib.auth.models import User\n"
        "from django.test import Client\n"
        "client = Client()\n"
        "client.force_login(User.objects.get())\n"
        "print(client.get('/audit/', headers={'host': 'localhost'}).content.decode())\n"
    )
    shown = subprocess.run(
        [sys.executable, "manage.py", "shell", "-c", script],
        cwd=tmp_path,
        env={key: value for key, value in os.environ.items() if key != "DJANGO_SETTINGS_MODULE"},
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    text = " ".join(re.sub(r"<[^>]+>", "", shown).split())
    promised = [line.removeprefix("> ") for line in PAGE.read_text().splitlines() if line.startswith("> ")]
    assert len(promised) == 3
    for sentence in promised:
        assert sentence.replace("'", "&#x27;") in text, f"{sentence}\n{text}"
