"""For the tests of applications that are audited: :func:`captured_events`, also as a pytest fixture of that name."""

from audit_django.testing.captured import CapturedEvents, captured_events

__all__ = ["CapturedEvents", "captured_events"]
