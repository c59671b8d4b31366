// On a narrow window the sidebar lies over the page: once a link in it is tapped, it has done its work.
const NARROW = matchMedia("(max-width: 768px)");

export default function ({ parentElement }) {
  const sidebar = parentElement.closest('[data-testid="stSidebar"]');
  const close = (event) => {
    if (NARROW.matches && event.target.closest("a")) {
      sidebar.querySelector('[data-testid="stSidebarCollapseButton"] button')?.click();
    }
  };
  sidebar?.addEventListener("click", close);
  return () => sidebar?.removeEventListener("click", close);
}
