"""`.ci/run` can fail: each thing that must stop a change does, with real parts run in real lanes."""

import importlib.util
import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parent.parent / ".ci" / "parts.py"


def load():
    spec = importlib.util.spec_from_file_location("ci_parts", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up there
    spec.loader.exec_module(module)
    return module


ci = load()
MACHINE = {"PATH": os.environ["PATH"], "AUDIT_TEST_POSTGRES": "somewhere", "AUDIT_TEST_KAFKA": "elsewhere"}


@pytest.fixture
def run(capsys, tmp_path):
    """Run parts, each given as the text of a test module; return whether all is well, and what was said."""

    def run(*parts, complete=True):
        results = ci.Lanes(MACHINE).run(parts)
        well = ci.account(results, 1.0, complete=complete)
        return well, capsys.readouterr().out

    return run


@pytest.fixture
def part(tmp_path):
    """A part that runs pytest on a module with this text."""

    def part(name, text, *sees):
        folder = tmp_path / name
        folder.mkdir()
        module = folder / "test_it.py"
        module.write_text("import os\nimport pytest\n" + textwrap.dedent(text))
        options = ("-p", "no:django", "-p", "no:cacheprovider", "-p", "no:audit-django", "-c", "/dev/null")
        command = (sys.executable, "-m", "pytest", *options, "--rootdir", str(folder), "--junitxml={junit}")
        return ci.Part(name, (*command, str(module)), sees)

    return part


NEEDS_POSTGRES = """
    @pytest.mark.skipif("AUDIT_TEST_POSTGRES" not in os.environ, reason="needs AUDIT_TEST_POSTGRES")
    def test_server():
        assert os.environ["AUDIT_TEST_POSTGRES"] == "somewhere"
        assert "AUDIT_TEST_KAFKA" not in os.environ

    def test_other():
        pass
"""


def test_all_is_well_and_the_last_line_says_how_many(run, part):
    well, said = run(part("without", NEEDS_POSTGRES), part("with", NEEDS_POSTGRES, "AUDIT_TEST_POSTGRES"))
    assert well
    assert said.splitlines()[-1] == "3 passed, 0 failed, 1 skipped"
    assert "1 × needs AUDIT_TEST_POSTGRES (without)" in said
    assert "= 2 passed in " in said  # pytest's closing lines are shown
    assert "= 1 passed, 1 skipped in " in said


def test_a_test_that_no_part_ran_fails_the_run(run, part):
    well, said = run(part("without", NEEDS_POSTGRES))
    assert not well
    assert "WRONG SKIP  no part ran test_it::test_server" in said
    assert said.splitlines()[-1] == "1 passed, 1 failed, 1 skipped"


def test_what_a_backend_is_not_able_to_do_may_be_skipped_everywhere(run, part):
    text = """
        def test_pruning():
            pytest.skip("this storage cannot prune")

        def test_other():
            pass
    """
    well, said = run(part("contract", text))
    assert well
    assert "1 × this storage cannot prune (contract)" in said


def test_some_parts_alone_cannot_say_that_a_test_never_runs(run, part):
    well, _ = run(part("without", NEEDS_POSTGRES), complete=False)
    assert well


def test_a_skip_for_a_server_that_was_there_fails_the_run(run, part):
    text = """
        def test_one():
            pass

        def test_server():
            if not os.environ.get("RAN"):
                pytest.skip("AUDIT_TEST_POSTGRES does not answer")
    """
    other = "def test_one():\n    pass\n\n\ndef test_server():\n    pass\n"
    well, said = run(part("server", text, "AUDIT_TEST_POSTGRES"), part("other", other))
    assert not well
    assert "WRONG SKIP  server: test_it::test_server was skipped although AUDIT_TEST_POSTGRES was set" in said


def test_a_failed_test_fails_the_run_and_its_output_is_shown_whole(run, part):
    text = """
        def test_wrong():
            print("what it printed")
            assert 1 == 2

        def test_right():
            pass
    """
    well, said = run(part("broken", text), part("fine", "def test_fine():\n    pass\n"))
    assert not well
    assert "what it printed" in said
    assert "FAILED  broken" in said
    assert said.splitlines()[-1] == "2 passed, 1 failed, 0 skipped"


def test_an_error_in_a_fixture_counts_as_a_failure(run, part):
    text = """
        @pytest.fixture
        def broken():
            yield
            raise RuntimeError("teardown")

        def test_it(broken):
            pass
    """
    well, said = run(part("fixture", text))
    assert not well
    assert said.splitlines()[-1] == "0 passed, 1 failed, 0 skipped"


def test_an_expected_failure_is_no_skip(run, part):
    text = """
        @pytest.mark.xfail(reason="known")
        def test_it():
            assert False
    """
    well, said = run(part("expected", text))
    assert well
    assert said.splitlines()[-1] == "1 passed, 0 failed, 0 skipped"


def test_a_part_in_which_no_test_ran_fails_the_run(run):
    quiet = ci.Part("quiet", (sys.executable, "-c", "pass", "{junit}"))
    well, said = run(quiet)
    assert not well
    assert said.splitlines()[-1] == "0 passed, 1 failed, 0 skipped"


def test_a_command_that_fails_without_tests_fails_the_run(run):
    lint = ci.Part("lint", (sys.executable, "-c", "print('E501 too long'); raise SystemExit(1)"))
    well, said = run(lint, ci.Part("docs", (sys.executable, "-c", "print('built')")))
    assert not well
    assert "E501 too long" in said
    assert said.splitlines()[-1] == "0 passed, 1 failed, 0 skipped"


def test_a_part_that_takes_too_long_is_ended_with_its_children(run, monkeypatch):
    monkeypatch.setattr(ci, "PART_LIMIT_SECONDS", 0.5)
    endless = "import subprocess, sys; subprocess.run([sys.executable, '-c', 'import time; time.sleep(60)'])"
    began = time.monotonic()
    well, said = run(ci.Part("endless", (sys.executable, "-c", endless)))
    assert not well
    assert "Ended after 0.5 s" in said
    assert time.monotonic() - began < 30


def test_parts_run_side_by_side(tmp_path):
    # Each waits for the file of the other: one after the other they would both give up.
    wait = (
        "import pathlib, sys, time\n"
        "mine, other = map(pathlib.Path, sys.argv[1:])\n"
        "mine.touch()\n"
        "end = time.monotonic() + 20\n"
        "while not other.exists():\n"
        "    if time.monotonic() > end: sys.exit('the other part did not start')\n"
        "    time.sleep(0.01)\n"
    )
    one, two = str(tmp_path / "one"), str(tmp_path / "two")
    orders = {"one": (one, two), "two": (two, one)}
    parts = [ci.Part(name, (sys.executable, "-c", wait, *files)) for name, files in orders.items()]
    results = ci.Lanes(MACHINE).run(parts)
    assert [result.exit_code for result in results] == [0, 0]


def test_what_was_started_ends_when_the_run_is_told_to_stop(tmp_path):
    pid_file = tmp_path / "pid"
    child = "import os, sys, time\nopen(sys.argv[1], 'w').write(str(os.getpid()))\ntime.sleep(60)"
    program = textwrap.dedent(f"""
        import importlib.util, signal, sys
        spec = importlib.util.spec_from_file_location("ci_parts", {str(SCRIPT)!r})
        ci = importlib.util.module_from_spec(spec)
        sys.modules["ci_parts"] = ci
        spec.loader.exec_module(ci)
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
        ci.Lanes({{}}).run([ci.Part("long", (sys.executable, "-c", {child!r}, {str(pid_file)!r}))] * 3)
    """)
    process = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.DEVNULL)
    end = time.monotonic() + 20
    while not (pid_file.exists() and pid_file.read_text()) and time.monotonic() < end:
        time.sleep(0.02)
    child = int(pid_file.read_text())
    process.send_signal(signal.SIGTERM)
    assert process.wait(20) == 143
    with pytest.raises(ProcessLookupError):
        os.kill(child, 0)
