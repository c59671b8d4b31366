"""The studio's frame: page config, navigation, the path in the sidebar. No logic."""

import streamlit as st

from finetune_core.places import ASSETS
from pages.ui.frame import look
from pages.ui.frame.sidebar import pages, sidebar
from pages.ui.kit import warm

warm.light()
# Before the navigation, and a local file: otherwise the browser would fetch each page's icon from another host.
st.set_page_config(page_title="Thaw", page_icon=ASSETS / "icon.png", layout="wide")
look.dress()
current = st.navigation(pages(), position="hidden")
sidebar(current.url_path)
current.run()
