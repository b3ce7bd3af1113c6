"""A browser without a screen: opens pages, fills in their forms and sends them, as people would.

A form is read from the page's HTML, so what is sent is what the page offers. A page that refuses the input stops
the history with what it said.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from html.parser import HTMLParser
from typing import Any

from django.http import HttpResponse
from django.test import Client


class Refused(Exception):
    """A page did not take what was sent to it."""


@dataclass
class Form:
    """One form of a page: where it is sent, and what stands in it."""

    action: str
    method: str
    values: dict[str, list[Any]] = field(default_factory=dict)
    names: set[str] = field(default_factory=set)

    def fill(self, changes: Mapping[str, Any]) -> None:
        """Type, choose or upload. ``None`` and ``False`` empty a field or uncheck a box."""
        for name, value in changes.items():
            if value is None or value is False:
                self.values.pop(name, None)
            elif value is True:
                self.values[name] = ["on"]
            else:
                self.values[name] = value if isinstance(value, list) else [value]


class _Reader(HTMLParser):
    """Collects forms, and the texts of error lists."""

    def __init__(self) -> None:
        super().__init__()
        self.forms: list[Form] = []
        self.errors: list[str] = []
        self._select: str | None = None
        self._options: list[tuple[str, bool]] = []
        self._is_multiple = False
        self._textarea: str | None = None
        self._text = ""
        self._in_errors = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {key: value or "" for key, value in attrs}
        name = given.get("name", "")
        if tag == "form":
            self.forms.append(Form(given.get("action", ""), given.get("method", "get").lower()))
        elif tag == "ul" and "errorlist" in given.get("class", ""):
            self._in_errors = True
        elif self.forms and name and tag in ("input", "select", "textarea"):
            self.forms[-1].names.add(name)
            if tag == "input":
                self._input(name, given)
            elif tag == "select":
                self._select, self._options, self._is_multiple = name, [], "multiple" in given
            else:
                self._textarea, self._text = name, ""
        elif tag == "option" and self._select:
            self._options.append((given.get("value", ""), "selected" in given))

    def _input(self, name: str, given: Mapping[str, str]) -> None:
        kind = given.get("type", "text")
        if kind in ("submit", "button", "file", "image") or (
            kind in ("checkbox", "radio") and "checked" not in given
        ):
            return
        self.forms[-1].values.setdefault(name, []).append(
            given.get("value", "on" if kind == "checkbox" else "")
        )

    def handle_endtag(self, tag: str) -> None:
        if tag == "select" and self._select:
            chosen = [value for value, is_selected in self._options if is_selected]
            if not chosen and self._options and not self._is_multiple:
                chosen = [self._options[0][0]]
            if chosen:
                self.forms[-1].values[self._select] = chosen
            self._select = None
        elif tag == "textarea" and self._textarea:
            self.forms[-1].values[self._textarea] = [self._text.removeprefix("\n")]
            self._textarea = None
        elif tag == "ul":
            self._in_errors = False

    def handle_data(self, data: str) -> None:
        if self._textarea:
            self._text += data
        elif self._in_errors and data.strip():
            self.errors.append(data.strip())


class Browser:
    """One person's browser."""

    def __init__(self, address: str, user_agent: str) -> None:
        self._client = Client(
            REMOTE_ADDR=address, SERVER_NAME="localhost", headers={"user-agent": user_agent}
        )

    def open(self, path: str, status: int = 200) -> HttpResponse:
        """Open a page. Raises :class:`Refused` when it answers with another status."""
        response = self._client.get(path)
        if response.status_code != status:
            raise Refused(f"{path} answered {response.status_code}.")
        return response  # type: ignore[return-value]

    def submit(
        self, path: str, changes: Mapping[str, Any] | None = None, *, to: str = "", status: int = 302
    ) -> HttpResponse:
        """Open a page, make these changes in the form that has such fields, and send it.

        ``to`` chooses among several forms by how their action ends. Raises :class:`Refused` when the answer has
        another status.
        """
        changes = changes or {}
        page = _read(self.open(path))
        forms = [
            form for form in page.forms if form.method == "post" and not form.action.endswith("/logout/")
        ]
        forms = [form for form in forms if form.action.endswith(to) and changes.keys() <= form.names]
        if not forms:
            raise Refused(f"{path} has no form with the fields {', '.join(changes) or '(none)'}.")
        form = forms[0]
        form.fill(changes)
        response = self._client.post(form.action or path, form.values)
        if response.status_code != status:
            problems = "; ".join(_read(response).errors) or "it did not say why"
            raise Refused(f"{path} answered {response.status_code} to {dict(changes)!r}: {problems}.")
        return response  # type: ignore[return-value]

    def log_in(self, username: str, password: str, *, succeeds: bool = True) -> None:
        """Log in on the application's page, in place of whoever was. Without ``succeeds`` it must be refused."""
        self.log_out()
        values = {"username": username, "password": password}
        self.submit("/login/", values, status=302 if succeeds else 200)

    def log_out(self) -> None:
        """Log out."""
        self._client.post("/logout/")


def _read(response: Any) -> _Reader:
    reader = _Reader()
    reader.feed(response.content.decode())
    return reader
