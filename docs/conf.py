"""Sphinx configuration; the pages of tasks, robots and verbs are generated from the catalogue before each build."""

from __future__ import annotations

import sys
from importlib import metadata
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

import _generate
import _scenarios

project = "Training ground"
author = "The training ground authors"
copyright = f"2026, {author}"
release = version = metadata.version("training-ground")

extensions = ["myst_parser"]
source_suffix = {".md": "markdown"}
myst_enable_extensions = ["colon_fence", "deflist", "dollarmath", "fieldlist"]
myst_heading_anchors = 3
exclude_patterns = ["_build", "_results_intro.md"]

html_theme = "furo"
html_title = f"Training ground {release}"

GENERATED = Path(__file__).parent / "generated"
_generate.write_all(GENERATED)
_scenarios.write(GENERATED)
