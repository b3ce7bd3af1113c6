"""Plugins: found through the entry point group ``audit``, called through pluggy hooks."""
