"""What of the policies is audited."""

from audit_django import register
from policies.models import Policy, RiskClass, Tag

register(Policy, owner=["owner"])
register(RiskClass)
register(Tag)
