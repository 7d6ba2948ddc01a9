"""The chart in a real cluster: what the server takes, what it makes of it, and what stays when the chart goes."""

import json
import pathlib
import re

import pytest
import yaml

from chart import CHART, HELMS, ROOT, SETS, of_kind, render, rendered
from control_plane import NODES, Failed, ready, wait_for
from release import Release, selector

each_helm = pytest.mark.parametrize("program", HELMS, ids=["helm3", "helm4"])
each_set = pytest.mark.parametrize("name", SETS)

TWO_MORE = {"config": {"listeners": {"external": {"routing": {"port": {"ranges": [{"nodes": "0-4", "bind": 9093}]}}}}}}


def everything(cluster, namespace):
    """Names of all objects of a namespace, of every kind that there is, but for the events that tell of them."""
    kinds = cluster.kubectl("api-resources", "--namespaced", "--verbs=list", "--output=name").split()
    kinds = ",".join(kind for kind in kinds if not kind.startswith("events"))
    return set(cluster.kubectl("get", kinds, "--namespace", namespace, "--output=name").split())


@each_helm
def test_installed_upgraded_rolled_back_and_gone(cluster, namespace, program):
    before = everything(cluster, namespace)
    release = Release(cluster, namespace, program)
    release.install(SETS["minimal"])
    pods = release.pods()
    assert len(pods) == 2 and numbers(release.service(), "port") == {9092, 9093, 9094, 9095}
    notes = release.helm("get", "notes", release.name)
    assert "\n  kafka.example.com:9092   (listener external)" in notes
    assert re.search(r"external +kafka.example.com:9095 +2 +9095", notes)

    release.upgrade(SETS["minimal"], TWO_MORE)
    assert numbers(release.service(), "port") == {9092, 9093, 9094, 9095, 9096, 9097}
    text = cluster.get("configmap", "gw-gatehouse", namespace)["data"]["gatehouse.yaml"]
    assert yaml.safe_load(text)["listeners"]["external"]["routing"]["port"]["ranges"] == [{"nodes": "0-4", "bind": 9093}]
    assert release.pods() == pods, "a new port is taken in by the pods that run"
    wanted = numbers(release.service(), "targetPort")
    wait_for(lambda: {port for port, _ in release.endpoints("gw-gatehouse")} == wanted, "the new ports lead to pods")

    release.helm("rollback", release.name, "1", "--wait", "--timeout", "300s")
    assert numbers(release.service(), "port") == {9092, 9093, 9094, 9095} and release.pods() == pods
    assert release.service()["status"]["loadBalancer"]["ingress"][0]["ip"] == "192.0.2.10", "the address is kept throughout"

    release.helm("uninstall", release.name, "--wait", "--timeout", "300s")
    wait_for(lambda: everything(cluster, namespace) == before, "nothing is left")


def test_what_helm_3_installed_helm_4_upgrades(cluster, namespace):
    Release(cluster, namespace, HELMS[0]).install(SETS["minimal"])
    release = Release(cluster, namespace, HELMS[1])
    pods = release.pods()
    release.upgrade(SETS["minimal"], TWO_MORE)
    assert numbers(release.service(), "port") == {9092, 9093, 9094, 9095, 9096, 9097} and release.pods() == pods


@each_helm
def test_with_rollout_each_change_replaces_the_pods(cluster, namespace, program):
    release = Release(cluster, namespace, program)
    rollout = {"reload": {"mode": "rollout"}}
    release.install(SETS["minimal"], rollout)
    pods = release.pods()
    release.upgrade(SETS["minimal"], {**rollout, **TWO_MORE})
    wait_for(lambda: len(release.pods()) == 2 and not set(release.pods()) & set(pods), "two other pods")


@each_set
def test_set(cluster, namespace, name):
    """Every object of a set is taken by the server and does in the cluster what it is for."""
    objects = render(SETS[name], {"namespaceOverride": namespace})
    release = Release(cluster, namespace)
    release.install(SETS[name])
    is_taken(cluster, namespace, objects)

    [deployment] = of_kind(objects, "Deployment")
    scalers = of_kind(objects, "HorizontalPodAutoscaler")
    count = scalers[0]["spec"]["minReplicas"] if scalers else deployment["spec"]["replicas"]
    wait_for(lambda: len(release.pods()) == count, f"{count} pods are ready")
    pods = [pod for pod in cluster.list("pods", namespace, **selector()) if ready(pod)]
    addresses = {pod["status"]["podIP"] for pod in pods}
    assert len(addresses) == count
    if count == len(NODES):
        assert {pod["spec"]["nodeName"] for pod in pods} == set(NODES), "one on each node"
    for service in of_kind(objects, "Service"):
        there = release.service(service["metadata"]["name"])
        bound = {9910} if "admin" in numbers(service, "name") else numbers(service, "targetPort")
        wanted = {(port, address) for port in bound for address in addresses}
        wait_for(lambda: release.endpoints(there["metadata"]["name"]) == wanted, "all ports lead to all pods")
        if "nodePort" in service["spec"]["ports"][0]:
            assert numbers(there, "nodePort") == numbers(service, "nodePort")
        assert there["spec"]["type"] == service["spec"]["type"]


def is_taken(cluster, namespace, objects):
    """All are there, and none has a field that the server does not know, which Helm would let pass."""
    # The pod of `helm test` would never end here; that it would be admitted can be seen.
    cluster.apply(*objects, options=["--dry-run=server", "--force-conflicts", "--namespace", namespace])
    kept = [item for item in objects if "helm.sh/hook" not in item["metadata"].get("annotations", {})]
    everything = json.dumps({"apiVersion": "v1", "kind": "List", "items": kept})
    cluster.kubectl("get", "--filename=-", "--namespace", namespace, input=everything)


def numbers(service, name):
    return {port[name] for port in service["spec"]["ports"]}


def test_the_sets_have_every_kind():
    """What no set has, no server has seen."""
    texts = [path.read_text() for path in (CHART / "templates").rglob("*.yaml")]
    written = {found for text in texts for found in re.findall(r"^kind: (\w+)$", text, re.MULTILINE)}
    assert len(written) > 10 and written <= {item["kind"] for name in SETS for item in rendered(name)}


@each_helm
def test_a_pod_and_a_service_take_everything(cluster, namespace, program):
    """Settings that no set uses, which a cluster may want: the server takes each and the pods are admitted."""
    file = pathlib.Path(__file__).with_name("everything.yaml")
    release = Release(cluster, namespace, program)
    release.install([file])
    is_taken(cluster, namespace, render([file], {"namespaceOverride": namespace}, program=program))
    door = {"app.kubernetes.io/name": "door"}
    # Helm may have seen enough before the autoscaler asks for three.
    wait_for(lambda: [ready(pod) for pod in cluster.list("pods", namespace, **door)] == [True] * 3, "three pods are ready")
    assert {pod["spec"]["nodeName"] for pod in cluster.list("pods", namespace, **door)} == set(NODES), "one on each node"
    service = release.service("kafka-door")
    assert numbers(service, "nodePort") >= {32101, 32102} and service["spec"]["healthCheckNodePort"] == 32100
    release.helm("uninstall", release.name, "--wait")


FORMS = [{"type": "LoadBalancer"}, {"type": "NodePort"}, {"type": "ClusterIP"}, {"type": "LoadBalancer"}]


@each_helm
def test_a_service_takes_each_form_in_turn(cluster, namespace, program):
    """What the server filled in for one type must not stand in the way of another."""
    release = Release(cluster, namespace, program)
    ranges = [{"nodes": "0-2", "bind": 9093, "advertise": 31493}]
    ports = {"listeners": {"external": {"advertise": "kafka.example.com:31492", "routing": {"port": {"ranges": ranges}}}}}
    release.install(SETS["minimal"], {"config": ports})
    for form in FORMS:
        release.upgrade(SETS["minimal"], {"config": ports, "service": form})
        service = release.service()
        assert service["spec"]["type"] == form["type"]
        if form["type"] == "NodePort":
            assert numbers(service, "nodePort") == {31492, 31493, 31494, 31495}
        else:
            assert numbers(service, "port") == {31492, 31493, 31494, 31495}


def test_three_pods_on_three_nodes_can_be_replaced(cluster, namespace):
    """A pod more than nodes, while no node may have two more than another: the scheduler has the last word."""
    release = Release(cluster, namespace)
    release.install(SETS["ha"])
    pods = wait_for(lambda: len(release.pods()) == 3 and release.pods(), "three pods")
    cluster.kubectl("rollout", "restart", "deployment/gw-gatehouse", "--namespace", namespace)
    cluster.kubectl("rollout", "status", "deployment/gw-gatehouse", "--namespace", namespace, "--timeout=300s")
    wait_for(lambda: len(release.pods()) == 3 and not set(release.pods()) & set(pods), "three other pods")


def test_the_budget_lets_one_pod_go_at_a_time(cluster, namespace):
    release = Release(cluster, namespace)
    release.install(SETS["minimal"])

    def allowed():
        return cluster.get("poddisruptionbudget", "gw-gatehouse", namespace)["status"].get("disruptionsAllowed")

    wait_for(lambda: allowed() == 1, "one pod may go")
    # New pods cannot start, so that the one that goes is missing.
    cluster.kubectl("cordon", *NODES)
    try:
        first, second = release.pods()
        evict(cluster, namespace, first)
        wait_for(lambda: allowed() == 0, "no other may go")
        with pytest.raises(Failed, match="disruption budget"):
            evict(cluster, namespace, second)
    finally:
        cluster.kubectl("uncordon", *NODES)
    wait_for(lambda: allowed() == 1, "the missing pod is back")


def evict(cluster, namespace, pod):
    body = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": pod, "namespace": namespace}}
    path = f"/api/v1/namespaces/{namespace}/pods/{pod}/eviction"
    cluster.kubectl("create", "--raw", path, "--filename=-", input=json.dumps(body))


@each_helm
def test_an_upgrade_leaves_the_number_of_pods_to_the_autoscaler(cluster, namespace, program):
    release = Release(cluster, namespace, program)
    autoscaling = {"autoscaling": {"enabled": True}}
    release.install(SETS["minimal"], autoscaling)
    wait_for(lambda: len(release.pods()) == 2, "as many as the least")
    # As the autoscaler does under load.
    cluster.kubectl("scale", "deployment/gw-gatehouse", "--replicas=4", "--namespace", namespace)
    pods = wait_for(lambda: len(release.pods()) == 4 and release.pods(), "as many as it wants")
    release.upgrade(SETS["minimal"], {**autoscaling, **TWO_MORE})
    assert cluster.get("deployment", "gw-gatehouse", namespace)["spec"]["replicas"] == 4 and release.pods() == pods


@each_helm
def test_a_port_of_somebody_else_survives_an_upgrade(cluster, namespace, program):
    release = Release(cluster, namespace, program)
    release.install(SETS["minimal"])
    port = {"name": "theirs", "port": 7000, "targetPort": 7000, "protocol": "TCP"}
    theirs = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "gw-gatehouse", "namespace": namespace}, "spec": {"ports": [port]}}
    cluster.apply(theirs, options=["--field-manager=somebody"])
    release.upgrade(SETS["minimal"], TWO_MORE)
    assert numbers(release.service(), "port") == {7000, 9092, 9093, 9094, 9095, 9096, 9097}


@each_helm
def test_a_taken_node_port_is_said(cluster, new_namespace, program):
    Release(cluster, new_namespace(), program).install(SETS["nodeport"])
    with pytest.raises(Failed) as refused:
        Release(cluster, new_namespace(), program).install(SETS["nodeport"])
    assert "31090" in str(refused.value) and "provided port is already allocated" in str(refused.value)


def test_a_pod_with_more_rights_is_not_admitted(cluster, namespace):
    """The other tests show something only because the namespace does refuse."""
    release = Release(cluster, namespace)
    release.install(SETS["minimal"], {"securityContext": {"allowPrivilegeEscalation": True}}, options=[])

    def refused():
        return any('violates PodSecurity "restricted' in event["message"] for event in cluster.list("events", namespace))

    wait_for(refused, "pods are refused")
    assert cluster.list("pods", namespace, **selector()) == []


@pytest.mark.parametrize("form", ["loadbalancer", "nodeport"])
def test_plain_manifests(cluster, form):
    folder = ROOT / "deploy/kustomize" / form
    namespace = yaml.safe_load((folder / "kustomization.yaml").read_text())["namespace"]
    cluster.namespace(namespace)
    cluster.kubectl("apply", "--server-side", "--validate=strict", "--kustomize", folder)
    count = yaml.safe_load((folder / "deployment.yaml").read_text())["spec"]["replicas"]
    wait_for(lambda: [ready(pod) for pod in cluster.list("pods", namespace)] == [True] * count, f"{count} pods are ready")
    cluster.kubectl("delete", "--kustomize", folder)
    wait_for(lambda: not cluster.list("pods", namespace), "the pods are gone")
