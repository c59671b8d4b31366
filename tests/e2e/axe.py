"""What axe finds on a page that is serious or critical, in both themes."""

from axe_playwright_python.base import AXE_SCRIPT
from playwright.sync_api import Page

THEMES = ("light", "dark")
SERIOUS = """async () => {
  const found = await axe.run({ resultTypes: ["violations"] });
  const told = (node) => `${node.target.flat().join(" ")}: ${[...node.any, ...node.all, ...node.none][0]?.message}`;
  return found.violations.filter((each) => ["serious", "critical"].includes(each.impact))
    .map((each) => `${each.id}: ${told(each.nodes[0])}, ${each.nodes.length} times`);
}"""


def serious(page: Page) -> list[str]:
    """Each finding with the theme that it was made in; the page is left in the light one."""
    page.evaluate(AXE_SCRIPT)
    found: list[str] = []
    for theme in THEMES:
        page.emulate_media(color_scheme=theme)  # type: ignore[arg-type]
        page.wait_for_timeout(300)  # colours pass over
        found += [f"{theme}: {each}" for each in page.evaluate(SERIOUS)]
    page.emulate_media(color_scheme="light")
    return found
