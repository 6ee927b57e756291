"""The style sheet: contrast in both kinds of light, one scale of spacing, few sizes."""

from __future__ import annotations

import re

import pytest

from waxlocal.web.pages.files import STATIC

CSS = (STATIC / "app.css").read_text(encoding="utf-8")
_BLOCK = r"{selector}\s*{{(.*?)}}"


def colours(selector: str) -> dict[str, str]:
    """Return the colours that a rule names."""
    block = re.search(_BLOCK.format(selector=selector), CSS, re.DOTALL)
    assert block, selector
    return dict(re.findall(r"--([\w-]+):\s*(#[0-9a-f]{6});", block[1]))


LIGHT = colours(r"^:root(?= \{)".replace("^", r"(?m:^)"))
DARK = colours(r':root\[data-theme="dark"\]')
THEMES = {"light": LIGHT, "dark": DARK}

# Text needs 4.5 to 1 (WCAG 1.4.3), what is drawn 3 to 1 (1.4.11).
TEXT = [
    *((ink, "page") for ink in ("ink", "soft", "accent", "error", "needs")),
    *((ink, "sunk") for ink in ("ink", "soft", "accent", "error", "needs")),
    ("on-accent", "accent"),
    ("error", "error-sunk"),
    ("ink", "error-sunk"),
    ("soft", "error-sunk"),
    ("needs", "needs-sunk"),
    ("ink", "needs-sunk"),
]
DRAWN = [
    ("step-1", "page"),
    ("step-2", "page"),
    ("step-1", "sunk"),
    ("step-2", "sunk"),
    ("soft", "page"),
    # The hatching on its ground.
    ("step-1", "step-3"),
]


def luminance(colour: str) -> float:
    channels = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: str, other: str) -> float:
    lighter, darker = sorted((luminance(one), luminance(other)), reverse=True)
    return (lighter + 0.05) / (darker + 0.05)


def test_the_measure_is_that_of_the_guidelines() -> None:
    """Black on white is 21 to 1, a colour on itself 1 to 1."""
    assert contrast("#000000", "#ffffff") == pytest.approx(21)
    assert contrast("#777777", "#ffffff") == pytest.approx(4.48, abs=0.01)


@pytest.mark.parametrize("theme", THEMES)
@pytest.mark.parametrize(("ink", "ground"), TEXT)
def test_text_can_be_read(theme: str, ink: str, ground: str) -> None:
    """On every ground that it stands on."""
    assert contrast(THEMES[theme][ink], THEMES[theme][ground]) >= 4.5


@pytest.mark.parametrize("theme", THEMES)
@pytest.mark.parametrize(("shape", "ground"), DRAWN)
def test_what_is_drawn_can_be_seen(theme: str, shape: str, ground: str) -> None:
    """Bars, lines, marks, the borders of fields."""
    assert contrast(THEMES[theme][shape], THEMES[theme][ground]) >= 3


def test_the_switch_and_the_system_give_the_same_dark() -> None:
    """The colours stand twice in the sheet, as old browsers need them."""
    assert colours(r':root:not\(\[data-theme="light"\]\)') == DARK
    assert set(LIGHT) == set(DARK)


def test_every_colour_has_a_name() -> None:
    """None is written down outside of the themes."""
    outside = re.sub(_BLOCK.format(selector=r":root[^{]*"), "", CSS, flags=re.DOTALL)
    assert re.findall(r"#[0-9a-fA-F]{3,8}\b", outside) == []


def test_text_has_two_sizes_and_headings_one() -> None:
    """12, 14 and 20 pixels."""
    sizes = set(re.findall(r"font(?:-size)?:[^;}]*?(\d+)px", CSS))
    assert sizes == {"12", "14", "20"}


def test_nothing_is_loaded_from_elsewhere() -> None:
    """No font, no picture, no other sheet."""
    assert "url(" not in CSS
    assert "@import" not in CSS
    assert "@font-face" not in CSS
