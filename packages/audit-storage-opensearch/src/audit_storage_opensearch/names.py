"""What the indices are called, and which of them an event belongs to.

An event's place is a function of its id alone: the month in which its UUIDv7 was made. OpenSearch keeps an id unique
within one index, so whatever comes with the same id, even with another ``occurred_at``, meets the first one there. The
same function finds an event by its id with one look-up.

Events are written to the alias of their month. Behind it stands an index whose name has the version of the mapping: a
later mapping gets a new index behind the same alias, and the ids in it stay unique. All indices together are read
through one more alias.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from uuid import UUID

from audit_core.errors import ConfigurationError

MAPPING_VERSION = 1
UNDATED = "undated"  # the month of ids that tell no time
_ALLOWED = re.compile(r"[a-z0-9][a-z0-9_-]{0,99}")
_TAKEN = re.compile(r"-(v\d+|undated)(-|$)")  # what a storage puts behind its own option
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_LAST_MS = int(datetime(9999, 12, 31, tzinfo=UTC).timestamp() * 1000)


def month_of(event_id: UUID) -> str:
    """The month (``2026.03``) that a UUIDv7 was made in, by its first 48 bits (RFC 9562, section 5.7)."""
    ms = event_id.int >> 80
    if event_id.version != 7 or ms > _LAST_MS:
        return UNDATED
    return _month(_EPOCH + timedelta(milliseconds=ms))


def _month(moment: datetime) -> str:
    return f"{moment.year}.{moment.month:02}"


class Names:
    """The names of one storage, all made from its option ``index``. No dot is allowed in it, nor a wildcard, nor what could
    be a version, so no pattern of one storage matches an index or an alias of another.
    """

    def __init__(self, index: str) -> None:
        if not isinstance(index, str) or not _ALLOWED.fullmatch(index):
            raise ConfigurationError(
                f"The option index is {index!r}: it must be lower-case letters, digits, '-' and '_', at most 100."
            )
        if _TAKEN.search(index):
            raise ConfigurationError(
                f"The option index is {index!r}: a storage called {_TAKEN.split(index)[0]!r} would make such names of its own. "
                f"Leave out '-v1' and '-undated'."
            )
        self.all = index
        self.template = f"{index}-v{MAPPING_VERSION}"
        self.policy = f"{index}-retention"
        self.pattern = f"{self.template}-*"
        self.dated_pattern = f"{self.template}-*.*"

    def alias_of(self, event_id: UUID) -> str:
        """The alias under which this event is written and looked up."""
        return f"{self.all}-{month_of(event_id)}"

    def alias_of_month(self, moment: datetime) -> str:
        """The alias of the events that are made now, if ``moment`` is."""
        return f"{self.all}-{_month(moment)}"

    def index_behind(self, alias: str) -> str:
        """The index that is made for the alias of a month."""
        return f"{self.template}{alias.removeprefix(self.all)}"
