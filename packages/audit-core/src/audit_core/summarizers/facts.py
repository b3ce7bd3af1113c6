"""What was done, action by action: create, delete, log in, export, and any word of the application's own."""

from __future__ import annotations

from audit_core.event import Event, Outcome
from audit_core.summarizers.clauses import CHANGED, changes_words
from audit_core.summarizers.creation import said_on_create
from audit_core.summarizers.parties import Thing, count_of, subject, thing
from audit_core.summarizers.telling import by_telling
from audit_core.summarizers.values import Style
from audit_core.summarizers.verbs import Verb, action_words, verb_of
from audit_core.summarizers.words import (
    clip,
    counted,
    join,
    join_clauses,
    lower,
    mapping,
    number,
    plural,
    quoted,
    text,
)

_ALIASES = {
    "created": "create", "insert": "create", "updated": "update", "change": "update", "changed": "update",
    "deleted": "delete", "viewed": "view", "access": "view", "accessed": "view", "exported": "export",
    "logged_in": "login", "logged_out": "logout",
}  # fmt: skip
_CREATE = Verb("created", "create")
_DELETE = Verb("deleted", "delete")
_VIEW = Verb("viewed", "view")
# Names of events that say what happened, and are no verb that takes an object.
_PHRASES = {
    "password_changed": Verb("changed the password of", "change the password of"),
    "password_reset": Verb("reset the password of", "reset the password of"),
    "unmask": Verb("revealed hidden values of", "reveal hidden values of"),
}
_EXPORT = Verb("exported", "export")


def tell(event: Event, style: Style) -> str:
    """The sentence without its reason and its full stop."""
    action = text(event.action)
    action = _ALIASES.get(action, action)
    failed = text(event.outcome) == Outcome.FAILURE
    if action == "login_failed" or (action in ("login", "logout") and failed):
        return _failed_login(event, style, "log out" if action == "logout" else "log in")
    if action == "login":
        return f"{subject(event, style, nobody='Someone')} logged in{_as_username(event)}{_from_ip(event)}"
    if action == "logout":
        return f"{subject(event, style, nobody='Someone')} logged out"
    if action == "capture_disabled":
        return _capture_disabled(event, style)
    if action == "events_lost":
        # Nobody did it: whoever's request it happened in had no part in it.
        return (
            f"The audit trail lost {counted(count_of(event) or 0, 'event', 'events')} that it could not write"
        )
    who = subject(event, style)
    if action in ("permission_denied", "access_denied"):
        place = thing(event.target, style, n=count_of(event)).words
        return f"{who} was denied access{f' to {place}' if place else ''}{_error(event)}"
    if not failed:
        return f"{who} {_done(action, event, style, failed=False)}"
    tried = _done(action, event, style, failed=True)
    comma = "," if len(event.diff) > 1 and event.action != "create" else ""
    return f"{who} tried {tried}{comma} and was refused{_error(event)}"


def _done(action: str, event: Event, style: Style, *, failed: bool) -> str:
    """The predicate; with ``failed`` what follows "tried"."""
    n = count_of(event)
    it = thing(event.target, style, n=n)
    to = "to " if failed else ""
    if action == "update":
        words = (
            changes_words(by_telling(event.diff), it, style, failed=failed)
            if event.diff
            else _plain(CHANGED, it, failed)
        )
    elif action == "create":
        words = _created(event, it, style, failed=failed)
    elif action == "delete":
        words = _plain(_DELETE, it, failed) + ("" if failed else _deleted_with(event, it, style))
    elif action == "export":
        rows = it if it.words else Thing("data")
        words = _plain(_EXPORT, rows, failed) + _as_format(event, style)
    elif action == "view":
        words = _plain(_VIEW, it, failed)
    else:
        words = _custom(action, event, it, style, failed=failed)
        to = "" if words.startswith("“") else to
    return to + words


def _plain(verb: Verb, it: Thing, failed: bool) -> str:
    return f"{verb.form(failed)} {it.words or 'something'}"


def _created(event: Event, it: Thing, style: Style, *, failed: bool) -> str:
    words = _plain(_CREATE, it, failed)
    if not event.diff:
        return words
    parent, values = said_on_create(by_telling(event.diff), it.words, style)
    words += f" for {parent}" if parent else ""
    return f"{words}: {', '.join(values)}" if values and not failed else words


def _deleted_with(event: Event, it: Thing, style: Style) -> str:
    groups = mapping(event.extra).get("deleted_with")
    found = []
    for group in groups if isinstance(groups, list | tuple) else ():
        n = mapping(group).get("count")
        if type(n) is int and n > 0:
            kind = clip(lower(text(mapping(group).get("kind"))), style.limit) or "record"
            found.append(
                (n, kind, clip(lower(text(mapping(group).get("kind_plural"))), style.limit) or plural(kind))
            )
    if not found:
        return ""
    words = [counted(*group) for group in found[: style.clauses]]
    if rest := sum(n for n, _, _ in found[style.clauses :]):
        words.append(
            counted(rest, "more record", "more records") if words else counted(rest, "record", "records")
        )
    return f", and {join(words)} with {it.pronoun}"


def _as_format(event: Event, style: Style) -> str:
    words = text(mapping(event.extra).get("format"))
    return f" as {clip(words, style.limit)}" if words else ""


def _custom(action: str, event: Event, it: Thing, style: Style, *, failed: bool) -> str:
    words = action_words(action)
    verb = _PHRASES.get(action) or verb_of(words)
    if (
        verb is None
        and len(words) > 1
        and event.target is not None
        and it.words.lower().startswith(words[0] + " ")
    ):
        verb = verb_of(words[1:])  # policy.approved, of a policy
    if verb is not None and it.words and verb.form(failed):
        said = f"{verb.form(failed)} {it.words}"
    else:
        name = f"“{clip(' '.join(words) or text(action) or 'an event', style.limit)}”"
        where = f" on {it.words}" if it.words else ""
        said = f"{name}{where}" if failed else f"recorded {name}{where}"
    if not event.diff or failed:
        return said
    return join_clauses([said, changes_words(by_telling(event.diff), it, style, failed=False, named=True)])


def _failed_login(event: Event, style: Style, tried: str) -> str:
    anonymous = event.actor is None or text(event.actor.type) in ("anonymous", "system")
    who = "Someone" if anonymous else subject(event, style)
    return f"{who} failed to {tried}{_as_username(event)}{_from_ip(event)}{_error(event)}"


def _as_username(event: Event) -> str:
    """Under which name, where the subject of the sentence does not say it."""
    words = text(mapping(event.extra).get("username"))
    actor = event.actor
    if not words or (
        actor is not None and words in (text(actor.username), text(actor.repr), text(actor.email))
    ):
        return ""
    return f" as {quoted(clip(words, 40))}"


def _from_ip(event: Event) -> str:
    ip = text(event.context.ip)
    return f" from {clip(ip, 45)}" if ip else ""


def _error(event: Event) -> str:
    words = text(mapping(event.extra).get("error")).rstrip(" .")
    return f": {clip(words, 120)}" if words else ""


def _capture_disabled(event: Event, style: Style) -> str:
    seconds, skipped = (mapping(event.extra).get(key) for key in ("seconds", "skipped"))
    words = f"{subject(event, style)} switched off the audit trail"
    if isinstance(seconds, int | float) and not isinstance(seconds, bool):
        words += f" for {number(seconds)} s"
    if type(skipped) is int and skipped > 0:
        words += f", and {counted(skipped, 'change was', 'changes were')} not recorded"
    return words
