"""The pages of customers."""

from __future__ import annotations

from typing import Any

from django.contrib import messages
from django.db import transaction
from django.db.models import Q, QuerySet
from django.forms import ModelForm
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, render
from django.views.generic import CreateView, DetailView, ListView, UpdateView, View

from accounts.tenancy import TenantViewMixin, visible
from audit_django import record
from customers.forms import CustomerForm
from customers.models import Customer


class CustomerList(TenantViewMixin, ListView):
    """The customers, by name."""

    model = Customer
    paginate_by = 25

    def get_queryset(self) -> QuerySet[Any]:
        rows = super().get_queryset()
        text = self.request.GET.get("q", "").strip()
        return rows.filter(Q(name__icontains=text) | Q(email__icontains=text)) if text else rows


class CustomerDetail(TenantViewMixin, DetailView):
    """One customer with their policies and history."""

    model = Customer


class CustomerFormMixin(TenantViewMixin):
    """Creating and changing a customer: both rows in one transaction."""

    model = Customer
    form_class = CustomerForm
    template_name = "form.html"

    def form_valid(self, form: ModelForm[Any]) -> HttpResponse:
        with transaction.atomic():
            response: HttpResponse = super().form_valid(form)  # type: ignore[misc]
        messages.success(self.request, f"Customer {form.instance} was saved.")
        return response


class CustomerCreate(CustomerFormMixin, CreateView):
    """A new customer."""

    extra_context = {"title": "New customer"}  # noqa: RUF012

    def form_valid(self, form: ModelForm[Any]) -> HttpResponse:
        form.instance.tenant_id = self.own_tenant()
        return super().form_valid(form)


class CustomerUpdate(CustomerFormMixin, UpdateView):
    """Change a customer."""

    extra_context = {"title": "Edit customer"}  # noqa: RUF012


class CustomerSsn(TenantViewMixin, View):
    """Show the social security number: who looks at it is recorded."""

    def post(self, request: HttpRequest, pk: int) -> HttpResponse:
        customer = get_object_or_404(visible(Customer.objects.all(), request.user), pk=pk)
        record("view", customer, category="access", extra={"fields": ["ssn"]})
        return render(request, "customers/customer_detail.html", {"customer": customer, "ssn": customer.ssn})
