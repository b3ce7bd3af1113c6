import pytest
from testapp.models import *
from audit_django.models import AuditEvent

pytestmark = pytest.mark.django_db

def test_smoke(django_assert_num_queries):
    c = Customer.objects.create(name="Jane Doe", ssn="123")
    p = Policy.objects.create(number="P-1", customer=c)
    with django_assert_num_queries(2):
        p.status = "approved"; p.save()
    t = Tag.objects.create(name="Critical")
    p.tags.add(t)
    cl = Claim.objects.create(policy=p)
    Document.objects.create(claim=cl, title="x")
    p.delete()
    for e in AuditEvent.objects.order_by("number"): print(e.text)
