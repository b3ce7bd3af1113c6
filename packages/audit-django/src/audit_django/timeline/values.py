"""One value of an event as people read it. Everything that comes from an event is escaped here."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import date, datetime, time
from pathlib import PurePosixPath
from typing import Any

from django.template.defaultfilters import filesizeformat
from django.utils import timezone
from django.utils.dateformat import format as format_date
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from audit_core.diff import Change
from audit_core.privacy import MASK, is_sealed
from audit_core.summarizers import words

LONG = 300  # characters of a text that are shown before the rest is folded

DAY = "j F Y"
_DURATION = re.compile(r"(-?)P(?:(\d+)D)?T?(?:(\d+)H)?(?:(\d+)M)?(?:(\d+)(\.\d+)?S)?")
_FILES = frozenset({"FileField", "ImageField", "FilePathField"})
_NUMBERS = frozenset({"DecimalField", "FloatField"})


def value_html(value: Any, change: Change, side: str) -> SafeString:
    """``value`` of ``change``; ``side`` is ``before`` or ``after``."""
    if change.sensitive and value not in (None, ""):
        return hidden()
    if change.display and side in change.display:
        return bdi(change.display[side])
    if (text := scalar_text(value, change.field_type)) is not None:
        return long_text(text) if text else empty()
    return special_html(value) or bdi(str(value))


def scalar_text(value: Any, field_type: str | None) -> str | None:
    """The words for a value that is no document; ``""`` for an empty one, ``None`` for a document."""
    if value is None or value in ([], {}):
        return ""
    if isinstance(value, bool):
        return _("yes") if value else _("no")
    if isinstance(value, int | float):
        return words.number(value) if field_type in _NUMBERS else str(value)
    if not isinstance(value, str):
        return None
    if field_type in _NUMBERS:
        return words.number(value)
    if field_type in _FILES:
        return PurePosixPath(value).name
    return _temporal(value, field_type) or value


def special_html(value: Any) -> SafeString | None:
    """Sealed values, references, binary values and digests; ``None`` for any other document."""
    if not isinstance(value, Mapping):
        return None
    if is_sealed(value):
        return hidden()
    keys = value.keys()
    if keys == {"pk", "repr"}:
        title = _("id %s") % value["pk"]
        label = words.text(value["repr"]) or title
        return format_html('<bdi title="{}">{}</bdi>', title, label)
    if keys == {"base64"} and isinstance(value["base64"], str):
        size = len(value["base64"]) * 3 // 4 - value["base64"].count("=")
        return format_html('<span class="audit-note">{}</span>', _("binary, %s") % filesizeformat(size))
    if keys == {"sha256", "length"} and isinstance(value["length"], int):
        text = _("too long to keep: %s characters or bytes, SHA-256") % f"{value['length']:,}"
        return format_html('<span class="audit-note">{} <code>{}</code></span>', text, value["sha256"])
    return None


def hidden() -> SafeString:
    """What stands for a value that is sealed."""
    return format_html(
        '<span class="audit-masked"><i aria-hidden="true">{}</i> <span class="audit-note">{}</span></span>',
        MASK,
        _("hidden"),
    )


def empty() -> SafeString:
    """What stands for no value."""
    return format_html('<span class="audit-note">{}</span>', _("empty"))


def bdi(text: str) -> SafeString:
    """``text`` isolated, so that its direction does not disturb what is around it."""
    return format_html("<bdi>{}</bdi>", text)


def long_text(text: str) -> SafeString:
    """``text``, the end of a long one folded."""
    if len(text) <= LONG:
        return format_html('<span class="audit-text" dir="auto">{}</span>', text)
    cut = text.rfind(" ", LONG // 2, LONG) + 1 or LONG
    return format_html(
        '<div class="audit-text" dir="auto">{}{}</div>',
        text[:cut],
        fold(text[cut:], label=_("the other %s characters")),
    )


def fold(text: str, *, label: str = "") -> SafeString:
    """Text that is there but folded; its size is said."""
    if label:
        said = label % f"{len(text):,}"
    else:
        count = len(text.split())
        said = ngettext("%s unchanged word", "%s unchanged words", count) % f"{count:,}"
    return format_html('<details class="audit-fold"><summary>… {} …</summary>{}</details>', said, text)


def _temporal(value: str, field_type: str | None) -> str | None:
    try:
        match field_type:
            case "DateField":
                return format_date(date.fromisoformat(value), DAY)
            case "DateTimeField":
                moment = datetime.fromisoformat(value)
                if moment.tzinfo:
                    moment = timezone.localtime(moment)
                return format_date(moment, f"{DAY}, H:i:s" if moment.second else f"{DAY}, H:i")
            case "TimeField":
                moment_of_day = time.fromisoformat(value)
                return value[:5] if moment_of_day.second == moment_of_day.microsecond == 0 else value
            case "DurationField":
                return _duration(value)
    except (ValueError, OverflowError):
        pass  # not what the field's type promises: shown as it is
    return None


def _duration(value: str) -> str | None:
    match = _DURATION.fullmatch(value)
    if match is None:
        return None
    sign, days, hours, minutes, seconds, fraction = match.groups()
    parts = [
        f"{int(number)}{(fraction or '') if unit == 's' else ''} {unit}"
        for number, unit in ((days, "d"), (hours, "h"), (minutes, "min"), (seconds, "s"))
        if number and (int(number) or (unit == "s" and fraction))
    ]
    return ("−" if sign else "") + (" ".join(parts) or "0 s")
