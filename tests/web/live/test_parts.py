"""The live parts of a page are found, marked and compared by their HTML alone."""

from __future__ import annotations

import re

from waxlocal.web.live.parts import Snapshot, live_parts, marked

PAGE = """<main data-refresh="2">
<section data-live="one"><section>inner</section> &lt;section&gt;
<div data-live="in it">x</div></section>
<div data-grows="turns">
  <article class="a" data-live="turn &#34;1&#34;" data-row><article>nested</article></article>
  <article class="a" data-live="turn 2" data-row>two</article>
</div>
<div data-live="chart" data-slow>large</div>
<table><tbody><tr data-live="row 1"><td>{}</td></tr></tbody></table>
</main>"""
ONE = PAGE.format('<time datetime="2026-01-31T09:30:00Z" data-ago>just now</time>')


def test_each_outermost_part_is_found_whole() -> None:
    """With what is nested in it, the list where it belongs, and its key as the browser has it."""
    parts = live_parts(ONE)
    assert [one.key for one in parts] == ["one", 'turn "1"', "turn 2", "chart", "row 1"]
    assert [one.grows for one in parts] == ["", "turns", "turns", "", ""]
    assert [one.slow for one in parts] == [False, False, False, True, False]
    assert [one.is_row for one in parts] == [False, False, False, False, True]
    assert parts[1].html.endswith("nested</article></article>")
    assert Snapshot(ONE).refresh == 2


def test_a_page_has_its_marks_in_it() -> None:
    """They are those of its parts, and marking a page changes nothing else."""
    text = marked(ONE)
    assert re.findall(r'data-mark="(\w+)"', text) == [one.mark for one in live_parts(ONE)]
    assert [one.mark for one in live_parts(text)] == [one.mark for one in live_parts(ONE)]
    assert re.sub(r' data-mark="\w+"', "", text) == ONE


def test_how_long_ago_something_was_is_no_change() -> None:
    """The page tells that anew by itself; the time itself is one."""
    before = Snapshot(ONE)
    assert Snapshot(ONE.replace("just now", "2 min ago")).since(before.marks) is None
    changes = Snapshot(ONE.replace("09:30", "09:31")).since(before.marks)
    assert changes is not None
    assert [one.key for one in changes.parts] == ["row 1"]
    assert changes.old == [before.parts[-1].mark]
    assert len(changes.rows) == 1


def test_a_large_part_is_named_alone() -> None:
    """Its HTML is fetched when it is wanted."""
    changes = Snapshot(ONE.replace("large", "larger")).since(Snapshot(ONE).marks)
    assert changes is not None
    assert (changes.parts, changes.slow) == ([], ["chart"])
