"""What axe-core has against a page: the rules of WCAG 2 A and AA, and best practices."""

from __future__ import annotations

from importlib.resources import files

from playwright.sync_api import Page

from tests.tools.examples import some

__all__ = ["violations"]

# A desk and a phone, by day and by night; where not everything is tried, two of the four.
_DESK, _PHONE = (1440, 900), (390, 844)
_VIEWS = some(((_PHONE, "light"), (_DESK, "light"), (_PHONE, "dark"), (_DESK, "dark")))
_AXE = (files("axe_playwright_python") / "axe.min.js").read_text(encoding="utf-8")
# All that it does by default, and the size of targets (WCAG 2.2), which it leaves out.
_EVERY_RULE = {"rules": {"target-size": {"enabled": True}}}
# Nothing else depends on the theme.
_OF_NIGHT = {"runOnly": {"type": "rule", "values": ["color-contrast", "link-in-text-block"]}}
# The page hears of what is opened and of its new size before it is painted.
_FIND = """async options => {
  for (const fold of document.querySelectorAll("details")) fold.open = true;
  for (const _ of [1, 2]) await new Promise(painted => requestAnimationFrame(painted));
  const found = await axe.run(document, { resultTypes: ["violations"], ...options });
  return found.violations.flatMap(rule => rule.nodes.map(
    node => `${rule.id}: ${node.html.slice(0, 200)} ${node.failureSummary}`));
}"""


def violations(page: Page) -> list[str]:
    """Return what is wrong on both screens and in both themes, folded parts opened.

    The script comes in by the debugger, past the page's Content-Security-Policy.
    """
    page.evaluate(_AXE)
    found: list[str] = []
    for (width, height), scheme in _VIEWS:
        page.set_viewport_size({"width": width, "height": height})
        page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type] # one of the two
        rules = _EVERY_RULE if scheme == "light" else _OF_NIGHT
        found += [f"{width} {scheme} {one}" for one in page.evaluate(_FIND, rules)]
    return found
