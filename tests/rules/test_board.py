"""The board is what its source makes, every expression of it is one, and names what the gateway exports."""

import json
import re
import subprocess
import sys

import pytest

from expressions import BOARD, FILES, GATEHOUSE, OF_SCRAPE, ROOT, grouped, metrics, of_board, panels, promtool, selectors, variables

# What Grafana has today; `graph`, `singlestat` and `table-old` are gone from it.
KINDS = {"stat", "timeseries", "state-timeline", "table"}


def test_it_is_what_its_source_makes(tmp_path):
    """`deploy/grafana/render` writes it anew."""
    fresh = tmp_path / "board.json"
    subprocess.run([sys.executable, ROOT / "deploy/grafana/render", fresh], check=True)
    assert fresh.read_text() == (FILES / "dashboard.json").read_text()


def test_the_command_prints_it():
    done = subprocess.run([GATEHOUSE, "generate", "grafana"], check=True, capture_output=True, text=True)
    assert done.stdout == (FILES / "dashboard.json").read_text()


@pytest.mark.parametrize("where, expression", of_board())
def test_promtool_reads_it(where, expression, tmp_path):
    assert "$" not in expression, "a variable that the board does not have"
    rules = tmp_path / "rules.yaml"
    rules.write_text(json.dumps({"groups": [{"name": where, "rules": [{"record": "shown", "expr": expression}]}]}))
    done = promtool("check", "rules", rules)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("where, expression", of_board())
def test_the_gateway_exports_what_it_asks_for(where, expression):
    exported, labels = metrics(), set()
    for name, matchers in selectors(expression):
        assert name in exported, f"{name} is not exported"
        assert matchers <= exported[name] | OF_SCRAPE, f"{name} has no label {matchers - exported[name]}"
        assert OF_SCRAPE <= matchers, f"{name} is not narrowed by the variables"
        labels |= exported[name]
    assert labels or "gatehouse" in expression or "process" in expression
    assert grouped(expression) <= labels | OF_SCRAPE


def test_each_series_is_on_the_board():
    """What nobody sees need not be counted."""
    shown = {name for _, expression in of_board() for name, _ in selectors(expression)}
    histograms = {name.removesuffix("_bucket") for name in metrics() if name.endswith("_bucket")}
    for name in metrics():
        family = re.sub("_(bucket|sum|count)$", "", name)
        parts = {f"{family}_bucket", f"{family}_sum"} if family in histograms else {name}
        assert parts & shown, f"{family} is on no panel"


def test_each_panel_explains_itself_and_has_a_unit():
    assert len(panels()) > 30
    for panel in panels():
        assert panel["type"] in KINDS, panel["title"]
        assert panel["description"].endswith("."), panel["title"]
        assert panel["fieldConfig"]["defaults"]["unit"], panel["title"]
    ids = [panel["id"] for panel in BOARD["panels"]]
    assert len(ids) == len(set(ids))


def test_no_panel_lies_on_another():
    taken = set()
    for panel in BOARD["panels"]:
        place = panel["gridPos"]
        cells = {(x, y) for x in range(place["x"], place["x"] + place["w"]) for y in range(place["y"], place["y"] + place["h"])}
        assert max(x for x, _ in cells) < 24 and not cells & taken, panel["title"]
        taken |= cells


def test_variables_are_used():
    assert variables() == ["datasource", "job", "namespace", "instance", "listener", "cluster"]
    text = str(BOARD["panels"])
    for name in variables():
        assert f"${name}" in text or f"${{{name}}}" in text, name


def test_errors_are_the_ends_that_the_page_marks():
    """The panel on whose doing it was leaves out exactly the ends that docs/operations.md does not mark with `!`."""
    [expression] = [text for where, text in of_board() if where.startswith("Connections that end in an error")]
    usual = dict(re.findall(r'side="(\w+)", reason!~"([^"]*)"', expression))
    rows = re.findall(r"^\| `(\w+)` \| (`\w+`(?:, `\w+`)*) \| `(\w+)`( !)? \|", (ROOT / "docs/operations.md").read_text(), re.MULTILINE)
    assert len(rows) > 40
    for side, _, reason, marked in rows:
        assert (reason not in usual[side].split("|")) == bool(marked), f"{side} {reason}"
