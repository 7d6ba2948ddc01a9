"""Each alert fires when it should and only then, says what to do, and names what the gateway exports."""

import re
import subprocess

import pytest
import yaml

from expressions import ALERTS, FILES, GATEHOUSE, OF_SCRAPE, ROOT, UP, grouped, metrics, of_alerts, promtool, selectors

CASES = yaml.safe_load((ROOT / "tests/rules/cases.yaml").read_text())


def test_promtool_takes_the_rules():
    done = promtool("check", "rules", "--lint=all", "--lint-fatal", FILES / "alerts.yaml")
    assert done.returncode == 0, done.stdout + done.stderr


def series(name, values):
    """The series with a job, as a scrape gives it."""
    name = name if "job=" in name else name.replace("{", '{job="gatehouse",')
    return {"series": name, "values": values}


def story(alert, kind, case):
    """A case as promtool has it. What fires is itself a series, `ALERTS`."""
    samples = []
    if kind == "fires":
        labels = {"alertname": alert, "alertstate": "firing", **ALERTS[alert]["labels"], **case["labels"]}
        text = ", ".join(f'{name}="{value}"' for name, value in labels.items())
        samples = [{"labels": f"ALERTS{{{text}}}", "value": 1}]
    return {
        "name": f"{alert} {kind}",
        "interval": "1m",
        "input_series": [series(*entry) for entry in case.get("series", {}).items()],
        "promql_expr_test": [
            {"expr": f'ALERTS{{alertname="{alert}",alertstate="firing"}}', "eval_time": case["after"], "exp_samples": samples}
        ],
    }


@pytest.mark.parametrize("alert", ALERTS)
@pytest.mark.parametrize("kind", ["fires", "silent"])
def test_it(alert, kind, tmp_path):
    case = CASES[alert][kind]
    file = tmp_path / "test.yaml"
    tests = [story(alert, kind, case)]
    file.write_text(yaml.safe_dump({"rule_files": [str(FILES / "alerts.yaml")], "evaluation_interval": "1m", "tests": tests}))
    done = promtool("test", "rules", file)
    assert done.returncode == 0, done.stdout + done.stderr


def test_no_case_is_left_over():
    assert CASES.keys() == ALERTS.keys()


@pytest.mark.parametrize("alert", ALERTS)
def test_what_it_says(alert):
    rule = ALERTS[alert]
    assert rule["labels"]["severity"] in ("critical", "warning", "info")
    assert set(rule["annotations"]) == {"summary", "description", "runbook_url"}
    # A label that is not there would leave a gap in the sentence.
    named = set(re.findall(r"\$labels\.(\w+)", str(rule["annotations"])))
    missing = named - set(CASES[alert]["fires"]["labels"])
    assert not missing or "or $labels" in rule["annotations"]["summary"], missing


def test_each_has_its_section_in_the_runbook():
    page = (ROOT / "docs/operations.md").read_text()
    sections = re.findall(r"^### (Gatehouse\w+)$", page, re.MULTILINE)
    assert sections == list(ALERTS), "docs/operations.md has the alerts, in the order of alerts.yaml"
    for name, rule in ALERTS.items():
        assert rule["annotations"]["runbook_url"] == f"https://gatehouse.example/docs/operations#{name.lower()}"
        text = page.split(f"### {name}\n")[1].split("\n#")[0]
        assert text.strip().split(".")[0].lower() == rule["labels"]["severity"], f"{name}: its severity comes first"
        assert "`" in text, f"{name}: what to look at is a command, a page or a series"


@pytest.mark.parametrize("alert, expression", of_alerts())
def test_the_gateway_exports_what_it_asks_for(alert, expression):
    exported = {**metrics(), UP: set()}
    found = list(selectors(expression))
    assert found
    labels = set()
    for name, matchers in found:
        assert name in exported, f"{name} is not exported"
        assert matchers <= exported[name] | OF_SCRAPE, f"{name} has no label {matchers - exported[name]}"
        labels |= exported[name]
    assert grouped(expression) <= labels | OF_SCRAPE


def test_the_command_prints_them():
    def generate(*arguments):
        return subprocess.run([GATEHOUSE, "generate", "alerts", *arguments], check=True, capture_output=True, text=True).stdout

    assert generate() == (FILES / "alerts.yaml").read_text()
    rule = yaml.safe_load(generate("--format", "prometheus-rule"))
    assert (rule["kind"], rule["spec"]) == ("PrometheusRule", yaml.safe_load(generate()))
