"""One lesson, one thing at a time: the question and a guess, the measuring, the answer. Large, and by keyboard too."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from functools import cache, partial
from pathlib import Path
from typing import Any

import streamlit as st

from finetune_core import figures
from finetune_core.errors import UserError
from finetune_core.lessons import ARTICLES, Lesson, of_run
from finetune_core.lessons.base import NO_DIFFERENCE, Answer
from finetune_core.runs import store
from finetune_core.runs.jobs import Experiment
from finetune_core.runs.store import Run
from finetune_core.runs.waiting import queue
from finetune_core.wording import count, few, roughly
from pages.ui.kit import asking, live, path, shell, state
from pages.ui.kit.chart import chart, load
from pages.ui.teach.gallery import LESSONS

GUESS, MEASURING, READY, ANSWER = "guess", "measuring", "ready", "answer"
OPEN = ("queued", "starting", "preparing", "running", "paused", "stopping")
# Large type, for whoever sits in the last row, and no margins that a projector's 768 lines cannot spare
_LARGE = """\
.stMainBlockContainer { padding-top: 3.75rem; padding-bottom: 0.5rem; gap: 0.75rem }
.stMainBlockContainer h3 { padding: 0 0 0.5rem }
[class*="st-key-guess-"] button > * { justify-content: flex-start; width: 100% }
[class*="st-key-guess-"] button p, :is(.st-key-lesson-next, .st-key-lesson-on) button p { font-size: 1.25rem }
.st-key-lesson-words p { font-size: 1.1rem; line-height: 1.35 }"""
_COUNTING = "lesson-hands"
TITLES = {GUESS: "What do you think?", MEASURING: "It is being measured", READY: "It has been measured"}


def stage(one: Lesson, run: Run | None) -> None:
    """The lesson where it stands: `run` is the newest that measures it."""
    seen, now = live.moving(run), _now(one, run)
    st.html(f"<style>{_LARGE}</style>")
    _head(one, now)
    if now == GUESS:
        _guess(one, run)
    elif run is not None and now == MEASURING:
        _measuring(one, run, seen)
    elif run is not None:
        (_ready if now == READY else _answer)(one, run)
    _keys()(key="lesson-keys", height=1)
    load()


def _now(one: Lesson, run: Run | None) -> str:
    """Which of its parts is shown."""
    if run is None or state.value(_key(one)) == f"again {run.id}":
        return GUESS
    status = run.status
    if status.state in OPEN:
        return MEASURING
    if status.state != "finished":
        return MEASURING if status.error else GUESS
    return ANSWER if state.value(_key(one)) == f"seen {run.id}" else READY


def _key(one: Lesson) -> str:
    return f"lesson:{one.kind}"


def _head(one: Lesson, now: str) -> None:
    with st.container(horizontal=True, horizontal_alignment="distribute", vertical_alignment="center"):
        st.markdown(f":gray[{one.topic} · {one.title}]", width="content")
        st.page_link(path.LESSONS.script, label=":small[All lessons]", icon=path.LESSONS.icon)
    shell.pending_error()
    if now == ANSWER:
        st.markdown(f"### {one.question}")
    else:
        st.title(one.question, anchor=False)


def _guess(one: Lesson, run: Run | None) -> None:
    """A button for each guess; the click begins the measuring."""
    hands = _hands(one) if state.value(_COUNTING) else None
    keys = f"press 1 to {len(one.guesses)}"
    how = f"Click one, or {keys}: then it is measured, in about a minute."
    counted = f"Each click adds a hand, and so does each time that you {keys}; ← takes the last one back."
    st.caption(f"{TITLES[GUESS]} {how if hands is None else counted}")
    for number, guess in enumerate(one.guesses, start=1):
        label = f":gray-badge[{number}] {shell.plain(guess)}"
        if hands is None:
            st.button(label, key=f"guess-{number}", width="stretch", on_click=_begin, args=(one, guess))
        else:
            raised = f"  :primary-badge[{count(hands.count(guess), 'hand')}]" if guess in hands else ""
            st.button(label + raised, key=f"guess-{number}", width="stretch", on_click=hands.append, args=(guess,))
    with st.container(horizontal=True, vertical_alignment="center"):
        _go_on(one, hands)
        st.toggle("Show of hands", key=_COUNTING, help="Count what a class thinks: each click adds a hand.")
        if hands is None and run is not None and run.status.state == "finished":
            back = f"seen {run.id}"
            st.button(
                "Back to what was measured",
                key="lesson-back",
                type="tertiary",
                on_click=state.keep,
                args=(_key(one), back),
            )


def _go_on(one: Lesson, hands: list[str] | None) -> None:
    """Measure without any guess, or what a class has guessed."""
    if hands is None:
        st.button("Measure without a guess", key="lesson-next", on_click=_begin, args=(one, ""))
        return
    label, none = f"Measure it ({count(len(hands), 'hand')})", not hands
    st.button(label, key="lesson-next", type="primary", disabled=none, on_click=_begin, args=(one, "", hands))
    st.button("Take one back", key="lesson-back", type="tertiary", disabled=none, on_click=_take_back, args=(hands,))


def _take_back(hands: list[str]) -> None:
    if hands:  # two clicks may come in one
        hands.pop()


def _hands(one: Lesson) -> list[str]:
    """What each hand was raised for so far, in this session, until it is measured."""
    key = f"hands:{one.kind}"
    if state.value(key) is None:
        state.keep(key, [])
    found: list[str] = state.value(key)
    return found


def _begin(one: Lesson, guess: str, hands: Sequence[str] = ()) -> None:
    """Measure it; a second click finds that it is being measured."""
    if (run := newest(one)) and run.status.state in OPEN:
        return
    try:
        asking.soon(one.recipe(), one.job(guess, hands=Counter(hands)))
        state.keep(_key(one), None)
        _hands(one).clear()  # the next class begins anew
    except UserError as error:
        state.note(error)


def _measuring(one: Lesson, run: Run, seen: str) -> None:
    """How far it is; nothing of what comes out."""
    status, job = run.status, run.job_as(Experiment)
    if status.error:
        shell.error_card(UserError.said(status.error))
        _again(one, run, "Try again")
        return
    with st.container(key="lesson-words"):
        if said := _expected(job):
            st.markdown(said)
        st.markdown(f":gray[{one.about()}]")
    live.watch(run, seen, lambda: _progress(run))
    with st.container(horizontal=True):
        st.button("Stop", key="lesson-stop", type="tertiary", on_click=_stop, args=(run,))


def _progress(run: Run) -> None:
    status, job = run.status, run.job_as(Experiment)
    words = (
        f"{len(job.arms)} ways, {job.seeds} tries each" if status.state == "running" else live.LOOKS[status.state].word
    )
    st.progress(status.share, text=words)


def _stop(run: Run) -> None:
    if run.status.state == "queued":
        try:
            queue.cancel(run)
        except UserError as error:
            state.note(error)
    else:
        asking.stop(run)


def _ready(one: Lesson, run: Run) -> None:
    """Measured, and not shown yet."""
    job = run.job_as(Experiment)
    words = st.container(key="lesson-words")
    words.markdown(f"{TITLES[READY]}. {_expected(job) or 'Nobody has guessed.'}")
    keep = {"on_click": state.keep, "args": (_key(one), f"seen {run.id}")}
    with st.container(horizontal=True):
        st.button("Show the answer", key="lesson-next", type="primary", icon=":material/visibility:", **keep)  # type: ignore[arg-type]
        _again(one, run, "Guess anew")


def _again(one: Lesson, run: Run, label: str) -> None:
    args = (_key(one), f"again {run.id}")
    st.button(label, key="lesson-back", type="tertiary", on_click=state.keep, args=args)


def _answer(one: Lesson, run: Run) -> None:
    job = run.job_as(Experiment)
    rows = live.records(run)
    made = one.answer(rows, job.guess, job.hands)
    left, right = st.columns([6, 6], gap="medium")
    with left:
        chart(figures.arms(made.results, one.score, made.best), key="arms")
        st.caption(_tries(made, job.seeds))
    with right, st.container(key="lesson-words"):
        _guessed(made, job)
        for sentence in made.sentences:
            st.markdown(shell.plain(sentence, 400))
        st.markdown(f"{_mark(made)} **{shell.plain(made.showed)}**")
    st.caption(f"{ARTICLES[one.article]}: {one.claim}")
    with st.container(horizontal=True, vertical_alignment="center"):
        if following := _following(one):
            icon = ":material/arrow_forward:"
            if st.button("Next lesson", key="lesson-on", type="primary", icon=icon, icon_position="right"):
                shell.go(path.LESSONS, lesson=following.kind)
        _again(one, run, "Guess anew")
        sheet = partial(_sheet, one, run)
        name, icon = f"{one.kind}.html", ":material/print:"
        st.download_button("Teacher's sheet", sheet, name, "text/html", icon=icon, on_click="ignore", key="sheet")
        if st.button("Take the recipe", icon=":material/edit:", key="lesson-recipe", type="tertiary"):
            state.take(one.recipe())
            shell.go(path.PAGES["train"])
    more = st.expander("Questions to ask, and what to try next", icon=":material/psychology_alt:")
    more.markdown("\n".join(f"- {question}" for question in (*one.ask, one.further)))


def _following(one: Lesson) -> Lesson | None:
    """The lesson after this one, in the order in which they are listed."""
    kinds = [each.kind for each in LESSONS]
    return next(iter(LESSONS[kinds.index(one.kind) + 1 :]), None)


def _tries(made: Answer, seeds: int) -> str:
    took = roughly(sum(each.seconds for each in made.results))
    words = [f"A dot for each of {seeds} tries, a bar for their mean. {took} of training."]
    if made.best:
        words.append("Orange: the best, and what cannot be told from it.")
    words += [f"“{each.name}” failed in {len(each.failed)} of {seeds} tries." for each in made.results if each.failed]
    return shell.plain(" ".join(words), 400)


def _expected(job: Experiment) -> str:
    """What was guessed, in words."""
    if job.hands:
        each = [f"**{shell.plain(name)}** {number}" for name, number in job.hands.items()]
        return f"{count(sum(job.hands.values()), 'hand')}: {', '.join(each)}"
    return f"Your guess: **{shell.plain(job.guess)}**" if job.guess else ""


def _guessed(made: Answer, job: Experiment) -> None:
    if job.hands and made.best:
        colour, icon = ("green", "celebration") if made.hands else ("orange", "lightbulb")
        total = count(sum(job.hands.values()), "hand")
        st.markdown(
            f":{colour}[:material/{icon}: **{made.hands} of {total} had it right.** {_right(made)}] {_expected(job)}"
        )
    elif made.guessed is not None:
        words = "a tie" if job.guess == NO_DIFFERENCE else shell.plain(job.guess)
        if made.guessed:
            st.markdown(f":green[:material/celebration: **You guessed right:** {words}]")
        else:
            st.markdown(f":orange[:material/lightbulb: **You guessed** {words}. {_right(made)}]")


def _right(made: Answer) -> str:
    if len(made.best) == len(made.results):
        return "It is a tie."
    names = shell.plain(few((f"“{name}”" for name in made.best), between=" and "))
    return f"Best: {names}." if len(made.best) == 1 else f"Best, and not to be told apart: {names}."


def _mark(made: Answer) -> str:
    marks = {"shows": ":green[:material/check_circle:]", "opposite": ":orange[:material/swap_horiz:]"}
    return marks.get(made.word, ":gray[:material/balance:]")


def _sheet(one: Lesson, run: Run) -> str:
    from finetune_core.lessons import sheet

    return sheet.page(one, run)


def newest(one: Lesson) -> Run | None:
    """The newest run that measures this lesson, or has; without any, one that ended otherwise."""
    mine = [run for run in _runs() if type(of_run(run)) is type(one) and live.readable(run)]
    good = (run for run in mine if run.status.state in (*OPEN, "finished"))
    return next(good, mine[0] if mine else None)


def _runs() -> list[Run]:
    return store.list_runs(job=Experiment.kind)


@cache
def _keys() -> Callable[..., Any]:
    script = Path(__file__).with_name("keys.js").read_text(encoding="utf-8")
    return st.components.v2.component("thaw_lesson_keys", js=script, isolate_styles=False)
