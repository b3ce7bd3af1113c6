"""Which plugins there are, what is wrong with them, and who owns a name."""

from __future__ import annotations

import threading

import pytest

from audit_core.errors import ConfigurationError
from audit_core.plugins.errors import PluginError, UnknownBackendError
from audit_core.plugins.manager import PluginManager, get_plugin_manager, override_plugin_manager

STORAGE = """
    from audit_core import hookimpl

    class Shelf:
        def write(self, events): ...

    @hookimpl
    def audit_register_storages():
        return {"shelf": Shelf}
"""
BROKEN = "import a_client_library_that_is_missing"


def manager(installed, **options):
    return PluginManager(installed.entry_points(), **options)


def only(plugins):
    [plugin] = plugins
    return plugin


# what there is


def test_a_plugin_says_where_it_comes_from_and_what_it_brings(installed):
    installed.add("audit-storage-shelf", STORAGE, version="2.3")
    plugin = only(manager(installed).plugins())
    assert (plugin.name, plugin.distribution, plugin.version) == (
        "audit-storage-shelf",
        "audit-storage-shelf",
        "2.3",
    )
    assert (plugin.state, plugin.cause) == ("ok", None)
    assert plugin.registers == {"storage": ("shelf",)}
    assert plugin.kinds == ("storage",)
    assert plugin.hooks == ("audit_register_storages",)


def test_the_entry_point_names_the_plugin(installed):
    installed.add("somebodys-package", STORAGE, name="shelf-plugin")
    assert only(manager(installed).plugins()).origin == "shelf-plugin (somebodys-package 1.0)"


def test_a_plugin_that_only_listens_is_of_kind_hooks(plugin_object):
    listener = plugin_object(audit_event_recorded=lambda event: None)
    assert only(PluginManager([], plugins={"listener": listener}).plugins()).kinds == ("hooks",)


def test_core_is_a_plugin_of_its_own():
    plugin = {plugin.name: plugin for plugin in PluginManager().plugins()}["audit-core"]
    assert plugin.registers == {
        "storage": ("jsonl", "memory"),
        "stream": ("memory",),
        "summarizer": ("grammar",),
        "outbox": ("memory", "sqlite"),
    }


@pytest.mark.parametrize(
    ("kind", "name", "class_name"),
    [
        ("storage", "memory", "MemoryStorage"),
        ("storage", "jsonl", "JsonLinesStorage"),
        ("stream", "memory", "MemoryStream"),
        ("summarizer", "grammar", "GrammarSummarizer"),
    ],
)
def test_what_core_registers_can_be_imported(kind, name, class_name):
    assert PluginManager().factory(kind, name).__name__ == class_name


def test_nothing_is_imported_before_something_is_asked(installed):
    installed.add("audit-loud", "raise SystemExit('imported')")
    PluginManager(installed.entry_points())


def test_a_plugin_is_imported_and_asked_what_it_registers_once(installed):
    source = """
        from pathlib import Path
        from audit_core import hookimpl

        def count(what):
            with open(Path(__file__).with_suffix(".log"), "a") as log:
                log.write(what)

        count("i")

        @hookimpl
        def audit_register_streams():
            count("r")
            return {"s": dict}
    """
    installed.add("audit-counted", source)
    plugins = manager(installed)
    threads = [threading.Thread(target=plugins.factory, args=("stream", "s")) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    plugins.plugins()
    plugins.resolve_actor()
    assert (installed.folder / "audit_counted.log").read_text() == "ir"


# what is wrong


def test_a_plugin_that_cannot_be_imported_stops_nobody(installed):
    installed.add("audit-storage-shelf", STORAGE)
    installed.add("audit-broken", BROKEN, version="0.7")
    plugins = manager(installed)
    broken = {plugin.name: plugin for plugin in plugins.plugins()}["audit-broken"]
    assert (broken.state, broken.distribution, broken.version) == ("broken", "audit-broken", "0.7")
    assert broken.cause == "ModuleNotFoundError: No module named 'a_client_library_that_is_missing'"
    assert plugins.factory("storage", "shelf").__name__ == "Shelf"
    [problem] = plugins.problems()
    assert "audit-broken (audit-broken 0.7)" in problem


@pytest.mark.parametrize(
    ("source", "cause"),
    [
        ("@hookimpl\ndef audit_event_recorder(event): ...", "Did you mean 'audit_event_recorded'?"),
        ("@hookimpl\ndef audit_event_recorded(happening): ...", "{'happening'} are declared in the hookimpl"),
        ("def audit_event_recorded(event): ...", "put @audit_core.hookimpl above it"),
        ("@hookimpl(wrapper=True)\ndef audit_enrich_event(event):\n    yield", "is a wrapper"),
        ("@hookimpl(hookwrapper=True)\ndef audit_enrich_event(event):\n    yield", "is a wrapper"),
        ("@hookimpl\nasync def audit_event_recorded(event): ...", "is a coroutine"),
        ("", "it implements no hook"),
        ("@hookimpl\ndef audit_register_storages(): return ['shelf']", "returned list"),
        ("@hookimpl\ndef audit_register_storages(): return {'shelf': 7}", "a factory is a callable"),
        ("@hookimpl\ndef audit_register_storages(): raise OSError('no disk')", "OSError: no disk"),
        (
            "from audit_core.plugins.manager import get_plugin_manager\nget_plugin_manager().plugins()",
            "ask inside",
        ),
    ],
)
def test_a_plugin_whose_hooks_are_wrong_is_broken_and_none_of_them_is_called(installed, source, cause):
    called = "\n@hookimpl\ndef audit_resolve_actor(): return 'Mallory'\n" if "@hookimpl" in source else ""
    installed.add("audit-wrong", f"from audit_core import hookimpl\n{source}\n{called}")
    installed.add("audit-storage-shelf", STORAGE)
    plugins = manager(installed)
    with override_plugin_manager(plugins):
        wrong, right = sorted(plugins.plugins(), key=lambda plugin: plugin.state)
    assert (wrong.name, wrong.state) == ("audit-wrong", "broken")
    assert cause in wrong.cause
    assert "\n" not in wrong.cause
    assert right.state == "ok"
    assert plugins.resolve_actor() is None


def test_an_optional_hook_of_a_later_version_breaks_nothing(installed):
    source = "from audit_core import hookimpl\n@hookimpl(optionalhook=True)\ndef audit_of_tomorrow(): ..."
    installed.add("audit-early", source)
    assert only(manager(installed).plugins()).state == "ok"


def test_a_blocked_plugin_is_not_imported(installed, monkeypatch):
    installed.add("audit-loud", "raise SystemExit('imported')")
    monkeypatch.setenv("AUDIT_BLOCKED_PLUGINS", "audit-loud, audit-cor")
    plugins = PluginManager([*installed.entry_points(), *PluginManager_core()])
    assert {plugin.name: plugin.state for plugin in plugins.plugins()} == {
        "audit-core": "ok",
        "audit-loud": "blocked",
    }
    assert plugins.problems() == [
        "Plugin 'audit-cor' is blocked but not installed. Did you mean 'audit-core'?"
    ]
    with pytest.raises(
        UnknownBackendError, match=r"audit-loud \(audit-loud 1.0\), which may have it, is blocked"
    ):
        plugins.factory("storage", "loud")


def PluginManager_core():
    from importlib.metadata import entry_points

    return entry_points(group="audit", name="audit-core")


def test_two_distributions_with_one_plugin_name_are_both_out(installed):
    installed.add("audit-a", STORAGE, name="shelf")
    installed.add("audit-b", STORAGE.replace("shelf", "board"), name="shelf")
    plugins = manager(installed)
    plugin = only(plugins.plugins())
    assert plugin.state == "broken"
    assert "audit-a" in f"{plugin.distribution} {plugin.cause}"
    assert "audit-b" in f"{plugin.distribution} {plugin.cause}"
    assert plugins.names("storage") == []


# who owns a name


def test_an_unknown_name_says_what_there_is_and_what_may_have_been_meant(installed):
    installed.add("audit-storage-shelf", STORAGE)
    installed.add("audit-storage-tape", BROKEN, version="0.7")
    with pytest.raises(UnknownBackendError) as caught:
        manager(installed).factory("storage", "shelv")
    message = str(caught.value)
    assert isinstance(caught.value, ConfigurationError)
    assert "There is no storage 'shelv'. Did you mean 'shelf'?" in message
    assert "Installed are: shelf." in message
    assert (
        "audit-storage-tape (audit-storage-tape 0.7), which may have it, is broken: ModuleNotFoundError"
        in message
    )


def test_a_name_of_another_kind_is_recognized(installed):
    installed.add("audit-storage-shelf", STORAGE)
    with pytest.raises(UnknownBackendError, match="There is a storage of that name"):
        manager(installed).factory("stream", "shelf")


def test_two_owners_of_one_name_are_an_error_naming_both_when_it_is_used(installed):
    installed.add("audit-a", STORAGE, version="1.1")
    installed.add("audit-b", STORAGE.replace("return {", "return {'mine': Shelf, "), version="2.2")
    plugins = manager(installed)
    assert plugins.factory("storage", "mine").__name__ == "Shelf"
    with pytest.raises(PluginError, match=r"audit-a \(audit-a 1.1\) and audit-b \(audit-b 2.2\)"):
        plugins.factory("storage", "shelf")
    assert plugins.conflicts() == plugins.problems()
    assert len(plugins.conflicts()) == 1


@pytest.mark.parametrize("path", ["audit_core.errors.AuditError", "audit_core.errors:AuditError"])
def test_a_dotted_path_needs_no_plugin(path):
    assert PluginManager([]).factory("storage", path).__name__ == "AuditError"


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("audit_core.errors.AuditEror", "has no 'AuditEror'. Did you mean 'AuditError'?"),
        ("audit_core.erors.AuditError", "there is no module 'audit_core.erors'"),
        ("nowhere.to_be.Found", "there is no module 'nowhere'"),
        ("audit_core.errors.__doc__", "is no class or function"),
    ],
)
def test_a_wrong_dotted_path_says_which_part_of_it_is_wrong(path, words):
    with pytest.raises(ConfigurationError) as caught:
        PluginManager([]).factory("storage", path)
    assert words in str(caught.value)


def test_a_registered_path_is_imported_when_it_is_used_and_its_failure_names_the_distribution(installed):
    source = """
        from audit_core import hookimpl

        @hookimpl
        def audit_register_storages():
            return {"s3": "audit_storage_s3_client.Storage"}
    """
    installed.add("audit-storage-tape", source, version="0.7")
    (installed.folder / "audit_storage_s3_client.py").write_text(BROKEN)
    plugins = manager(installed)
    assert only(plugins.plugins()).state == "ok"
    with pytest.raises(ConfigurationError) as caught:
        plugins.factory("storage", "s3")
    message = str(caught.value)
    assert (
        "The storage 's3' of plugin audit-storage-tape (audit-storage-tape 0.7) cannot be imported" in message
    )
    assert "No module named 'a_client_library_that_is_missing'" in message


def test_the_process_has_one_manager_and_a_test_may_have_its_own():
    usual = get_plugin_manager()
    assert get_plugin_manager() is usual
    mine = PluginManager([])
    with override_plugin_manager(mine):
        assert get_plugin_manager() is mine
    assert get_plugin_manager() is usual
