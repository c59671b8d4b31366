// What a link to a page does beside what Streamlit does.

const NARROW = matchMedia("(max-width: 768px)");

// Streamlit tells its server of a field that is left a moment later, but of a link at once. On a busy machine the field
// comes second then, and names the page that was left: the link leads nowhere. So a link waits for that moment.
// A click that asks for another tab is the browser's.
function wait(event) {
  const link = event.target.closest?.('a[data-testid="stPageLink-NavLink"]');
  if (!link || !event.isTrusted) return;
  event.stopPropagation();
  if (event.ctrlKey || event.metaKey || event.shiftKey) return;
  event.preventDefault();
  setTimeout(() => link.click());
}

export default function ({ parentElement }) {
  const sidebar = parentElement.closest('[data-testid="stSidebar"]');

  // On a narrow window the sidebar lies over the page: once a link in it is tapped, it has done its work.
  const close = (event) => {
    if (NARROW.matches && event.target.closest("a")) {
      sidebar.querySelector('[data-testid="stSidebarCollapseButton"] button')?.click();
    }
  };

  document.addEventListener("click", wait, true);
  sidebar?.addEventListener("click", close);
  return () => {
    document.removeEventListener("click", wait, true);
    sidebar?.removeEventListener("click", close);
  };
}
