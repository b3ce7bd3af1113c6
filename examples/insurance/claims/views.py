"""The pages of claims."""

from __future__ import annotations

from typing import Any

from django.contrib import messages
from django.db import transaction
from django.db.models import QuerySet
from django.http import FileResponse, HttpResponse
from django.shortcuts import get_object_or_404, redirect
from django.urls import reverse
from django.utils.functional import cached_property
from django.views.generic import CreateView, DeleteView, DetailView, FormView, ListView, UpdateView
from django.views.generic.detail import SingleObjectMixin

from accounts.tenancy import TenantViewMixin, visible
from audit_django import audit_context, record
from claims.forms import ClaimForm, DocumentForm, SettleForm
from claims.models import Claim, Document
from policies.models import Policy


class ClaimMixin(TenantViewMixin):
    """Claims are addressed by their number."""

    model = Claim
    slug_field = slug_url_kwarg = "number"


class ClaimList(ClaimMixin, ListView):
    """The claims, newest first."""

    paginate_by = 25
    extra_context = {"statuses": Claim.Status.choices}  # noqa: RUF012

    def get_queryset(self) -> QuerySet[Any]:
        rows = super().get_queryset().select_related("policy__customer", "handler", "tenant")
        status = self.request.GET.get("status", "")
        return rows.filter(status=status) if status else rows


class ClaimDetail(ClaimMixin, DetailView):
    """One claim with its documents and history."""

    extra_context = {"upload": DocumentForm()}  # noqa: RUF012


class ClaimCreate(ClaimMixin, CreateView):
    """A loss is reported under a policy."""

    form_class = ClaimForm
    template_name = "form.html"

    @cached_property
    def policy(self) -> Policy:
        """The policy of the address, if the user may see it."""
        policies = visible(Policy.objects.all(), self.request.user)
        return get_object_or_404(policies, number=self.kwargs["policy"])

    def get_form_kwargs(self) -> dict[str, Any]:
        return {**super().get_form_kwargs(), "tenant": self.policy.tenant_id}

    def get_initial(self) -> dict[str, Any]:
        return {"handler": self.request.user.pk}

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        return super().get_context_data(title=f"New claim under policy {self.policy}", **kwargs)

    def form_valid(self, form: ClaimForm) -> HttpResponse:
        form.instance.policy = self.policy
        form.instance.tenant_id = self.policy.tenant_id
        with transaction.atomic():
            response = super().form_valid(form)
        messages.success(self.request, f"Claim {form.instance} was opened.")
        return response


class ClaimUpdate(ClaimMixin, UpdateView):
    """Work on a claim."""

    form_class = ClaimForm
    template_name = "form.html"
    extra_context = {"title": "Edit claim"}  # noqa: RUF012

    def get_queryset(self) -> QuerySet[Any]:
        return super().get_queryset().exclude(status=Claim.Status.SETTLED)

    def get_form_kwargs(self) -> dict[str, Any]:
        return {**super().get_form_kwargs(), "tenant": self.object.tenant_id}


class ClaimSettle(ClaimMixin, SingleObjectMixin, FormView):
    """Pay a claim."""

    form_class = SettleForm
    template_name = "form.html"

    def dispatch(self, request: Any, *args: Any, **kwargs: Any) -> Any:
        if request.user.is_authenticated:
            self.object = self.get_object()
        return super().dispatch(request, *args, **kwargs)

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        return super().get_context_data(title=f"Settle claim {self.object}", **kwargs)

    def form_valid(self, form: SettleForm) -> HttpResponse:
        with transaction.atomic(), audit_context(reason=form.cleaned_data["reason"]):
            claim = Claim.objects.select_for_update().get(pk=self.object.pk)
            if claim.is_closed:
                messages.error(
                    self.request, f"Claim {claim} is {claim.get_status_display().lower()} already."
                )
            else:
                claim.status, claim.settled_amount = Claim.Status.SETTLED, form.cleaned_data["amount"]
                claim.save(update_fields=["status", "settled_amount", "updated_at"])
                messages.success(self.request, f"Claim {claim} is settled.")
        return redirect(self.object)


class ClaimDelete(ClaimMixin, DeleteView):
    """Delete a claim that was entered by mistake. One that was paid stays; that somebody tried is recorded."""

    template_name = "claims/claim_delete.html"

    def form_valid(self, form: Any) -> HttpResponse:
        claim, policy = self.object, self.object.policy
        if claim.status == Claim.Status.SETTLED:
            record("delete", claim, outcome="failure", extra={"error": "it has been paid"})
            messages.error(self.request, f"Claim {claim} has been paid, so it cannot be deleted.")
            return redirect(claim)
        claim.delete()
        messages.success(self.request, f"Claim {claim} was deleted.")
        return redirect(policy)


class DocumentCreate(TenantViewMixin, CreateView):
    """Upload a document of a claim."""

    model = Document
    form_class = DocumentForm
    template_name = "form.html"

    def form_valid(self, form: DocumentForm) -> HttpResponse:
        claim = get_object_or_404(
            visible(Claim.objects.all(), self.request.user), number=self.kwargs["number"]
        )
        form.instance.claim, form.instance.tenant_id = claim, claim.tenant_id
        return super().form_valid(form)

    def get_success_url(self) -> str:
        return reverse("claims:detail", args=[self.kwargs["number"]])


class DocumentDownload(TenantViewMixin, DetailView):
    """A document's file: who takes it is recorded."""

    model = Document

    def render_to_response(self, context: dict[str, Any], **kwargs: Any) -> Any:
        document = self.object
        record("download", document, category="access")
        return FileResponse(document.file.open(), as_attachment=True, filename=document.filename)
