"""What of the accounts is audited. A password is sealed: the trail says that it changed, and nothing else."""

from audit_django import register

register("accounts.Tenant")
register(
    "accounts.User", exclude=["last_login", "date_joined"]
)  # each login and each new account is an event already
register("auth.Group")
