"""Serve the studio: Streamlit's own `run`, told beforehand that `pages/` is a package of ours.

Without that, the first visit to a fresh server takes the folder for old-style pages, and where it asks for a page other
than Home, Streamlit opens a "Page not found" dialog over it. `python -m pages.ui.serve app.py --server.port 8501`
"""

from __future__ import annotations

import sys

from streamlit.runtime.pages_manager import PagesManager
from streamlit.web import cli

from pages.ui import warm


def main() -> None:
    """Run what follows on the command line as `streamlit run` would."""
    PagesManager.uses_pages_directory = False
    warm.light()  # before the first session's thread is there
    sys.argv[:1] = ["streamlit", "run"]
    cli.main()


if __name__ == "__main__":
    main()
