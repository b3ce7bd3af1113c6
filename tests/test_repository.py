"""What every package of this repository has in common, and what no file of it may contain."""

import re
import subprocess
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGES = sorted(path.parent for path in ROOT.glob("packages/*/pyproject.toml"))
PYTHONS = ["3.11", "3.12", "3.13"]

# Places that mean nothing on another machine. The brackets keep this file from containing what it looks for.
FOLDERS = "wor[k]|roo[t]|hom[e]|User[s]"
REGISTRIES = (
    r"pyp[i]\.org|pythonhoste[d]|npmj[s]|mave[n]\.org|proxy\.golan[g]|deb\.debia[n]|crate[s]\.io|ghc[r]\.io"
)
UNWANTED = re.compile(rf"(?<![\w.])/(?:{FOLDERS})/\w|{REGISTRIES}")


def tracked_files() -> list[Path]:
    listing = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=False)
    if listing.returncode:
        pytest.fail(f"These tests look at the tracked files and need a git checkout: {listing.stderr}")
    return [path for name in listing.stdout.split("\0") if name and (path := ROOT / name).is_file()]


def project(package: Path) -> dict:
    return tomllib.loads((package / "pyproject.toml").read_text())


@pytest.fixture(params=PACKAGES, ids=lambda path: path.name)
def package(request) -> Path:
    return request.param


def test_there_are_packages():
    assert {"audit-core", "audit-django"} <= {path.name for path in PACKAGES}


class TestEveryPackage:
    def test_is_built_by_hatchling_from_src(self, package):
        config = project(package)
        module = package.name.replace("-", "_")
        assert config["build-system"] == {"requires": ["hatchling>=1.27"], "build-backend": "hatchling.build"}
        assert config["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"] == [f"src/{module}"]
        assert (package / "src" / module / "__init__.py").is_file()
        assert [path.name for path in (package / "src").iterdir() if path.name != "__pycache__"] == [module]

    def test_says_the_same_about_itself(self, package):
        metadata = project(package)["project"]
        assert metadata["name"] == package.name
        assert re.fullmatch(r"\d+\.\d+\.\d+", metadata["version"])
        assert metadata["description"].strip()
        assert not metadata["description"].endswith(".")
        assert metadata["readme"] == "README.md"
        assert metadata["requires-python"] == f">={PYTHONS[0]}"
        assert (metadata["license"], metadata["license-files"]) == ("MIT", ["LICENSE"])
        assert metadata["authors"] == [{"name": "The audit trail authors"}]
        assert {"audit", "audit-trail"} & set(metadata["keywords"])
        classifiers = set(metadata["classifiers"])
        assert {f"Programming Language :: Python :: {version}" for version in PYTHONS} <= classifiers
        assert {"Typing :: Typed", "Operating System :: OS Independent"} <= classifiers

    def test_is_found_as_a_plugin_under_its_own_name(self, package):
        entry_points = project(package)["project"]["entry-points"]["audit"]
        module = package.name.replace("-", "_")
        assert list(entry_points) == [package.name]
        assert entry_points[package.name].split(".")[0] == module

    def test_has_its_license_types_and_tests(self, package):
        module = package.name.replace("-", "_")
        assert (package / "LICENSE").read_text() == (ROOT / "LICENSE").read_text()
        assert (package / "src" / module / "py.typed").is_file()
        assert list((package / "tests").rglob("test_*.py"))
        assert not list((package / "tests").glob("__init__.py"))

    def test_readme_tells_how_to_install_and_use_it(self, package):
        readme = (package / "README.md").read_text()
        assert readme.startswith(f"# {package.name}\n")
        assert f'pip install "{package.name}' in readme or f"pip install {package.name}" in readme
        assert "\n## Usage\n" in readme
        assert "```python" in readme

    def test_changelog_has_its_version(self, package):
        sections = re.split(r"^## ", (ROOT / "CHANGELOG.md").read_text(), flags=re.MULTILINE)
        (own,) = [section for section in sections if section.startswith(f"{package.name}\n")]
        newest = re.search(r"^### (\S+)", own, re.MULTILINE)
        assert newest, f"CHANGELOG.md names no version of {package.name}"
        assert newest[1] == project(package)["project"]["version"]
        assert re.search(r"^- ", own, re.MULTILINE), "nothing is said about it"

    def test_depends_on_our_packages_within_a_minor_version(self, package):
        for requirement in project(package)["project"]["dependencies"]:
            name, bounds = re.fullmatch(r"([\w-]+)(?:\[[\w,-]+\])?(.*)", requirement).groups()
            assert ">=" in bounds, f"{requirement} has no lowest version"
            if (ROOT / "packages" / name).is_dir():
                major, minor, _ = project(ROOT / "packages" / name)["project"]["version"].split(".")
                assert bounds == f">={major}.{minor},<{major}.{int(minor) + 1}"

    def test_floor_session_installs_what_is_declared(self, package):
        floor = (ROOT / "constraints/floor.txt").read_text()
        pinned = dict(re.findall(r"^([\w.-]+)==([\w.]+)", floor, re.MULTILINE))
        metadata = project(package)["project"]
        extras = [item for extra in metadata.get("optional-dependencies", {}).values() for item in extra]
        for requirement in [*metadata["dependencies"], *extras]:
            name, lowest = re.match(r"([\w.-]+)(?:\[[\w,-]+\])?>=([\w.]+)", requirement).groups()
            name = name.replace(".", "-")
            if not (ROOT / "packages" / name).is_dir():
                exact = f"{pinned[name]}.0.0".startswith(f"{lowest}.")
                assert exact, f"{requirement} is tested with {pinned[name]}"


def test_constraints_pin_every_file_and_name_no_place():
    files = sorted((ROOT / "constraints").glob("*.txt"))
    expected = ["dev", "floor", "oscar", "test-django-5.2", "test-django-6.1", "wagtail"]
    assert [path.stem for path in files] == expected
    for path in files:
        text = path.read_text()
        assert "://" not in text, f"{path.name} has an address in it"
        assert not re.search(r"^(-|\.|/)", text, re.MULTILINE), f"{path.name} has an option or a path in it"
        entries = re.split(r"\n(?=\S)", text.strip())
        unpinned = [entry for entry in entries if "==" not in entry or "--hash=sha256:" not in entry]
        assert not unpinned, f"{path.name}: no version or no hash: {unpinned}"


def test_nothing_is_tracked_that_belongs_to_one_machine():
    unwanted = re.compile(r"(^|/)(uv\.lock|\.env|\.DS_Store)$|\.(sqlite3?|sqlite3-journal|pyc|log|db)$")
    assert [str(path) for path in tracked_files() if unwanted.search(str(path.relative_to(ROOT)))] == []


def test_no_file_names_a_machine_or_a_registry():
    found = []
    for path in tracked_files():
        try:
            text = path.read_text()
        except UnicodeDecodeError:
            continue  # a picture or an archive
        name = path.relative_to(ROOT)
        lines = enumerate(text.splitlines(), start=1)
        found += [f"{name}:{number}: {line.strip()}" for number, line in lines if UNWANTED.search(line)]
    assert found == []


@pytest.mark.parametrize(
    "place", ["(/w.ork/main", " /r.oot/x", "'/h.ome/alice/x'", "https://pyp.i.org/simple"]
)
def test_the_search_finds_what_it_is_for(place):
    assert not UNWANTED.search(place)
    assert UNWANTED.search(place.replace(".", "", 1))


# The traps that design and issue name, each with a test whose name ends in its number (and in others, if it shows several).
TRAPS = [*range(1, 37), *range(50, 59)]


def test_every_trap_has_a_test():
    sources = [path.read_text() for path in tracked_files() if path.match("test_*.py")]
    names = re.findall(r"^ *(?:async )?def (test_\w+)\(", "\n".join(sources), re.MULTILINE)
    numbers = {
        int(number) for name in names for number in re.search(r"[_\d]*$", name)[0].split("_") if number
    }
    assert sorted(set(TRAPS) - numbers) == []


def test_contributing_documents_every_make_target():
    targets = re.findall(r"^([a-z]+):.*## ", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert {"test", "demo", "lint", "types", "docs", "integration", "clean", "help"} <= set(targets)
    contributing = (ROOT / "CONTRIBUTING.md").read_text()
    assert [target for target in targets if f"`make {target}`" not in contributing] == []


def test_every_server_has_its_address_at_the_top_of_compose_yaml_and_its_port_on_loopback():
    text = (ROOT / "compose.yaml").read_text()
    addresses = re.findall(r"^#   (\w+)\s+(AUDIT_TEST_\w+)=(\S+)$", text, re.MULTILINE)
    services = re.findall(r"^  (\w+):", text.split("\nservices:\n")[1].split("\nconfigs:\n")[0], re.MULTILINE)
    assert {name for name, _, _ in addresses} == set(services)
    published = re.findall(r'"(\S+?):(\d+):\d+"', text)
    assert published
    assert {host for host, _ in published} == {"127.0.0.1"}
    ports = {port for _, port in published} | set(re.findall(r'-port, "(\d+)"', text))
    named = {port for _, _, value in addresses for port in re.findall(r"127\.0\.0\.1:(\d+)", value)}
    assert named == ports
    for name in services:
        assert any(
            variable == f"AUDIT_TEST_{name.upper()}" for owner, variable, _ in addresses if owner == name
        )
