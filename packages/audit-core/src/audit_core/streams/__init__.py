"""Where events are published."""

from audit_core.streams.contract import ConsumableStream, Stream, Subscription

__all__ = ["ConsumableStream", "Stream", "Subscription"]
