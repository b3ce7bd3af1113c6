"""The forms of customers."""

from __future__ import annotations

from typing import Any

from django import forms

from customers.models import Customer, CustomerProfile

LANGUAGES = [("en", "English"), ("de", "German"), ("es", "Spanish"), ("fr", "French")]


class DateInput(forms.DateInput):
    """The browser's own calendar."""

    input_type = "date"

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(format="%Y-%m-%d", **kwargs)


class CustomerForm(forms.ModelForm):
    """A customer, and their profile in the same form."""

    address = forms.CharField(max_length=200, required=False)
    city = forms.CharField(max_length=80, required=False)
    language = forms.ChoiceField(
        choices=[("en", "English"), ("de", "German"), ("es", "Spanish"), ("fr", "French")]
    )
    contact = forms.ChoiceField(choices=[("email", "Email"), ("phone", "Phone"), ("letter", "Letter")])
    newsletter = forms.BooleanField(required=False)

    class Meta:
        model = Customer
        fields = ("name", "email", "phone", "birth_date", "ssn", "is_active")
        widgets = {"birth_date": DateInput()}  # noqa: RUF012

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.profile: CustomerProfile = getattr(self.instance, "profile", None) or CustomerProfile()
        for name in ("address", "city"):
            self.initial.setdefault(name, getattr(self.profile, name))
        for name in ("language", "contact", "newsletter"):
            self.initial.setdefault(name, self.profile.preferences.get(name))

    def save(self, commit: bool = True) -> Customer:
        """Save both. The view has opened the transaction."""
        is_new = self.instance.pk is None
        if is_new or not set(self.changed_data).isdisjoint(self.Meta.fields):
            super().save(commit)
        customer: Customer = self.instance
        if not is_new and set(self.changed_data) <= set(self.Meta.fields):
            return customer
        data, profile = self.cleaned_data, self.profile
        profile.customer, profile.tenant_id = customer, customer.tenant_id
        profile.address, profile.city = data["address"], data["city"]
        profile.preferences |= {name: data[name] for name in ("language", "contact", "newsletter")}
        profile.save()
        return customer
