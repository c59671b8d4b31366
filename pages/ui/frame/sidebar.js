// What a link to a page does beside what Streamlit does.

const NARROW = matchMedia("(max-width: 768px)");
const TOUCHES = ["input", "keydown", "focusout"];
const RECENT = 500; // ms after which a field that was touched has been told
const GRACE = 250; // ms for the server to begin with it: what it has not begun gives way to what comes next

let touched = -Infinity; // when a field was, last

function touch(event) {
  if (!event.target.closest?.("a, button")) touched = performance.now();
}

// Streamlit tells its server of a field that is left a moment later, but of a link at once. On a busy machine the field
// comes second then, and names the page that was left: the link leads nowhere. Or both come at once, and the server
// forgets the field. So a link waits, if a field has just been touched. A click that asks for another tab is the
// browser's.
function wait(event) {
  const link = event.target.closest?.('a[data-testid="stPageLink-NavLink"]');
  if (!link || !event.isTrusted) return;
  event.stopPropagation();
  if (event.ctrlKey || event.metaKey || event.shiftKey) return;
  event.preventDefault();
  const grace = performance.now() < touched + RECENT ? GRACE : 0;
  setTimeout(() => setTimeout(() => link.click(), grace)); // the first is the moment of the field
}

export default function ({ parentElement }) {
  const sidebar = parentElement.closest('[data-testid="stSidebar"]');

  // On a narrow window the sidebar lies over the page: once a link in it is tapped, it has done its work.
  const close = (event) => {
    if (NARROW.matches && event.target.closest("a")) {
      sidebar.querySelector('[data-testid="stSidebarCollapseButton"] button')?.click();
    }
  };

  for (const kind of TOUCHES) document.addEventListener(kind, touch, true);
  document.addEventListener("click", wait, true);
  sidebar?.addEventListener("click", close);
  return () => {
    for (const kind of TOUCHES) document.removeEventListener(kind, touch, true);
    document.removeEventListener("click", wait, true);
    sidebar?.removeEventListener("click", close);
  };
}
