"""Configuration of the site that `make docs` builds. Every warning is an error."""

from __future__ import annotations

import sys
from pathlib import Path

import vltr_eval

sys.path.insert(0, str(Path(__file__).parent / "_ext"))

project = "vltr"
author = "vltr developers"
copyright = "vltr developers"
release = version = vltr_eval.__version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "mathml", "public_names"]
exclude_patterns = ["_build"]
source_suffix = {".md": "markdown"}

myst_enable_extensions = ["dollarmath", "colon_fence", "deflist"]
myst_heading_anchors = 4

# Docstrings write names in single backticks: they become links where the name is known.
default_role = "py:obj"
nitpicky = True
# There is no network, and so no inventory of other projects: only the names of this one are checked.
nitpick_ignore_regex = [(r"py:.*", r"(?!vltr_(eval|train)\.).*")]

add_module_names = False
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_typehints_format = "short"
autodoc_preserve_defaults = True
maximum_signature_line_length = 88
napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_use_ivar = True  # else an attribute is documented twice: with its annotation and with its section
napoleon_custom_sections = [("Source", "params_style")]

html_theme = "furo"
html_title = f"vltr {release}"
html_static_path = ["_static"]
html_css_files = ["tables.css"]
html_math_renderer = "mathml"
html_copy_source = False
html_show_sphinx = False
