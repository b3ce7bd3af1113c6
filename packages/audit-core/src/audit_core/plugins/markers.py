"""The two pluggy markers, in a module of their own so that a plugin's ``import`` costs nothing."""

import pluggy

PROJECT = "audit"

hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)
