"""The pages of policies."""

from __future__ import annotations

import csv
from typing import Any

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.db.models import Q, QuerySet
from django.http import HttpResponse
from django.shortcuts import redirect
from django.views.generic import CreateView, DetailView, FormView, ListView, UpdateView
from django.views.generic.detail import SingleObjectMixin

from accounts.tenancy import TenantViewMixin
from audit_django import audit_context, record
from policies.forms import PolicyForm, ReasonForm
from policies.models import Policy

STATUS = Policy.Status
# What can be decided of a policy: the statuses it may have before, the one it has then, and who may.
DECISIONS = {
    "submit": ((STATUS.DRAFT,), STATUS.PENDING, "policies.change_policy"),
    "approve": ((STATUS.PENDING,), STATUS.APPROVED, "policies.approve_policy"),
    "return": ((STATUS.PENDING,), STATUS.DRAFT, "policies.approve_policy"),
    "cancel": ((STATUS.DRAFT, STATUS.PENDING, STATUS.APPROVED), STATUS.CANCELED, "policies.change_policy"),
}


class PolicyMixin(TenantViewMixin):
    """Policies are addressed by their number."""

    model = Policy
    slug_field = slug_url_kwarg = "number"


class PolicyList(PolicyMixin, ListView):
    """The policies, newest first, and the same as a CSV file."""

    paginate_by = 25
    extra_context = {"statuses": Policy.Status.choices}  # noqa: RUF012

    def get_queryset(self) -> QuerySet[Any]:
        rows = super().get_queryset().select_related("customer", "owner", "tenant")
        text, status = self.request.GET.get("q", "").strip(), self.request.GET.get("status", "")
        if text:
            rows = rows.filter(Q(number__icontains=text) | Q(customer__name__icontains=text))
        return rows.filter(status=status) if status else rows

    def get(self, request: Any, *args: Any, **kwargs: Any) -> HttpResponse:
        if request.GET.get("format") == "csv":
            return self.export()
        return super().get(request, *args, **kwargs)

    def export(self) -> HttpResponse:
        """The rows of the list as a file. Who takes data out is recorded before they have it."""
        rows = list(self.get_queryset())
        record("export", target=Policy, category="export", extra={"count": len(rows), "format": "CSV"})
        response = HttpResponse(content_type="text/csv; charset=utf-8")
        response["Content-Disposition"] = 'attachment; filename="policies.csv"'
        writer = csv.writer(response)
        writer.writerow(["number", "customer", "status", "premium", "valid until"])
        for policy in rows:
            cells = [
                policy.number,
                policy.customer,
                policy.get_status_display(),
                policy.premium,
                policy.valid_until,
            ]
            writer.writerow([_harmless("" if cell is None else str(cell)) for cell in cells])
        return response


def _harmless(cell: str) -> str:
    """A cell that no spreadsheet takes for a formula."""
    return f"'{cell}" if cell.startswith(("=", "+", "-", "@", "\t", "\r")) else cell


class PolicyDetail(PolicyMixin, DetailView):
    """One policy with its claims and history."""

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        decisions = [
            name
            for name, (before, _, permission) in DECISIONS.items()
            if self.object.status in before and self.request.user.has_perm(permission)
        ]
        coverage = [
            (
                name.replace("_", " ").capitalize(),
                ("yes" if value else "no") if isinstance(value, bool) else value,
            )
            for name, value in self.object.coverage.items()
        ]
        return super().get_context_data(decisions=decisions, coverage=coverage, **kwargs)


class PolicyFormMixin(PolicyMixin):
    """Creating and changing a policy."""

    form_class = PolicyForm
    template_name = "form.html"

    def get_form_kwargs(self) -> dict[str, Any]:
        own = getattr(self, "object", None)
        tenant = own.tenant_id if own else self.own_tenant()
        kwargs: dict[str, Any] = super().get_form_kwargs()  # type: ignore[misc]
        return {**kwargs, "tenant": tenant}

    def form_valid(self, form: PolicyForm) -> HttpResponse:
        with transaction.atomic():  # the row, its risk classes and its tags
            response: HttpResponse = super().form_valid(form)  # type: ignore[misc]
        messages.success(self.request, f"Policy {form.instance} was saved.")
        return response


class PolicyCreate(PolicyFormMixin, CreateView):
    """A new policy, a draft of whoever enters it."""

    extra_context = {"title": "New policy"}  # noqa: RUF012

    def get_initial(self) -> dict[str, Any]:
        customer = self.request.GET.get("customer", "")
        return {"owner": self.request.user.pk, **({"customer": customer} if customer.isdecimal() else {})}

    def form_valid(self, form: PolicyForm) -> HttpResponse:
        form.instance.tenant_id = self.own_tenant()
        return super().form_valid(form)


class PolicyUpdate(PolicyFormMixin, UpdateView):
    """Change a policy."""

    extra_context = {"title": "Edit policy"}  # noqa: RUF012


class PolicyDecision(PolicyMixin, SingleObjectMixin, FormView):
    """Submit, approve, return or cancel a policy: whoever decides says why."""

    form_class = ReasonForm
    template_name = "form.html"
    decision = ""

    def dispatch(self, request: Any, *args: Any, **kwargs: Any) -> Any:
        self.before, self.after, permission = DECISIONS[self.decision]
        if request.user.is_authenticated:
            self.object = self.get_object()
            if not request.user.has_perm(permission):
                record(
                    self.decision,
                    self.object,
                    outcome="failure",
                    extra={"error": "the permission is missing"},
                )
                raise PermissionDenied(f"You may not {self.decision} policies.")
        return super().dispatch(request, *args, **kwargs)

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        return super().get_context_data(title=f"{self.decision.title()} policy {self.object}", **kwargs)

    def form_valid(self, form: ReasonForm) -> HttpResponse:
        with transaction.atomic(), audit_context(reason=form.cleaned_data["reason"]):
            policy = Policy.objects.select_for_update().get(pk=self.object.pk)
            if policy.status not in self.before:
                messages.error(
                    self.request, f"Policy {policy} is {policy.get_status_display().lower()} already."
                )
            else:
                policy.status = self.after
                policy.save(update_fields=["status", "updated_at"])
                messages.success(
                    self.request, f"Policy {policy} is {policy.get_status_display().lower()} now."
                )
        return redirect(self.object)
