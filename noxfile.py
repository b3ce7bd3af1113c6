"""The checks as CI runs them: ``nox --list`` shows them, ``nox -s NAME`` runs one, ``nox`` most of them."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import nox

ROOT = Path(__file__).parent
PACKAGES = sorted(path.parent.name for path in ROOT.glob("packages/*/pyproject.toml"))
PYTHONS = ["3.11", "3.12", "3.13"]
DJANGOS = {"5.2": PYTHONS, "6.1": PYTHONS[1:]}  # Django version: the Pythons it exists for
DATABASES = ["sqlite", "postgres", "mariadb"]
OLDEST, NEWEST = PYTHONS[0], PYTHONS[-1]
LTS, NEWEST_DJANGO = DJANGOS
SERVERS = ["postgres", "mariadb", "redis", "rabbitmq"]  # what the tests marked `integration` talk to
SERVERS += ["dynamodb", "mongodb", "s3", "opensearch"]
APPLICATIONS = ["wagtail", "oscar"]  # written by others, tried with every model audited
EVERYWHERE = "not integration and not browser"
QUICK = f"not slow and {EVERYWHERE}"
USES_DATABASE = ["packages/audit-django", "tests"]  # the core and the storages know none, and no Django

MATRIX = [
    nox.param(python, django, database, id=f"python{python}-django{django}-{database}", tags=[database])
    for python in PYTHONS
    for django, pythons in DJANGOS.items()
    if python in pythons
    for database in DATABASES
]

nox.needs_version = ">=2026.4"
nox.options.default_venv_backend = "uv"
nox.options.download_python = "never"
nox.options.error_on_missing_interpreters = True
nox.options.sessions = [
    "lint",
    "types",
    "docs",
    "wheels",
    "floor",
    "tests",
    "integration",
    "browser",
    "published",
]

# pyenv's shims answer for one version only: the real interpreters come before them.
PYENV = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"))
REAL = [str(path) for path in sorted(PYENV.glob("versions/3.1[1-9]*/bin"))]
os.environ["PATH"] = os.pathsep.join([*REAL, os.environ["PATH"]])


def install_pinned(session: nox.Session, constraints: str) -> None:
    """Install exactly what ``constraints`` lists, every file checked against its hash."""
    session.install("--require-hashes", "-r", f"constraints/{constraints}.txt")


def install_packages(session: nox.Session) -> None:
    """Install the packages of this checkout in place; what they need must be there already."""
    editable = [argument for name in PACKAGES for argument in ("-e", f"packages/{name}")]
    session.install("--no-deps", "--no-build-isolation", *editable)


def with_servers(*names: str) -> list[str]:
    """The words before a command that shall run with these servers: see ``scripts/with-servers``."""
    return ["scripts/with-servers", *names, "--"]


@nox.session
@nox.parametrize("python,django,database", MATRIX)
def tests(session: nox.Session, django: str, database: str) -> None:
    """The tests on one Python, Django and database; `nox -t sqlite` runs those that need no server.

    The slow ones run on the newest pair alone: they try whole projects, and what differs between versions is not there.
    """
    newest = (session.python, django) == (NEWEST, NEWEST_DJANGO)
    # What knows no Django is tried once on each Python.
    first = next(name for name, pythons in DJANGOS.items() if session.python in pythons)
    whole = database == "sqlite" and django == (NEWEST_DJANGO if session.python == NEWEST else first)
    install_pinned(session, f"test-django-{django}")
    install_packages(session)
    server = [] if database == "sqlite" else with_servers(database)
    session.run(
        *server,
        *("python", "-m", "pytest", "-m", EVERYWHERE if newest else QUICK),
        *([] if whole else USES_DATABASE),
        *session.posargs,
        env={"AUDIT_TEST_DATABASE": database},
        external=bool(server),
    )


@nox.session(python=NEWEST)
def wheels(session: nox.Session) -> None:
    """Build every package, install the wheels into a clean environment, run the tests against them."""
    built = Path(session.create_tmp()) / "wheels"
    shutil.rmtree(built, ignore_errors=True)
    for name in PACKAGES:  # uv builds the wheel from the source distribution, so both are whole
        build = ("uv", "build", "--build-constraints", "constraints/dev.txt", "--out-dir", str(built))
        session.run(*build, f"packages/{name}", silent=True)

    pinned = f"constraints/test-django-{NEWEST_DJANGO}.txt"
    files = [str(path) for path in sorted(built.glob("*.whl"))]
    session.install("-c", pinned, *files)
    session.run("python", "scripts/check_wheels.py", *PACKAGES)
    session.install("-c", pinned, *(f"{path}[cli]" if "audit_core" in path else path for path in files))
    session.run("python", "scripts/check_wheels.py", "--command", *PACKAGES)

    install_pinned(session, f"test-django-{NEWEST_DJANGO}")
    selected = f"({QUICK}) or third_party"  # and a plugin that somebody else wrote, as a wheel of its own
    session.run("python", "-m", "pytest", "-m", selected, *session.posargs)


@nox.session(python=OLDEST)
def floor(session: nox.Session) -> None:
    """The tests with the lowest version of everything that the packages declare."""
    install_pinned(session, "floor")
    install_packages(session)
    session.run("python", "-m", "pytest", "-m", QUICK, *session.posargs)


@nox.session
def types(session: nox.Session) -> None:
    """mypy, strict, over every package."""
    install_pinned(session, "dev")
    install_packages(session)
    session.run("mypy", *(session.posargs or [f"packages/{name}/src" for name in PACKAGES]))


@nox.session
def lint(session: nox.Session) -> None:
    """ruff: the rules, and the format."""
    install_pinned(session, "dev")
    session.run("ruff", "check", ".")
    session.run("ruff", "format", "--check", ".")


@nox.session
def docs(session: nox.Session) -> None:
    """The documentation; a warning is an error."""
    install_pinned(session, "dev")
    install_packages(session)
    session.run(
        "sphinx-build", "-E", "-W", "--keep-going", "-b", "html", "docs", "docs/_build/html", *session.posargs
    )


@nox.session(python=NEWEST)
def browser(session: nox.Session) -> None:
    """The tests in a real browser: AUDIT_TEST_CHROMIUM, or the Chromium on the PATH."""
    install_pinned(session, "dev")
    install_packages(session)
    command = ("python", "-m", "pytest", "-m", "browser", *session.posargs)
    session.run(*with_servers("chromium"), *command, external=True)


@nox.session(python=NEWEST)
def integration(session: nox.Session) -> None:
    """The tests that talk to real servers, whatever the database under test is."""
    install_pinned(session, f"test-django-{NEWEST_DJANGO}")
    install_packages(session)
    command = ("python", "-m", "pytest", "-m", "integration and not browser", *session.posargs)
    session.run(*with_servers(*SERVERS), *command, external=True)


@nox.session(python=OLDEST)
@nox.parametrize("application", [nox.param(name, id=name) for name in APPLICATIONS])
def published(session: nox.Session, application: str) -> None:
    """A published Django application at work, with every model audited."""
    install_pinned(session, application)
    install_packages(session)
    session.run("python", "-m", "pytest", f"tests/upstream/test_{application}.py", *session.posargs)


@nox.session(python=OLDEST)
@nox.parametrize("suite", [nox.param(name, id=name) for name in ("django", "wagtail")])
def upstream(session: nox.Session, suite: str) -> None:
    """The own tests of a published package, plain and with every model audited: a share of them; `-- --all` for all."""
    pinned = suite if suite in APPLICATIONS else f"test-django-{LTS}"
    install_pinned(session, pinned)
    install_packages(session)
    wanted = f"tests/upstream/requirements/{suite}.txt"
    session.install("-c", f"constraints/{pinned}.txt", "-r", wanted)
    session.run("python", "-m", f"tests.upstream.{suite}_suite", *(session.posargs or ["--share"]))


@nox.session
def constraints(session: nox.Session) -> None:
    """Pin again, with hashes, what environments are installed from; `-- --upgrade` takes newer versions."""
    declared = [f"packages/{name}/pyproject.toml" for name in PACKAGES]
    compile_all = ["uv", "pip", "compile", "--all-extras", *declared]
    output = ["--universal", "--generate-hashes", "--no-header", "--no-annotate", "--quiet"]
    output += [word for name in PACKAGES for word in ("--no-emit-package", name)]

    def pin(name: str, python: str, group: str, *arguments: str) -> None:
        wanted = ["--group", group, "--python-version", python, *arguments, *session.posargs]
        session.run(*compile_all, *wanted, *output, "--output-file", f"constraints/{name}.txt", silent=True)

    pin("floor", OLDEST, "test", "--resolution", "lowest-direct")
    for django, pythons in DJANGOS.items():
        wanted = Path(session.create_tmp()) / f"django-{django}.txt"
        wanted.write_text(f"django=={django}.*\n")
        pin(f"test-django-{django}", pythons[0], "test", "--constraints", str(wanted))
    for group in ("dev", *APPLICATIONS):
        pin(group, OLDEST, group, "--constraints", f"constraints/test-django-{LTS}.txt")


@nox.session
def demo(session: nox.Session) -> None:
    """The insurance example with its history, served on $PORT (8000)."""
    install_pinned(session, f"test-django-{LTS}")
    install_packages(session)
    session.run("python", "examples/insurance/demo.py", *session.posargs)
