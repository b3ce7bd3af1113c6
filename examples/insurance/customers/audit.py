"""What of the customers is audited."""

from audit_django import register
from customers.models import Customer, CustomerProfile

register(Customer, sensitive=["ssn"])
register(CustomerProfile)
