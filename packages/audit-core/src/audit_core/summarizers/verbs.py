"""Verbs: the past that a sentence is told in, and the plain form that follows "tried to"."""

from __future__ import annotations

import re
from typing import NamedTuple

from audit_core.summarizers.words import text


class Verb(NamedTuple):
    """A verb in its two forms. ``base`` is empty where only the past is known."""

    past: str
    base: str

    def form(self, failed: bool) -> str:
        """The form for what was only tried (``failed``), or for what was done."""
        return self.base if failed else self.past


# fmt: off
_IRREGULAR = {
    "begin": "began", "bind": "bound", "buy": "bought", "draw": "drew", "find": "found", "forget": "forgot",
    "freeze": "froze", "get": "got", "give": "gave", "hide": "hid", "hold": "held", "keep": "kept",
    "lend": "lent", "lose": "lost", "make": "made", "override": "overrode", "overwrite": "overwrote",
    "pay": "paid", "put": "put", "read": "read", "rebuild": "rebuilt", "repay": "repaid", "resend": "resent",
    "reset": "reset", "rewrite": "rewrote", "run": "ran", "sell": "sold", "send": "sent", "set": "set",
    "shut": "shut", "spend": "spent", "split": "split", "take": "took", "underwrite": "underwrote",
    "undo": "undid", "unfreeze": "unfroze", "withdraw": "withdrew", "withhold": "withheld", "write": "wrote",
}
_DOUBLED = (
    "ban", "commit", "debit", "drop", "flag", "log", "scan", "ship", "skip", "stop",
    "submit", "swap", "tag", "transfer", "unban", "unflag", "untag",
)
_REGULAR = (
    "accept", "accredit", "acknowledge", "activate", "adjust", "advance", "allocate", "allow", "amend",
    "annul", "anonymize", "answer", "appeal", "apply", "appoint", "approve", "archive", "assess", "assign",
    "attach", "audit", "authorize", "award", "back", "bill", "block", "book", "calculate", "call", "cancel",
    "certify", "change", "charge", "check", "claim", "clean", "clear", "close", "collect", "compare",
    "complete", "confirm", "contact", "copy", "correct", "create", "credit", "deactivate", "decline",
    "deduct", "delete", "deliver", "deny", "deploy", "disable", "discard", "dispatch", "dispute",
    "download", "draft", "edit", "enable", "endorse", "enroll", "escalate", "evaluate", "examine",
    "exchange", "execute", "expire", "export", "extend", "fetch", "file", "finish", "fix", "forward",
    "generate", "grant", "handle", "impersonate", "import", "increase", "initiate", "inspect", "install",
    "invite", "invoice", "issue", "launch", "lift", "link", "list", "load", "lock", "mail", "mark", "merge",
    "migrate", "move", "notify", "offer", "open", "order", "pause", "post", "postpone", "print",
    "process", "propose", "publish", "purchase", "purge", "question", "raise", "rate", "reactivate",
    "recalculate", "receive", "recommend", "record", "recover", "reduce", "refresh", "refund", "refuse",
    "register", "reinstate", "reject", "release", "remind", "remove", "rename", "renew", "reopen",
    "replace", "report", "request", "rescind", "reserve", "resolve", "restore", "resume", "retire",
    "retract", "retry", "return", "reveal", "reverse", "review", "revise", "revoke", "roll", "rotate",
    "save", "schedule", "seal", "search", "select", "settle", "share", "sign", "start", "store", "suspend",
    "sync", "terminate", "test", "trigger", "unarchive", "unassign", "unblock", "unlink", "unlock",
    "unpublish", "unsubscribe", "update", "upgrade", "upload", "validate", "verify", "view", "void",
    "waive", "warn",
)
_PARTICLES = frozenset({"away", "back", "down", "in", "off", "on", "out", "over", "up"})
# They end like a past and are none that somebody does to an object.
_NO_PAST = frozenset({
    "bed", "failed", "hundred", "need", "red", "related", "required", "seed", "shed", "speed", "succeeded",
    "unauthorized",
})
# fmt: on


def _regular_past(base: str) -> str:
    if base.endswith("e"):
        return base + "d"
    if base.endswith("y") and base[-2] not in "aeiou":
        return base[:-1] + "ied"
    return base + "ed"


_BY_WORD: dict[str, Verb] = {}
for _base in _REGULAR:
    _BY_WORD[_base] = Verb(_regular_past(_base), _base)
for _base in _DOUBLED:
    _BY_WORD[_base] = Verb(_base + _base[-1] + "ed", _base)
for _base, _past in _IRREGULAR.items():
    _BY_WORD[_base] = Verb(_past, _base)
for _verb in tuple(_BY_WORD.values()):
    _BY_WORD[_verb.past] = _verb
_BY_WORD["cancelled"] = Verb("cancelled", "cancel")
# Participles, as statuses and the names of events have them.
_BY_WORD.update(
    frozen=_BY_WORD["freeze"],
    given=_BY_WORD["give"],
    overwritten=_BY_WORD["overwrite"],
    taken=_BY_WORD["take"],
    undone=_BY_WORD["undo"],
    withdrawn=_BY_WORD["withdraw"],
    written=_BY_WORD["write"],
)

_WORDS = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[^\W_A-Z]+|[^\w\s.:/_-]+")


def action_words(action: object) -> list[str]:
    """The words of an action's name: ``sent_reminder``, ``policy.approved``, ``SentReminder``."""
    name = text(action)
    if name.islower() and name.isalpha():
        return [name]
    return [word if len(word) > 1 and word.isupper() else word.lower() for word in _WORDS.findall(name)]


def verb_of(words: list[str]) -> Verb | None:
    """The verb that an action's words are, or ``None`` when they are more, or something else, than a verb."""
    if not words or not all(word in _PARTICLES for word in words[1:]):
        return None
    verb = _BY_WORD.get(words[0])
    if verb is None:
        word = words[0]
        if not word.endswith("ed") or word.endswith("eed") or len(word) < 5 or word in _NO_PAST:
            return None
        verb = Verb(word, "")
    if len(words) == 1:
        return verb
    rest = " ".join(words[1:])
    return Verb(f"{verb.past} {rest}", verb.base and f"{verb.base} {rest}")
