"""The alert rules and the board: their expressions, and which series of the gateway these name."""

import json
import os
import pathlib
import re
import shutil
import subprocess

import yaml

ROOT = pathlib.Path(__file__).parents[2]
FILES = ROOT / "deploy/helm/gatehouse/files"
PROMTOOL = shutil.which("promtool")
assert PROMTOOL, "promtool is missing: apt-get install prometheus"
GATEHOUSE = os.environ["GATEHOUSE_BIN"]

ALERTS = {rule["alert"]: rule for group in yaml.safe_load((FILES / "alerts.yaml").read_text())["groups"] for rule in group["rules"]}
BOARD = json.loads((FILES / "dashboard.json").read_text())
# Labels that come with the scrape, and what Prometheus says of it.
OF_SCRAPE = {"job", "namespace", "instance"}
UP = "up"


def panels():
    return [panel for panel in BOARD["panels"] if panel["type"] != "row"]


def of_board(interval="1m"):
    """(where, expression) of every panel and annotation; the variables stand for everything."""
    found = [(panel["title"], target["expr"]) for panel in panels() for target in panel["targets"]]
    found += [(mark["name"], mark["expr"]) for mark in BOARD["annotations"]["list"]]
    values = {"$__rate_interval": interval, **{f"${name}": ".*" for name in variables()}}
    for name, value in values.items():
        found = [(where, text.replace(name, value)) for where, text in found]
    return found


def variables():
    return [variable["name"] for variable in BOARD["templating"]["list"]]


def of_alerts():
    return [(name, rule["expr"]) for name, rule in ALERTS.items()]


def metrics():
    """name → labels of every series that the gateway exports, from the page that a test of the registry writes."""
    found = {}
    rows = re.findall(r"^\| `(\w+)` \| (\w+) \| ([^|]*) \|", (ROOT / "docs/metrics.md").read_text(), re.MULTILINE)
    for name, kind, labels in rows:
        labels = set(re.findall(r"`(\w+)`", labels))
        if kind == "histogram":
            found |= {f"{name}_bucket": labels | {"le"}, f"{name}_sum": labels, f"{name}_count": labels}
        else:
            found[name] = labels
    return found


def selectors(text):
    """(name, labels of its matchers) of each series in an expression."""
    for name, matchers in re.findall(r"\b((?:gatehouse|process)_\w+|up)\b(?:\{([^}]*)\})?", text):
        yield name, set(re.findall(r"(\w+)\s*(?:=~|!~|!=|=)", matchers))


def grouped(text):
    """Labels by which an expression groups or matches."""
    clauses = re.findall(r"\b(?:by|without|on|ignoring|group_left)\s*\(([^)]*)\)", text)
    return {label.strip() for clause in clauses for label in clause.split(",") if label.strip()}


def promtool(*arguments, **more):
    return subprocess.run([PROMTOOL, *map(str, arguments)], capture_output=True, text=True, **more)
