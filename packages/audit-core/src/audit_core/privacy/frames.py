"""What an error report shows of our functions: their lines, and not their variables.

Django's page about an error, and services that collect errors, show the variables of every function that the error has passed.
Between capture and recorder those are plain values.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from contextlib import suppress
from traceback import walk_tb
from types import FrameType
from typing import Any, ParamSpec, TypeVar

_P = ParamSpec("_P")
_R = TypeVar("_R")


def discreet(function: Callable[_P, _R]) -> Callable[_P, _R]:
    """Let an error that leaves ``function`` forget the variables of all functions of its package, and of audit_core.

    Those of Django, of a driver or of the application keep theirs: they would be on the page without us as well.
    """
    home: Any = function  # `wraps` gives it the name of the module that it was taken from
    packages = {"audit_core", _package(home.__globals__["__name__"])}

    @functools.wraps(function)
    def call(*args: _P.args, **kwargs: _P.kwargs) -> _R:
        try:
            return function(*args, **kwargs)
        except BaseException as error:
            for frame in _frames(error):
                if _package(frame.f_globals.get("__name__", "")) in packages:
                    _clear(frame)
            del args, kwargs
            raise

    return call


def clear_called(error: BaseException, package: str) -> None:
    """Forget the variables of the functions of ``package``, and of everything that they have called: for what was only called
    because of us, as the ``str()`` of an object, and is given plain values.
    """
    is_called = False
    for frame in _frames(error):
        is_called = is_called or _package(frame.f_globals.get("__name__", "")) == package
        if is_called:
            _clear(frame)


def _frames(error: BaseException) -> Iterator[FrameType]:
    """Those of ``error`` from the outermost on, and of the errors that it came from."""
    todo: list[BaseException | None] = [error]
    seen: set[int] = set()
    while todo:
        some = todo.pop()
        if some is None or id(some) in seen:
            continue
        seen.add(id(some))
        yield from (frame for frame, _ in walk_tb(some.__traceback__))
        todo += [some.__cause__, some.__context__]


def _clear(frame: FrameType) -> None:
    with suppress(RuntimeError):  # it is still running
        frame.clear()


def _package(module: str) -> str:
    return module.partition(".")[0]
