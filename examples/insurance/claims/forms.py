"""The forms of claims."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from django import forms

from accounts.forms import UnchangedIsNotSaved
from accounts.models import User
from claims.models import Claim, Document

MAX_UPLOAD_BYTES = 10 * 1024 * 1024


class ClaimForm(UnchangedIsNotSaved):
    """A claim while it is worked on; settling it is a form of its own."""

    status = forms.ChoiceField(choices=[choice for choice in Claim.Status.choices if choice[0] != "settled"])

    class Meta:
        model = Claim
        fields = ("status", "handler", "reported_at", "description")
        widgets = {  # noqa: RUF012
            "reported_at": forms.DateTimeInput({"type": "datetime-local"}, format="%Y-%m-%dT%H:%M:%S"),
            "description": forms.Textarea({"rows": 8}),
        }

    def __init__(self, *args: Any, tenant: str, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["handler"].queryset = User.objects.filter(tenant=tenant, is_active=True)  # type: ignore[attr-defined]


class SettleForm(forms.Form):
    """How much is paid, and why."""

    amount = forms.DecimalField(max_digits=12, decimal_places=2, min_value=Decimal("0.01"))
    reason = forms.CharField(max_length=200)


class DocumentForm(forms.ModelForm):
    """An upload."""

    class Meta:
        model = Document
        fields = ("kind", "file")

    def clean_file(self) -> Any:
        file = self.cleaned_data["file"]
        if file.size > MAX_UPLOAD_BYTES:
            raise forms.ValidationError("The file is larger than 10 MB. Make it smaller, or split it.")
        return file
