"""What the chart renders: right by the schemas of three Kubernetes versions, and by what no schema knows."""

import os
import subprocess

import kubernetes_validate
import pytest
import yaml

from chart import HELMS, SETS, VERSIONS, broker_services, configuration, deployment, of_kind, render, rendered

each_set = pytest.mark.parametrize("name", SETS)


def kubeconform(objects):
    """What is wrong with objects by the strict schemas of the newest Kubernetes and the definitions; empty: nothing."""
    schemas = os.environ["SCHEMAS"] + "/{{.ResourceKind}}{{.KindSuffix}}.json"
    command = [os.environ["KUBECONFORM"], "-strict", "-schema-location", schemas, "-"]
    done = subprocess.run(command, input=yaml.safe_dump_all(objects), capture_output=True, text=True)
    return "" if done.returncode == 0 else done.stdout + done.stderr


def strictly(objects, version):
    """The same by the schemas of a version of Kubernetes, for its own kinds."""
    faults = []
    for item in objects:
        group = item["apiVersion"].rpartition("/")[0]
        if "." in group and not group.endswith("authorization.k8s.io") and group != "networking.k8s.io":
            continue
        try:
            kubernetes_validate.validate(item, version, strict=True)
        except kubernetes_validate.ValidationError as fault:
            faults.append(f"{item['kind']}: {fault.message}")
    return faults


@each_set
def test_both_helms_render_the_same(name):
    assert rendered(name, program=HELMS[0]) == rendered(name, program=HELMS[1])


@each_set
def test_objects_and_custom_resources_fit_their_schemas(name):
    assert kubeconform(rendered(name)) == ""


@each_set
@pytest.mark.parametrize("version", VERSIONS)
def test_objects_fit_each_version(name, version):
    assert strictly(rendered(name, version=version), version) == []


def test_the_schemas_are_strict():
    planted = [{**item, "spec": {**item["spec"], "selectorr": {}}} for item in of_kind(rendered("minimal"), "Service")]
    assert "selectorr" in kubeconform(planted)
    assert all(strictly([item], version) for item in planted for version in VERSIONS)
    [certificate] = of_kind(rendered("tls-cert-manager"), "Certificate")
    certificate = {**certificate, "spec": {**certificate["spec"], "privateKey": {"encoding": "PKCS9"}}}
    assert "PKCS8" in kubeconform([certificate])


@each_set
def test_names_are_there_once(name):
    names = [(item["kind"], item["metadata"].get("namespace"), item["metadata"]["name"]) for item in rendered(name)]
    assert len(names) == len(set(names))
    assert all(len(item["metadata"]["name"]) <= 63 for item in rendered(name))


@each_set
def test_selectors_find_the_pods(name):
    objects = rendered(name)
    template = deployment(objects)["spec"]["template"]
    labels = template["metadata"]["labels"].items()
    [budgets, policies] = [of_kind(objects, kind) for kind in ["PodDisruptionBudget", "NetworkPolicy"]]
    selectors = [deployment(objects)["spec"]["selector"]["matchLabels"]]
    selectors += [item["spec"]["selector"] for item in of_kind(objects, "Service")]
    selectors += [item["spec"]["selector"]["matchLabels"] for item in budgets + of_kind(objects, "PodMonitor")]
    selectors += [item["spec"]["podSelector"]["matchLabels"] for item in policies]
    selectors += [item["labelSelector"]["matchLabels"] for item in template["spec"]["topologySpreadConstraints"]]
    for selector in selectors:
        assert selector and selector.items() <= labels
    for monitor in of_kind(objects, "ServiceMonitor"):
        selector = monitor["spec"]["selector"]["matchLabels"].items()
        found = [item for item in of_kind(objects, "Service") if selector <= item["metadata"]["labels"].items()]
        assert [item["metadata"]["name"] for item in found] == ["gw-gatehouse-admin"]


def test_a_label_of_one_object_wins_over_that_of_all():
    objects = render(SETS["minimal"], {"commonLabels": {"team": "a", "site": "b"}, "service": {"labels": {"team": "c"}}})
    [service] = broker_services(objects)
    assert (service["metadata"]["labels"]["team"], service["metadata"]["labels"]["site"]) == ("c", "b")
    assert all(item["metadata"]["labels"]["team"] == "a" for item in objects if item is not service)


@each_set
def test_the_pod_of_helm_test_gets_no_clients(name):
    [pod] = of_kind(rendered(name), "Pod")
    assert pod["metadata"]["annotations"]["helm.sh/hook"] == "test"
    for service in of_kind(rendered(name), "Service"):
        assert not service["spec"]["selector"].items() <= pod["metadata"]["labels"].items()
    [container] = pod["spec"]["containers"]
    assert container["volumeMounts"] == containers(rendered(name))[0]["volumeMounts"]
    assert container["securityContext"] == containers(rendered(name))[0]["securityContext"]
    assert pod["spec"]["volumes"] == deployment(rendered(name))["spec"]["template"]["spec"]["volumes"]


@each_set
def test_ports_of_services(name):
    taken = []
    for service in of_kind(rendered(name), "Service"):
        ports = service["spec"]["ports"]
        names = [port["name"] for port in ports]
        assert len(set(names)) == len(names) and all(len(name) <= 15 for name in names)
        assert len({port["port"] for port in ports}) == len(ports)
        taken += [port["nodePort"] for port in ports if "nodePort" in port]
        if service["spec"]["type"] == "NodePort":
            assert all("nodePort" in port for port in ports)
    assert len(set(taken)) == len(taken)
    assert all(30000 <= port <= 32767 for port in taken)


@each_set
def test_admin_is_on_a_service_of_its_own(name):
    objects = rendered(name)
    [container] = [item for item in containers(objects) if item["name"] == "gatehouse"]
    [admin] = [port["containerPort"] for port in container["ports"] if port["name"] == "admin"]
    for service in broker_services(objects):
        assert service["spec"]["ports"]
        assert all(port["targetPort"] not in (admin, "admin") for port in service["spec"]["ports"])
    [own] = [item for item in of_kind(objects, "Service") if item["metadata"]["name"] == "gw-gatehouse-admin"]
    assert own["spec"]["type"] == "ClusterIP"
    assert [(port["port"], port["targetPort"]) for port in own["spec"]["ports"]] == [(admin, "admin")]


def containers(objects):
    return deployment(objects)["spec"]["template"]["spec"]["containers"]


@each_set
def test_probes_and_monitors_name_ports_that_exist(name):
    objects = rendered(name)
    for container in containers(objects):
        names = [port["name"] for port in container["ports"]]
        assert len(set(names)) == len(names) and all(len(name) <= 15 for name in names)
        for probe in ["startupProbe", "readinessProbe", "livenessProbe"]:
            assert container[probe]["httpGet"]["port"] in names
        assert container["readinessProbe"]["httpGet"]["path"] == "/readyz"
        assert container["livenessProbe"]["httpGet"]["path"] == "/livez"
        for monitor in of_kind(objects, "PodMonitor"):
            assert {endpoint["port"] for endpoint in monitor["spec"]["podMetricsEndpoints"]} <= set(names)
    for monitor in of_kind(objects, "ServiceMonitor"):
        assert {endpoint["port"] for endpoint in monitor["spec"]["endpoints"]} == {"admin"}


@each_set
def test_replicas_or_autoscaler_and_a_budget_for_several(name):
    objects = rendered(name)
    scalers = of_kind(objects, "HorizontalPodAutoscaler")
    assert ("replicas" in deployment(objects)["spec"]) != bool(scalers)
    least = scalers[0]["spec"]["minReplicas"] if scalers else deployment(objects)["spec"]["replicas"]
    assert bool(of_kind(objects, "PodDisruptionBudget")) == (least > 1)
    for scaler in scalers:
        assert scaler["spec"]["scaleTargetRef"]["name"] == deployment(objects)["metadata"]["name"]


@each_set
def test_pods_are_restricted(name):
    """What the profile `restricted` asks for, and more."""
    pod = deployment(rendered(name))["spec"]["template"]["spec"]
    assert pod["securityContext"]["runAsNonRoot"]
    # OpenShift gives users of its own.
    assert pod["securityContext"].get("runAsUser") == (None if name == "openshift" else 65532)
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert not pod.get("hostNetwork") and not pod["enableServiceLinks"]
    for container in pod["containers"]:
        security = container["securityContext"]
        assert security["allowPrivilegeEscalation"] is False and security["readOnlyRootFilesystem"] is True
        assert security["capabilities"] == {"drop": ["ALL"]}
    assert {kind for volume in pod["volumes"] for kind in volume if kind != "name"} <= {"configMap", "secret", "projected"}


@each_set
def test_volumes_are_folders_that_exist(name):
    """A file mounted by a subPath is not followed when it changes."""
    pod = deployment(rendered(name))["spec"]["template"]["spec"]
    volumes = {volume["name"] for volume in pod["volumes"]}
    mounts = [mount for container in pod["containers"] for mount in container["volumeMounts"]]
    assert {mount["name"] for mount in mounts} == volumes
    assert all("subPath" not in mount and mount["readOnly"] for mount in mounts)


@each_set
def test_no_token_without_discovery(name):
    objects = rendered(name)
    pod = deployment(objects)["spec"]["template"]["spec"]
    assert pod["automountServiceAccountToken"] is False
    assert all(item["automountServiceAccountToken"] is False for item in of_kind(objects, "ServiceAccount"))
    tokens = [volume for volume in pod["volumes"] if "serviceAccountToken" in str(volume)]
    assert bool(tokens) == bool(of_kind(objects, "Role"))


def test_discovery_may_read_the_service_that_is_advertised_and_no_other():
    more = {"office": {"bind": "0.0.0.0:19092", "advertise": "kafka.example.com", "routing": {"port": {"ranges": [{"nodes": 0, "bind": 19093}]}}}}
    values = {"config": {"listeners": more}, "extraServices": {"office": {"listeners": ["office"]}}, "networkPolicy": {"enabled": True}}
    objects = render(SETS["discovered"], values)
    [role] = of_kind(objects, "Role")
    assert sorted(item["metadata"]["name"] for item in broker_services(objects)) == ["gw-gatehouse", "gw-gatehouse-office"]
    allowed = {"apiGroups": [""], "resources": ["services"], "resourceNames": ["gw-gatehouse"], "verbs": ["get", "list", "watch"]}
    assert role["rules"] == [allowed]
    listeners = yaml.safe_load(configuration(objects))["listeners"]
    assert listeners["external"]["advertise"] == {"service": "gw-gatehouse"}
    assert listeners["office"]["advertise"] == "kafka.example.com"
    [binding] = of_kind(objects, "RoleBinding")
    pod = deployment(objects)["spec"]["template"]["spec"]
    assert binding["subjects"][0]["name"] == pod["serviceAccountName"]
    assert "kubernetes-token" in [volume["name"] for volume in pod["volumes"]]
    assert pod["automountServiceAccountToken"] is False
    [policy] = of_kind(objects, "NetworkPolicy")
    assert [{"protocol": "TCP", "port": port} for port in [443, 6443]] in [rule["ports"] for rule in policy["spec"]["egress"]]


def test_each_listener_is_told_the_address_of_its_own_service():
    ranges = {"port": {"ranges": [{"nodes": 0, "bind": 19093}]}}
    office = {"bind": "0.0.0.0:19092", "advertise": {"port": 443}, "routing": ranges}
    objects = render(SETS["discovered"], {"config": {"listeners": {"office": office}}, "extraServices": {"office": {"listeners": ["office"]}}})
    listeners = yaml.safe_load(configuration(objects))["listeners"]
    assert listeners["external"]["advertise"] == {"service": "gw-gatehouse"}
    assert listeners["office"]["advertise"] == {"service": "gw-gatehouse-office", "port": 443}
    [role] = of_kind(objects, "Role")
    assert role["rules"][0]["resourceNames"] == ["gw-gatehouse", "gw-gatehouse-office"]
    [service] = [item for item in broker_services(objects) if item["metadata"]["name"] == "gw-gatehouse-office"]
    assert {(port["port"], port["targetPort"]) for port in service["spec"]["ports"]} == {(443, 19092), (19093, 19093)}


@each_set
def test_the_grace_period_is_longer_than_the_stop(name):
    objects = rendered(name)
    sleep = containers(objects)[0]["lifecycle"]["preStop"]["sleep"]["seconds"]
    stop = {"90s": 90, "2m": 120}[yaml.safe_load(configuration(objects))["shutdown"]["hard_stop_after"]]
    assert deployment(objects)["spec"]["template"]["spec"]["terminationGracePeriodSeconds"] == sleep + stop + 10


@pytest.mark.parametrize("text, seconds", [("90s", 90), ("1m 30s", 90), ("2m", 120), ("1h", 3600), ("90500ms", 91)])
def test_the_grace_period_follows_the_configuration(text, seconds):
    values = {"config": {"shutdown": {"hard_stop_after": text}}, "preStopSleepSeconds": 0}
    pod = deployment(render(SETS["minimal"], values))["spec"]["template"]["spec"]
    assert pod["terminationGracePeriodSeconds"] == seconds + 10
    assert "lifecycle" not in pod["containers"][0]


def test_an_old_kubernetes_cannot_sleep_before_the_stop():
    assert "lifecycle" not in containers(rendered("minimal", version="1.28"))[0]


def test_the_network_policy_has_every_port_and_both_ways():
    objects = rendered("loadbalancer")
    [policy] = of_kind(objects, "NetworkPolicy")
    external, office, monitoring = policy["spec"]["ingress"]
    bound = {port["targetPort"] for service in broker_services(objects) for port in service["spec"]["ports"]}
    assert {port["port"] for rule in [external, office] for port in rule["ports"]} == bound
    assert [peer["ipBlock"]["cidr"] for peer in external["from"]] == ["203.0.113.0/24", "2001:db8::/32"]
    assert "from" not in office, "its service has no source ranges, and a node stands in between"
    assert [port["port"] for port in monitoring["ports"]] == ["admin"] and monitoring["from"]
    dns, kafka = policy["spec"]["egress"]
    assert sorted(port["protocol"] for port in dns["ports"]) == ["TCP", "UDP"]
    assert kafka["ports"] == [{"protocol": "TCP", "port": 9092}] and kafka["to"]
    assert policy["spec"]["policyTypes"] == ["Ingress", "Egress"]


def peers(values):
    [policy] = of_kind(render(SETS["minimal"], {**values, "networkPolicy": {"enabled": True, **values.get("networkPolicy", {})}}), "NetworkPolicy")
    return policy["spec"]["ingress"][0].get("from")


def test_the_network_policy_knows_whom_the_pod_sees():
    block = [{"ipBlock": {"cidr": "203.0.113.0/24"}}]
    ranges = {"loadBalancerSourceRanges": ["203.0.113.0/24"]}
    assert peers({"service": ranges}) == block
    assert peers({"service": {**ranges, "externalTrafficPolicy": "Cluster"}}) is None
    balancer = {"config": {"listeners": {"external": {"proxy_protocol": {"required_from": ["10.0.0.0/16", "10.1.0.1"]}}}}}
    assert peers({"service": ranges, **balancer}) == [{"ipBlock": {"cidr": cidr}} for cidr in ["10.0.0.0/16", "10.1.0.1/32"]]
    assert peers({"service": ranges, **balancer, "networkPolicy": {"clients": [{"podSelector": {}}]}}) == [{"podSelector": {}}]


def test_a_certificate_has_one_name_with_ports_and_a_wildcard_with_sni():
    [certificate] = of_kind(rendered("strimzi"), "Certificate")
    assert certificate["spec"]["dnsNames"] == ["kafka.example.com"]
    [certificate] = of_kind(rendered("tls-cert-manager"), "Certificate")
    assert certificate["spec"]["dnsNames"] == ["kafka.example.com", "kafka.example.org", "*.kafka.example.org"]
    assert certificate["spec"]["privateKey"]["encoding"] == "PKCS8"
    [volume] = [item for item in deployment(rendered("strimzi"))["spec"]["template"]["spec"]["volumes"] if item["name"] == "tls"]
    assert volume["secret"]["secretName"] == "gw-gatehouse-tls"


def test_routes_of_the_gateway_api():
    objects = rendered("sni")
    [service] = broker_services(objects)
    ports = {port["port"] for port in service["spec"]["ports"]}
    [tls] = of_kind(objects, "TLSRoute")
    assert tls["spec"]["hostnames"] == ["kafka.example.com", "*.kafka.example.com"]
    routes = of_kind(objects, "TCPRoute")
    backends = [route["spec"]["rules"][0]["backendRefs"][0] for route in [tls, *routes]]
    assert {backend["name"] for backend in backends} == {service["metadata"]["name"]}
    assert sorted(backend["port"] for backend in backends) == sorted(ports)
    assert [route["spec"]["parentRefs"][0]["port"] for route in routes] == [port["port"] for port in backends[1:]]


def template(values):
    return deployment(render(SETS["minimal"], values))["spec"]["template"]


def test_a_new_port_is_no_new_version_of_the_pods():
    """The running gateway takes the port in; with `rollout` pods are replaced."""
    ranges = {"routing": {"port": {"ranges": [{"nodes": "0-5", "bind": 9093}]}}}
    more = {"config": {"listeners": {"external": ranges}, "log": {"connections": True, "level": "debug"}}}
    assert template({}) == template(more)
    for fixed in [{"log": {"format": "text"}}, {"admin": {"bind": "[::]:9910"}}, {"node": {"id": "a"}}]:
        assert template({}) != template({"config": fixed}), "this waits for a restart"
    rollout = {"reload": {"mode": "rollout"}}
    assert template(rollout) != template({**more, **rollout})
    names = [port["name"] for port in template(rollout)["spec"]["containers"][0]["ports"]]
    assert names == ["admin", "tcp-9092", "tcp-9093", "tcp-9094", "tcp-9095"]


def test_services_share_the_listeners():
    office, external = sorted(broker_services(rendered("loadbalancer")), key=lambda item: -len(item["metadata"]["name"]))
    assert office["metadata"]["name"] == "gw-gatehouse-office"
    assert {port["targetPort"] // 10000 for port in office["spec"]["ports"]} == {2}
    assert {port["targetPort"] // 10000 for port in external["spec"]["ports"]} == {1}
    assert office["spec"]["externalTrafficPolicy"] == "Cluster" and external["spec"]["externalTrafficPolicy"] == "Local"


def test_alerts_and_board_come_from_the_files():
    from chart import CHART

    objects = rendered("ha")
    [rule] = of_kind(objects, "PrometheusRule")
    wanted = [item for group in yaml.safe_load((CHART / "files/alerts.yaml").read_text())["groups"] for item in group["rules"]]
    found = [item for group in rule["spec"]["groups"] for item in group["rules"]]
    assert found == [item for item in wanted if item["alert"] != "GatehouseUpstreamUnverified"]
    [board] = [item for item in of_kind(objects, "ConfigMap") if item["metadata"]["name"].endswith("-dashboard")]
    assert board["data"]["gatehouse.json"].strip() == (CHART / "files/dashboard.json").read_text().strip()
    assert board["metadata"]["labels"]["grafana_dashboard"] == "1"


def alerts(values):
    [rule] = of_kind(render(SETS["minimal"], {"metrics": {"rules": {"enabled": True, **values}}}), "PrometheusRule")
    return {item["alert"]: item for group in rule["spec"]["groups"] for item in group["rules"]}


def test_alerts_lead_to_the_runbook_where_it_is():
    found = alerts({"runbookUrl": "https://wiki.example.org/kafka/operations"})
    assert len(found) > 20
    for name, rule in found.items():
        assert rule["annotations"].pop("runbook_url") == f"https://wiki.example.org/kafka/operations#{name.lower()}"
    default = alerts({})
    for rule in default.values():
        assert rule["annotations"].pop("runbook_url").startswith("https://gatehouse.example/docs/operations#")
    assert found == default


def test_extra_objects_are_templates():
    names = {item["metadata"]["name"] for item in of_kind(rendered("sni"), "ConfigMap")}
    assert {"gw-notes", "gw-gatehouse-more"} <= names


def test_images_have_a_registry_a_tag_or_a_digest():
    def image(values):
        return template({"image": values})["spec"]["containers"][0]["image"]

    assert image({}) == "gatehouse:0.1.0"
    assert image({"registry": "r.example.com", "repository": "a/b", "tag": "x"}) == "r.example.com/a/b:x"
    assert image({"digest": "sha256:" + "0" * 64}) == "gatehouse@sha256:" + "0" * 64
