"""The published applications are in environments of their own: see the nox session ``upstream``."""

from importlib.util import find_spec

collect_ignore = [f"test_{name}.py" for name in ("wagtail", "oscar") if find_spec(name) is None]
