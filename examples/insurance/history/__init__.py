"""The demo's history: people at work for some weeks, through the application's own pages."""
