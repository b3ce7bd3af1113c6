"""The forms of policies."""

from __future__ import annotations

from typing import Any

from django import forms

from accounts.forms import UnchangedIsNotSaved
from accounts.models import User
from customers.forms import DateInput
from customers.models import Customer
from policies.models import Policy

COVERAGE = ("sum_insured", "deductible", "glass", "roadside")


class PolicyForm(UnchangedIsNotSaved):
    """A policy. What it covers is a document in the database, and four fields for people."""

    sum_insured = forms.IntegerField(min_value=0, required=False)
    deductible = forms.IntegerField(min_value=0, required=False)
    glass = forms.BooleanField(label="Glass breakage", required=False)
    roadside = forms.BooleanField(label="Roadside assistance", required=False)

    class Meta:
        model = Policy
        fields = (
            "customer",
            "owner",
            "premium",
            "valid_from",
            "valid_until",
            "risk_classes",
            "tags",
            "notes",
        )
        widgets = {  # noqa: RUF012
            "valid_from": DateInput(),
            "valid_until": DateInput(),
            "risk_classes": forms.CheckboxSelectMultiple(),
            "tags": forms.CheckboxSelectMultiple(),
            "notes": forms.Textarea(attrs={"rows": 6}),
        }

    def __init__(self, *args: Any, tenant: str, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["customer"].queryset = Customer.objects.filter(tenant=tenant)  # type: ignore[attr-defined]
        self.fields["owner"].queryset = User.objects.filter(tenant=tenant, is_active=True)  # type: ignore[attr-defined]
        for name in COVERAGE:
            self.initial.setdefault(name, self.instance.coverage.get(name))

    def clean(self) -> dict[str, Any]:
        data: dict[str, Any] = super().clean() or self.cleaned_data
        start, end = data.get("valid_from"), data.get("valid_until")
        if start and end and end < start:
            self.add_error("valid_until", "A policy cannot end before it begins.")
        return data

    def save(self, commit: bool = True) -> Policy:
        self.instance.coverage = {
            **self.instance.coverage,
            **{name: self.cleaned_data[name] for name in COVERAGE if self.cleaned_data[name] is not None},
        }
        policy: Policy = super().save(commit)
        return policy


class ReasonForm(forms.Form):
    """Why something is decided: it stands in the audit trail."""

    reason = forms.CharField(max_length=200, widget=forms.TextInput(attrs={"autofocus": True}))
