"""Acting on a module of an optional library when the application imports it, without ever importing it ourselves."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from types import ModuleType
from typing import Any


def when_imported(name: str, act: Callable[[Any], None]) -> None:
    """Call ``act`` with the module ``name``: now if it is there, else right after its first import, by whomever."""
    watcher = _Watcher(name, act)
    if (module := sys.modules.get(name)) is not None:
        act(module)
    elif watcher not in sys.meta_path:
        sys.meta_path.insert(0, watcher)


@dataclass(frozen=True)
class _Watcher(MetaPathFinder):
    """Finds nothing itself: lets the others find the module, and adds a step to its execution."""

    name: str
    act: Callable[[Any], None]

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname != self.name:
            return None
        with suppress(ValueError):  # another thread was faster
            sys.meta_path.remove(self)
        spec = find_spec(fullname)
        if spec is not None and spec.loader is not None:
            execute = spec.loader.exec_module

            def execute_and_act(module: ModuleType) -> None:
                execute(module)
                self.act(module)

            spec.loader.exec_module = execute_and_act  # type: ignore[method-assign]
        return spec
