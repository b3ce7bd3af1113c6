"""What turns a diff into a sentence."""

from audit_core.summarizers.contract import MAX_SUMMARY_CHARACTERS, Summarizer
from audit_core.summarizers.grammar import GrammarSummarizer, sentence

__all__ = ["MAX_SUMMARY_CHARACTERS", "GrammarSummarizer", "Summarizer", "sentence"]
