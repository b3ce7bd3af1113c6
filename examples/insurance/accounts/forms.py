"""What the forms of all apps share."""

from __future__ import annotations

from typing import Any

from django import forms


class UnchangedIsNotSaved(forms.ModelForm):
    """A form that was sent as it came writes nothing: "updated at" says when something changed."""

    def save(self, commit: bool = True) -> Any:
        if self.instance.pk is not None and not self.has_changed():
            return self.instance
        return super().save(commit)
