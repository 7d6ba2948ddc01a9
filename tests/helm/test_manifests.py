"""The plain manifests are what the chart makes of their values, and the gateway takes their configuration."""

import os
import subprocess
import sys

import pytest
import yaml

from chart import GATEHOUSE, HELMS, ROOT

FOLDER = ROOT / "deploy/kustomize"
FORMS = ["loadbalancer", "nodeport"]


@pytest.fixture(scope="session")
def fresh(tmp_path_factory):
    out = tmp_path_factory.mktemp("kustomize")
    subprocess.run([sys.executable, FOLDER / "render", HELMS[1], out], check=True)
    return out


@pytest.mark.parametrize("form", FORMS)
def test_they_are_what_the_chart_renders(fresh, form):
    """`deploy/kustomize/render HELM` writes them anew."""
    if os.environ.get("UPDATE"):
        subprocess.run([sys.executable, FOLDER / "render", HELMS[1]], check=True)
    wanted = {path.name: path.read_text() for path in (fresh / form).iterdir()}
    found = {path.name: path.read_text() for path in (FOLDER / form).iterdir() if path.name != "values.yaml"}
    assert found == wanted
    listed = yaml.safe_load(found["kustomization.yaml"])["resources"]
    assert sorted([*listed, "kustomization.yaml"]) == sorted(found)


@pytest.mark.parametrize("form", FORMS)
def test_the_service_has_the_ports_of_the_configuration(form):
    text = yaml.safe_load((FOLDER / form / "configmap.yaml").read_text())["data"]["gatehouse.yaml"]
    command = [GATEHOUSE, "routes", "--config", "-", "--output", "json"]
    routes = yaml.safe_load(subprocess.run(command, input=text, text=True, check=True, capture_output=True).stdout)
    service = yaml.safe_load((FOLDER / form / "service.yaml").read_text())
    key = "nodePort" if form == "nodeport" else "port"
    wanted = {(route["advertise"].rpartition(":")[2], route["bind"][0].rpartition(":")[2]) for route in routes}
    assert {(str(port[key]), str(port["targetPort"])) for port in service["spec"]["ports"]} == wanted
