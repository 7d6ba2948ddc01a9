"""`gatehouse generate kubernetes` makes what the chart makes, of the file that the chart writes."""

import os
import subprocess

import pytest
import yaml

from chart import GATEHOUSE, ROOT, SETS, broker_services, configuration, deployment, of_kind, rendered

FORMS = {"loadbalancer": "LoadBalancer", "nodeport": "NodePort"}


def generate(text, *arguments):
    # Nothing of this machine has a say: secrets are where the pods run.
    environment = {"PATH": os.environ["PATH"], "HOSTNAME": "here"}
    command = [GATEHOUSE, "generate", "kubernetes", "--config", "-", *arguments]
    return subprocess.run(command, input=text, capture_output=True, text=True, env=environment)


def objects(text, *arguments):
    done = generate(text, *arguments)
    assert done.returncode == 0, done.stderr
    return [item for item in yaml.safe_load_all(done.stdout) if item]


def by_name(items):
    return {(item["kind"], item["metadata"]["name"]): item for item in items}


@pytest.mark.parametrize("form", FORMS)
def test_it_is_what_the_chart_makes(form):
    """Object by object, as the plain manifests have them, which the chart renders."""
    folder = ROOT / "deploy/kustomize" / form
    wanted = [yaml.safe_load(path.read_text()) for path in folder.glob("*.yaml") if path.stem not in ("kustomization", "values")]
    # The file is followed, so that nothing in the pods has to change with it.
    del deployment(wanted)["spec"]["template"]["metadata"]["annotations"]["checksum/config"]
    assert by_name(objects(configuration(wanted), "--type", FORMS[form])) == by_name(wanted)


def ports(items):
    services = [service["spec"]["ports"] for service in broker_services(items)]
    return sorted((port["port"], port["targetPort"], port.get("nodePort")) for listed in services for port in listed)


def service_type(name):
    return broker_services(rendered(name))[0]["spec"]["type"]


# What the chart alone has: node ports that clients are not told, and users that the platform chooses.
BEYOND = {"own-balancer": "is no node port"}
OWN_USERS = ["openshift"]


@pytest.mark.parametrize("name", SETS)
def test_for_every_configuration(name, tmp_path):
    chart = rendered(name)
    done = generate(configuration(chart), "--type", service_type(name), "--name", "gw-gatehouse", "--namespace", "gateway")
    if name in BEYOND:
        assert done.returncode == 78 and BEYOND[name] in done.stderr, done.stderr
        return
    assert done.returncode == 0, done.stderr
    made = [item for item in yaml.safe_load_all(done.stdout) if item]
    assert {item["metadata"]["namespace"] for item in made} == {"gateway"}
    assert ports(made) == ports(chart)
    pods = [deployment(items)["spec"]["template"]["spec"] for items in (made, chart)]
    if name not in OWN_USERS:
        assert pods[0]["securityContext"] == pods[1]["securityContext"]
    for setting in ("terminationGracePeriodSeconds", "automountServiceAccountToken", "enableServiceLinks"):
        assert pods[0][setting] == pods[1][setting], setting
    containers = [pod["containers"][0] for pod in pods]
    for setting in ("securityContext", "startupProbe", "readinessProbe", "livenessProbe", "lifecycle", "args"):
        assert containers[0][setting] == containers[1][setting], setting
    # With `reload.mode: rollout` the chart lists those of the brokers, too.
    assert containers[0]["ports"] == containers[1]["ports"][:1]
    rights = [[item["rules"] for item in of_kind(items, "Role")] for items in (made, chart)]
    assert rights[0] == rights[1]
    paths = [{mount["mountPath"] for mount in container["volumeMounts"]} for container in containers]
    assert paths[0] <= paths[1], "a folder that no file is in"
    assert configuration(made).strip() == configuration(chart).strip()
    file = tmp_path / "objects.yaml"
    file.write_text(done.stdout)
    schemas = f"{os.environ['SCHEMAS']}/{{{{.ResourceKind}}}}{{{{.KindSuffix}}}}.json"
    checked = subprocess.run([os.environ["KUBECONFORM"], "-strict", "-schema-location", schemas, file], capture_output=True, text=True)
    assert checked.returncode == 0, checked.stdout


def test_what_the_pods_need_is_said_first():
    text = """\
clusters:
  main:
    bootstrap: kafka-0:9093
    tls: { ca: [/etc/gatehouse/brokers-ca, /etc/gatehouse/more/old.crt] }
    discovery:
      sasl:
        mechanism: PLAIN
        username: gatehouse
        password: ${KAFKA_PASSWORD}
listeners:
  external:
    bind: 0.0.0.0:9092
    advertise: kafka.example.com
    routing: { port: { ranges: [{ nodes: 0-2, bind: 9093 }] } }
node:
  id: ${HOSTNAME}
admin: { bind: "[::]:9910" }
"""
    done = generate(text, "--name", "gw")
    lines = [line for line in done.stdout.splitlines() if line.startswith("#   ")]
    assert lines == [
        "#   kubectl create secret generic gw-brokers-ca --from-file=brokers-ca/",
        "#   kubectl create secret generic gw-more --from-file=old.crt",
        "#   kubectl create secret generic gw-environment --from-literal=KAFKA_PASSWORD=...",
    ]
    [container] = deployment(objects(text, "--name", "gw"))["spec"]["template"]["spec"]["containers"]
    wanted = {"name": "KAFKA_PASSWORD", "valueFrom": {"secretKeyRef": {"name": "gw-environment", "key": "KAFKA_PASSWORD"}}}
    assert container["env"] == [wanted, {"name": "GATEHOUSE_CONFIG", "value": "/etc/gatehouse/config/gatehouse.yaml"}]
    assert "KAFKA_PASSWORD" in configuration(objects(text)), "the ConfigMap has the name, never the value"
