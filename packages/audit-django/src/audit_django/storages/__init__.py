"""The default storage: the log in the application's own database."""
