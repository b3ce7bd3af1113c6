"""A user agent in words."""

from __future__ import annotations

import re

from django.utils.translation import gettext as _

_BROWSERS = (  # the first that matches: nearly all of them also call themselves Chrome and Safari
    ("Edge", r"Edg(?:e|A|iOS)?/(\d+)"),
    ("Opera", r"OPR/(\d+)"),
    ("Samsung Internet", r"SamsungBrowser/(\d+)"),
    ("Firefox", r"(?:Firefox|FxiOS)/(\d+)"),
    ("Chrome", r"(?:Chrome|CriOS|Chromium)/(\d+)"),
    ("Safari", r"Version/(\d+)[\d.]* (?:Mobile/\S+ )?Safari/"),
    ("curl", r"^curl/(\d+)"),
    ("Python", r"^(?:python-requests|python-httpx|Python-urllib)/([\d.]+)"),
)
_SYSTEMS = (
    ("iPhone", r"iPhone"),
    ("iPad", r"iPad"),
    ("Android", r"Android"),
    ("Windows", r"Windows"),
    ("macOS", r"Mac OS X|Macintosh"),
    ("ChromeOS", r"CrOS"),
    ("Linux", r"Linux|X11"),
)


def in_words(user_agent: str) -> str:
    """``"Firefox 130 on Windows"``; what nobody knows is given back as it is."""
    browser = next(
        (f"{name} {match[1]}" for name, pattern in _BROWSERS if (match := re.search(pattern, user_agent))),
        None,
    )
    system = next((name for name, pattern in _SYSTEMS if re.search(pattern, user_agent)), None)
    if browser and system:
        return _("%(browser)s on %(system)s") % {"browser": browser, "system": system}
    return browser or user_agent
