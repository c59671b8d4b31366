// A lesson by keyboard alone: what a presenter's remote sends, too.
// Space, → and Page Down go on; ← and Page Up go back; 1 to 9 and ↑ ↓ choose among the guesses.

const NEXT = [" ", "ArrowRight", "PageDown"];
const BACK = ["ArrowLeft", "PageUp"];

// While the page is drawn anew, what belongs to the step before is still there for a moment: no key means that any more.
const button = (key) =>
  [...document.querySelectorAll(`.st-key-${key} button:not([disabled])`)].find((each) => !each.closest("[data-stale=true]"));
const guesses = () => [...document.querySelectorAll('[class*="st-key-guess-"] button')];

const HURRY = 600; // ms: two keys within them go on one step, not also to what comes then, which may begin a measurement
let last = -HURRY;

function hurried(event) {
  const before = last;
  last = event.timeStamp;
  return event.repeat || last - before < HURRY;
}

function step(event) {
  const typing = event.target.closest("input:not([type=checkbox]), textarea, select, [contenteditable=true], [role=dialog]");
  if (typing || event.ctrlKey || event.metaKey || event.altKey) return;
  const all = guesses();
  const at = all.indexOf(document.activeElement);
  let wanted = null;
  if (event.key === " " && event.target.closest("button, a, summary, input, [role=button]")) return; // it is pressed itself
  if (NEXT.includes(event.key) && hurried(event)) {
    event.preventDefault();
    return;
  }
  if (NEXT.includes(event.key)) wanted = button("lesson-next") ?? button("lesson-on");
  else if (BACK.includes(event.key)) wanted = button("lesson-back");
  else if (/^[1-9]$/.test(event.key)) wanted = all[Number(event.key) - 1];
  else if (all.length && (event.key === "ArrowDown" || event.key === "ArrowUp")) {
    const way = event.key === "ArrowDown" ? 1 : -1;
    all[(at + way + all.length + (at < 0 && way < 0 ? 1 : 0)) % all.length].focus();
    event.preventDefault();
    return;
  }
  if (wanted) {
    event.preventDefault();
    wanted.click();
  }
}

export default function () {
  document.addEventListener("keydown", step);
  return () => document.removeEventListener("keydown", step);
}
