"""The page about the daemon tells what the daemon does."""

from __future__ import annotations

import importlib
import json
import re
from pathlib import Path
from typing import Any

import click
import pytest

from tests.tools.web import serving
from waxlocal.cli.daemon import daemon
from waxlocal.cli.verbs import VERBS
from waxlocal_daemon.metrics import Figures, exposition

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "daemon.md").read_text(encoding="utf-8")
SAID = re.compile(r'\b(?:event|once|_failed)\(\s*"([a-z_]+)"')


def _events() -> set[str]:
    package = ROOT / "daemon" / "waxlocal_daemon"
    return {
        name
        for path in package.glob("*.py")
        for name in SAID.findall(path.read_text(encoding="utf-8"))
    }


def test_every_event_stands_on_the_page() -> None:
    """And no other: the first column of the table names them all."""
    table = PAGE.partition("| event |")[2].partition("\n\n")[0]
    first = [line.split("|")[1] for line in table.splitlines()[2:]]
    assert {name for cell in first for name in re.findall(r"`([a-z_]+)`", cell)} == _events()


def test_every_figure_stands_on_the_page() -> None:
    """And no other."""
    exposed = set(re.findall(r"# TYPE (\w+)", exposition(Figures())))
    table = PAGE.partition("| metric |")[2].partition("\n\n")[0]
    assert set(re.findall(r"`(waxlocal_\w+)", table)) == exposed


@pytest.mark.parametrize("name", sorted(daemon.commands))
def test_every_option_stands_on_the_page(name: str) -> None:
    """And has a word of help."""
    for option in daemon.commands[name].params:
        if isinstance(option, click.Option) and option.name != "as_json":
            assert option.help
            assert f"`{option.opts[0]}" in PAGE or f" {option.opts[0]}" in PAGE, option.name


def test_variables_on_the_page_are_variables() -> None:
    """Each is read somewhere in the code."""
    code = "".join(
        path.read_text(encoding="utf-8")
        for place in ("waxlocal", "daemon")
        for path in (ROOT / place).rglob("*.py")
    )
    found = set(re.findall(r"`(WAX[A-Z_]+)", PAGE))
    assert found
    assert {name for name in found if f'"{name}"' not in code} == set()


MONITORING = ROOT / "docs" / "monitoring"
# Of Prometheus and of node_exporter.
NOT_OURS = {"up", "node_textfile_mtime_seconds"}
WORDS = re.compile(r"\b(?:waxlocal_\w+|node_\w+|up)\b")


def _rules() -> list[dict[str, Any]]:
    text = (MONITORING / "alerts.yml").read_text(encoding="utf-8")
    groups = importlib.import_module("yaml").safe_load(text)["groups"]
    return [rule for group in groups for rule in group["rules"]]


def _panels() -> list[dict[str, Any]]:
    text = (MONITORING / "dashboard.json").read_text(encoding="utf-8")
    panels: list[dict[str, Any]] = json.loads(text)["panels"]
    return panels


def test_alerts_and_dashboard_ask_for_figures_that_there_are(db_path: Path) -> None:
    """Of the daemon and of the server: a metric that nobody exposes never warns."""
    with serving(db_path) as client:
        of_server = re.findall(r"# TYPE (\w+) (\w+)", client.get("/metrics").text)
    exposed = set(re.findall(r"# TYPE (\w+)", exposition(Figures()))) | NOT_OURS
    for name, kind in of_server:
        exposed |= {f"{name}_sum", f"{name}_count"} if kind == "summary" else {name}
    kinds = dict([*re.findall(r"# TYPE (\w+) (\w+)", exposition(Figures())), *of_server])
    asked = [rule["expr"] for rule in _rules()]
    asked += [target["expr"] for panel in _panels() for target in panel["targets"]]
    assert {name for expression in asked for name in WORDS.findall(expression)} <= exposed
    # Of a gauge, `rate` and `increase` take each fall for a restart.
    counted = {name for text in asked for name in re.findall(r"(?:rate|increase)\((\w+)", text)}
    assert {kinds.get(name, "summary") for name in counted} <= {"counter", "summary"}


def test_an_alert_says_what_to_do_with_commands_that_there_are() -> None:
    """Each has a name of its own, how bad it is, and words for the person who is woken."""
    rules = _rules()
    assert len({rule["alert"] for rule in rules}) == len(rules)
    for rule in rules:
        assert rule["labels"]["severity"] in ("warning", "info")
        assert rule["annotations"]["summary"].startswith("{{ $labels.instance }}: ")
        for command in re.findall(r"\bwaxlocal (\w+)", rule["annotations"]["description"]):
            assert command in VERBS


def test_no_panel_lies_on_another() -> None:
    """Grafana has rows of 24 columns."""
    taken: set[tuple[int, int]] = set()
    for panel in _panels():
        place = panel["gridPos"]
        columns = range(place["x"], place["x"] + place["w"])
        cells = {(x, y) for x in columns for y in range(place["y"], place["y"] + place["h"])}
        assert not cells & taken
        assert columns[-1] < 24
        taken |= cells
    assert len({panel["id"] for panel in _panels()}) == len(_panels())
