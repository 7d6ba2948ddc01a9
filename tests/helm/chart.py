"""Renders the chart for the tests: what Helm makes of a set of values, as objects."""

import functools
import json
import os
import pathlib
import shutil
import subprocess
import tempfile

import yaml

ROOT = pathlib.Path(__file__).parents[2]
CHART = ROOT / "deploy/helm/gatehouse"
HELMS = [os.environ["HELM3"], os.environ["HELM4"]]
GATEHOUSE = os.environ["GATEHOUSE_BIN"]
# The oldest that Chart.yaml takes, one between, the newest.
VERSIONS = ["1.28", "1.33", "1.37"]


def sets():
    """The values files that are tested: name → files, later ones win."""
    found = {path.stem: [path] for folder in ["ci", "examples"] for path in sorted((CHART / folder).glob("*.yaml"))}
    found["ha"].insert(0, CHART / "values-ha.yaml")
    return found


SETS = sets()


class Refused(Exception):
    """Helm would not render; the text is what the user reads."""


def helm(*arguments, program=HELMS[1]):
    """Runs Helm and gives back what it prints. It may ask no server."""
    environment = {**os.environ, "KUBECONFIG": "/nonexistent", "HELM_CACHE_HOME": "/nonexistent"}
    done = subprocess.run([program, *map(str, arguments)], capture_output=True, text=True, env=environment)
    if done.returncode != 0:
        raise Refused(done.stderr + done.stdout)
    return done.stdout


def render(files, values=None, program=HELMS[1], version=VERSIONS[-1], chart=CHART):
    """The objects that the chart makes of values files and values on top of them, as release `gw` in `gateway`."""
    arguments = ["template", "gw", chart, "--namespace", "gateway", "--kube-version", f"{version}.0"]
    for path in files:
        arguments += ["--values", path]
    with tempfile.NamedTemporaryFile("w", suffix=".yaml") as more:
        if values:
            json.dump(values, more)
            more.flush()
            arguments += ["--values", more.name]
        return [item for item in yaml.safe_load_all(helm(*arguments, program=program)) if item]


@functools.cache
def rendered(name, program=HELMS[1], version=VERSIONS[-1]):
    """The objects of a set."""
    return render(SETS[name], program=program, version=version)


def of_kind(objects, kind):
    return [item for item in objects if item["kind"] == kind]


def deployment(objects):
    [found] = of_kind(objects, "Deployment")
    return found


def configuration(objects):
    """The text of gatehouse.yaml."""
    [found] = [item for item in of_kind(objects, "ConfigMap") if "gatehouse.yaml" in item.get("data", {})]
    return found["data"]["gatehouse.yaml"]


def broker_services(objects):
    """The services with brokers behind them: all but that of the admin pages."""
    return [item for item in of_kind(objects, "Service") if not item["metadata"]["name"].endswith("-admin")]


def notes(name, values=None):
    """What `helm install` prints last. Only a server gets to see it, so here it becomes an object of a copy."""
    with tempfile.TemporaryDirectory() as folder:
        copy = pathlib.Path(folder) / "gatehouse"
        shutil.copytree(CHART, copy)
        text = (copy / "templates/NOTES.txt").read_text()
        (copy / "templates/_notes.tpl").write_text('{{ define "notes" }}' + text + "{{ end }}")
        (copy / "templates/notes.yaml").write_text('kind: Notes\ntext: {{ include "notes" . | toJson }}\n')
        [found] = of_kind(render(SETS[name], values, chart=copy), "Notes")
        return found["text"]
