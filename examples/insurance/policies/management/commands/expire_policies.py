"""``manage.py expire_policies``: run every night."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand
from django.db import transaction
from django.utils import timezone

from audit_django import with_reason
from policies.models import Policy


class Command(BaseCommand):
    """Sets the status of approved policies that have ended to expired."""

    help = "Set approved policies whose last day has passed to expired."

    @with_reason("the term has ended")
    def handle(self, *args: Any, **options: Any) -> None:
        today = timezone.localdate()
        with transaction.atomic():
            ended = Policy.objects.select_for_update().filter(
                status=Policy.Status.APPROVED, valid_until__lt=today
            )
            number = 0
            for policy in ended.order_by("pk"):
                policy.status = Policy.Status.EXPIRED
                policy.save(update_fields=["status", "updated_at"])
                number += 1
        self.stdout.write(f"{number} {'policy has' if number == 1 else 'policies have'} expired.")
