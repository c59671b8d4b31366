"""Label: pictures without labels get them, by keys and by proposals."""

import streamlit as st

from finetune_core.data import labelling
from finetune_core.data.labelling import Bench
from finetune_core.errors import UserError
from finetune_core.places import is_there
from finetune_core.wording import count
from pages.ui.data import labelling as desk
from pages.ui.kit import browsing, path, shell, state, warm

FOLDER, WAY = "pictures", "label:way"  # the former stands in the address, for a reload
WAYS = {"single": "One at a time", "grid": "Proposals"}


def bench() -> Bench | None:
    """The pictures that were chosen; None after the page has said what is missing."""
    chosen = getattr(state.draft().data.source, "path", "")
    offered = state.value(FOLDER) or ("" if is_there(chosen, file=True) else chosen)
    place = "~/Pictures/unsorted"
    folder = browsing.named(FOLDER, "Folder of pictures", offered, placeholder=place, bind="query-params")
    if not folder:
        text = (
            "Name the folder they lie in. Their labels go into labels.csv beside them; the pictures stay as they are."
        )
        shell.empty("Which pictures?", text, icon=":material/sell:")
        return None
    try:
        return labelling.read(folder)
    except UserError as error:
        shell.error_card(error)
        return None


def progress(chosen: Bench) -> None:
    """How far it is, and how many of each class."""
    given = chosen.counts
    done = sum(given.values())
    st.progress(done / len(chosen.images), text=f"{done:,} of {len(chosen.images):,} pictures have a label")
    if chosen.left_out:
        names = count(len(chosen.left_out), "picture has a name", "pictures have names")
        st.caption(f":orange[:material/warning:] {names} that no table holds: left out.")
    if given:
        st.caption(" · ".join(f"**{shell.plain(name)}** {number:,}" for name, number in given.items()))


def main() -> None:
    """Left the pictures, right what can be done with them."""
    slot = shell.page(
        "label", "Label pictures", "Say what is on each; after a few, proposals do most of the work.", strip=False
    )
    chosen = bench()
    warm.start()
    if chosen is None:
        return
    why = "" if chosen.ready else "It takes two classes with two labels each."
    number = sum(chosen.counts.values())
    if shell.start(
        slot, f"Use these {number:,}" if chosen.ready else "Use these", icon=":material/arrow_forward:", why=why
    ):
        state.edit_value("data.source", chosen.source.model_dump(mode="json"))
        shell.go(path.PAGES["data"])
    recipe = state.draft()
    found = desk.proposals(recipe, chosen)
    progress(chosen)
    with st.container(horizontal=True, vertical_alignment="center"):
        key = state.seed(WAY, state.value(WAY, "single"))
        way = st.segmented_control(
            "How", [*WAYS], format_func=WAYS.__getitem__, key=key, required=True, label_visibility="collapsed"
        )
        desk.undo(chosen)
        desk.looking(recipe, chosen, found)
    if way == "grid":
        desk.grid(chosen, found)
    else:
        desk.single(recipe, chosen, found)


main()
