"""What of the claims is audited."""

from audit_django import register
from claims.models import Claim, Document

register(Claim, owner=["handler"])
register(Document)
