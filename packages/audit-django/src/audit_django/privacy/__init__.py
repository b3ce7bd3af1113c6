"""Sensitive values in Django: their keys, who may see one, and whether one occurred.

from audit_django.privacy import events_with, mask_lookup, unmask_change

unmask_change(event.diff["ssn"], "before", event=recorded, user=request.user, reason="claim C-88")
"""

from audit_django.privacy.lookup import events_with, mask_lookup
from audit_django.privacy.unmask import PERMISSION, UnmaskedInTransaction, unmask_change

__all__ = ["PERMISSION", "UnmaskedInTransaction", "events_with", "mask_lookup", "unmask_change"]
