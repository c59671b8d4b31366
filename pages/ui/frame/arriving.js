// From the first byte until the page is whole for the first time, or has taken too long.
{
  const PATIENCE = 60_000, REST = 300, USUAL = 300; // ms, ms, px
  const root = document.documentElement;
  root.style.setProperty("--sidebar", `${Number(localStorage.getItem("sidebarWidth")) || USUAL}px`);
  root.classList.add("arriving");

  // A picture has no height before it is here.
  const mark = () => {
    for (const picture of document.images) {
      picture.closest('[data-testid="stElementContainer"]')?.toggleAttribute("data-coming", !picture.complete);
    }
  };
  const marking = new MutationObserver(mark);
  marking.observe(document, { childList: true, subtree: true });
  document.addEventListener("load", mark, true);
  document.addEventListener("error", mark, true);

  const begun = performance.now();
  let since = null;
  const timer = setInterval(() => {
    const now = performance.now();
    const whole = document.querySelector('[data-test-script-state="notRunning"]')
      && !document.querySelector('[data-testid="stSkeleton"], [data-testid="stAppSkeleton"], [data-coming]');
    since = whole ? since ?? now : null;
    if (now - begun < PATIENCE && (since === null || now - since < REST)) return;
    clearInterval(timer);
    marking.disconnect();
    document.removeEventListener("load", mark, true);
    document.removeEventListener("error", mark, true);
    root.classList.remove("arriving");
  }, 50);
}
