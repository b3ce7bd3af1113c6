"""Sphinx configuration. `make html` here, or `make docs` in the folder above, builds the pages."""

from importlib.metadata import version as installed_version

project = "Audit trail"
author = "The audit trail authors"
copyright = "The audit trail authors"
release = installed_version("audit-django")
version = ".".join(release.split(".")[:2])

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx.ext.viewcode"]
exclude_patterns = ["_build"]
source_suffix = {".md": "markdown", ".rst": "restructuredtext"}
nitpicky = True
# Types of Python and of libraries whose inventories are elsewhere: a build reads nothing from the network.
nitpick_ignore_regex = [("py:.*", r"(?!audit_).*")]

myst_enable_extensions = ["colon_fence", "deflist", "fieldlist", "substitution"]
myst_heading_anchors = 3
myst_substitutions = {"release": release}

autodoc_typehints = "description"
autodoc_member_order = "bysource"

html_theme = "furo"
html_title = f"Audit trail {version}"
html_show_copyright = False
html_theme_options = {
    "light_css_variables": {"color-brand-primary": "#0b1f3a", "color-brand-content": "#1f5fbf"},
    "dark_css_variables": {"color-brand-primary": "#c9daf3", "color-brand-content": "#8db8f5"},
}
