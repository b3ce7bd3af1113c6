"""What turns a diff into a sentence."""

from audit_core.summarizers.contract import Summarizer

__all__ = ["Summarizer"]
