"""The file that the chart writes is one that the gateway takes, and both say the same of every port."""

import json
import os
import re
import subprocess
import tempfile

import pytest
import yaml

from chart import CHART, GATEHOUSE, HELMS, SETS, Refused, broker_services, configuration, notes, render, rendered

each_set = pytest.mark.parametrize("name", SETS)


def gatehouse(text, *arguments):
    environment = {"PATH": os.environ["PATH"], "KAFKA_PASSWORD": "x", "GATEHOUSE_ADMIN_TOKEN": "x"}
    command = [GATEHOUSE, *arguments, "--config", "-"]
    return subprocess.run(command, input=text, capture_output=True, text=True, env=environment)


def routes(name):
    """(listener, node or None, host, port, bound port) of each route, as the gateway says."""
    text = configuration(rendered(name))
    with tempfile.NamedTemporaryFile("w") as secret:
        secret.write("x")
        secret.flush()
        text = re.sub(r"(file: )/etc/gatehouse/\S+", rf"\1{secret.name}", text)
        done = gatehouse(text, "routes", "--output", "json")
    assert done.returncode == 0, done.stderr
    found = []
    for route in json.loads(done.stdout):
        host, _, port = route["advertise"].rpartition(":")
        found.append((route["listener"], route["node"], host, int(port), int(route["bind"][0].rpartition(":")[2])))
    return found


@each_set
def test_the_gateway_takes_the_file(name):
    done = gatehouse(configuration(rendered(name)), "validate", "--no-environment")
    assert done.returncode == 0, done.stderr
    assert "warning" not in done.stderr


@each_set
def test_services_have_the_ports_that_clients_are_told(name):
    wanted = {(port, bound) for _, _, _, port, bound in routes(name)}
    found = set()
    for service in broker_services(rendered(name)):
        on_nodes = service["spec"]["type"] == "NodePort"
        found |= {(port["nodePort" if on_nodes else "port"], port["targetPort"]) for port in service["spec"]["ports"]}
    if name == "own-balancer":
        # Clients are told the ports of a balancer that the cluster does not know.
        wanted, found = ({bound for _, bound in pairs} for pairs in (wanted, found))
    assert found == wanted


@each_set
def test_the_notes_have_the_table(name):
    lines = re.findall(r"^  (\S+) +(\S+):(\d+) +(\(bootstrap\)|\d+) +(\d+)$", notes(name), re.MULTILINE)
    table = [(a, None if node == "(bootstrap)" else int(node), host, int(port), int(bound)) for a, host, port, node, bound in lines]
    wanted = routes(name)
    for listener in {route[0] for route in wanted}:
        all_of_it = [route for route in wanted if route[0] == listener]
        # The hundred names of SNI are cut, and the notes say how many are left out.
        assert [route for route in table if route[0] == listener] == all_of_it[:60]
        assert (f"{listener}: and {len(all_of_it) - 60} more" in notes(name)) == (len(all_of_it) > 60)


@each_set
def test_the_notes_have_the_bootstrap_addresses(name):
    for listener, node, host, port, _ in routes(name):
        if node is None:
            assert f"\n  {host}:{port}   (listener {listener})" in notes(name)


def schema():
    return json.loads((CHART / "values.schema.json").read_text())


def known(text):
    """path → settings that the gateway knows there, by what it answers to a wrong one named `x`."""
    done = gatehouse(text, "validate", "--no-environment", "--output", "json")
    found = {}
    for fault in json.loads(done.stdout or done.stderr):
        if fault["code"] == "GH002" and fault["help"]:
            names = fault["help"].removeprefix("known here: ").split(", ")
            found[fault["path"].removesuffix(".x").removesuffix("x")] = sorted(names)
    return found


def closed(node, path, definitions):
    """path → settings that the schema allows there, of every closed object below a node."""
    node = definitions[node["$ref"].rpartition("/")[2]] if "$ref" in node else node
    found = {}
    for branch in node.get("anyOf", []):
        found |= closed(branch, path, definitions)
    if "properties" in node:
        found[path] = sorted(node["properties"])
        for name, value in node["properties"].items():
            found |= closed(value, f"{path}.{name}" if path else name, definitions)
    if isinstance(node.get("additionalProperties"), dict):
        found |= closed(node["additionalProperties"], f"{path}.a", definitions)
    if isinstance(node.get("items"), dict):
        found |= closed(node["items"], f"{path}[0]", definitions)
    return found


def test_the_schema_knows_the_settings_of_the_gateway():
    """A file with a wrong setting in every place where the schema closes one, read by the gateway."""
    definitions = schema()["$defs"]
    paths = closed(definitions["config"], "", definitions)
    assert len(paths) > 20
    for path, settings in paths.items():
        value = {"x": 1}
        for step in reversed(re.findall(r"[^.\[\]]+|\[0\]", path)):
            value = [value] if step == "[0]" else {step: value}
        assert known(yaml.safe_dump(value)).get(path) == settings, f"config.{path} in values.schema.json"


def test_variables_reach_the_gateway_as_such():
    environment = [{"name": "GATEHOUSE_ADMIN_TOKEN", "valueFrom": {"secretKeyRef": {"name": "a", "key": "b"}}}]
    values = {"config": {"admin": {"token": "${GATEHOUSE_ADMIN_TOKEN}"}, "node": {"id": "${HOSTNAME:-gateway}"}}, "extraEnv": environment}
    text = configuration(render(SETS["minimal"], values))
    assert "token: ${GATEHOUSE_ADMIN_TOKEN}\n" in text and "id: ${HOSTNAME:-gateway}\n" in text
    assert gatehouse(text, "validate").returncode == 0


LISTENER = {"bind": "0.0.0.0:9092", "advertise": "kafka.example.com"}
SNI = {"bind": "0.0.0.0:9443", "tls": {"certificates": {"cert": "a", "key": "b"}}}
HOSTS = ["kafka", "k-0.kafka.svc.", "k_1", "10.0.0.1", "[fd00::1]", "a b", "ä.example.com", "a/b", "${KAFKA}"]
ADDRESSES = [*HOSTS, *(f"{host}:9092" for host in HOSTS), ":9092", "kafka:port", "kafka:9092:9092"]
NAMES = ["a", "A.b-c_9", "9", "a" * 63, "a" * 64, "-a", ".a", "a b", "a/b", "ä"]


def file(bootstrap="k:9092", name="a", **listener):
    return {"clusters": {name: {"bootstrap": bootstrap}}, "listeners": {name: {**LISTENER, **listener}}}


def by_name(bootstrap="kafka.example.com", brokers="b{node}.example.com"):
    return {"clusters": {"a": {"bootstrap": "k:9092"}}, "listeners": {"a": {**SNI, "routing": {"sni": {"bootstrap": bootstrap, "brokers": brokers}}}}}


# Where the schema has a pattern, below `$defs`; what to try; and a file that has it.
IN_SNI = "listener.properties.routing.properties.sni.properties"
PATTERNS = {
    "name": ("name.pattern", NAMES, lambda text: file(name=text)),
    "bootstrap": ("cluster.properties.bootstrap.pattern", ADDRESSES, lambda text: file(text)),
    "broker": ("broker.pattern", ADDRESSES, lambda text: file([text])),
    "advertise": ("listener.properties.advertise.pattern", ADDRESSES, lambda text: file(advertise=text)),
    "sni": (f"{IN_SNI}.bootstrap.pattern", ["k.example.com", "k.example.com:9443", "ä.example.com", "a b", "${KAFKA}"], by_name),
    "pattern": (
        f"{IN_SNI}.brokers.pattern",
        ["b{node}.example.com", "b.example.com", "b{node}.ä.com", "{node}{node}.example.com", "b{node}.${DOMAIN}"],
        lambda text: by_name(brokers=text),
    ),
}


@pytest.mark.parametrize("where, tried, written", PATTERNS.values(), ids=PATTERNS)
def test_the_patterns_of_the_schema_are_the_rules_of_the_gateway(where, tried, written):
    pattern = schema()["$defs"]
    for step in where.split("."):
        pattern = pattern[step]
    answers = {}
    for text in tried:
        done = gatehouse(yaml.safe_dump(written(text), allow_unicode=True, width=1000), "validate", "--no-environment")
        answers[text] = done.returncode == 0
    assert {text: bool(re.search(pattern, text)) for text in tried} == answers
    assert set(answers.values()) == {True, False}


def with_password(password, **more):
    sasl = {"mechanism": "PLAIN", "username": "gatehouse", "password": password}
    return {"config": {"clusters": {"main": {"discovery": {"sasl": sasl}}}, "log": more.pop("log", None)}, **more}


FROM_SECRET = [{"name": "KAFKA_PASSWORD", "valueFrom": {"secretKeyRef": {"name": "a", "key": "b"}}}]
# What the pods have, or can do without.
KEPT_ELSEWHERE = {
    "in a file": with_password({"file": "/etc/gatehouse/login/password"}, mounts={"login": {"secret": "a"}}),
    "in a variable": with_password("${KAFKA_PASSWORD}", extraEnv=FROM_SECRET),
    "in a variable that must be there": with_password("${KAFKA_PASSWORD:?no password}", extraEnv=FROM_SECRET),
    "in a variable by its name": with_password({"env": "KAFKA_PASSWORD"}, extraEnv=FROM_SECRET),
    "in a variable of a whole Secret": with_password("${KAFKA_PASSWORD}", extraEnvFrom=[{"secretRef": {"name": "a"}}]),
    "beside a variable with a default": with_password({"env": "KAFKA_PASSWORD"}, extraEnv=FROM_SECRET, log={"level": "${LEVEL:-info}"}),
    "beside a variable of every container": {"config": {"node": {"id": "${HOSTNAME}"}}},
    "nowhere: text that looks like a variable": {"config": {"node": {"id": "$${TEXT}"}}},
    "nowhere: there is none": {"config": {"admin": {"token": ""}}},
}


@pytest.mark.parametrize("values", KEPT_ELSEWHERE.values(), ids=KEPT_ELSEWHERE)
def test_secrets_that_are_kept_elsewhere_are_taken(values):
    done = gatehouse(configuration(render(SETS["minimal"], values)), "validate", "--no-environment")
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("program", HELMS)
def test_a_secret_that_is_refused_is_not_shown(program):
    with pytest.raises(Refused) as refused:
        render(SETS["minimal"], with_password("hunter2"), program=program)
    assert "hunter2" not in str(refused.value)


def test_the_chart_knows_the_settings_that_hold_secrets():
    """The gateway paints over a secret in what it shows of a file; the chart has a list of names."""
    source = (CHART / "templates/_environment.tpl").read_text()
    listed = set(re.findall(r'"(\w+)"', re.search(r"has \$name \(list ([^)]*)\)", source)[1]))
    definitions = schema()["$defs"]
    settings = {name for names in closed(definitions["config"], "", definitions).values() for name in names}
    assert listed == {name for name in settings if re.search("passw|passphrase|secret|token", name)}


@each_set
def test_the_notes_warn_of_nothing(name):
    assert "WARNING" not in notes(name)


OUTSIDE_THE_PROFILE = {
    "privileged": ({"securityContext": {"privileged": True}}, "securityContext.privileged is true"),
    "more rights": ({"securityContext": {"allowPrivilegeEscalation": True}}, "allowPrivilegeEscalation is not false"),
    "more rights by silence": ({"securityContext": {"allowPrivilegeEscalation": None}}, "allowPrivilegeEscalation is not false"),
    "root": ({"podSecurityContext": {"runAsUser": 0}}, "podSecurityContext.runAsUser is 0"),
    "root in the container": ({"securityContext": {"runAsUser": 0}}, "WARNING: securityContext.runAsUser is 0"),
    "maybe root": ({"podSecurityContext": {"runAsNonRoot": False}}, "runAsNonRoot is not true"),
    "maybe root in the container": ({"securityContext": {"runAsNonRoot": False}}, "runAsNonRoot is not true"),
    "a capability": ({"securityContext": {"capabilities": {"add": ["NET_BIND_SERVICE", "NET_ADMIN"]}}}, "add has NET_ADMIN"),
    "all capabilities": ({"securityContext": {"capabilities": {"drop": None}}}, "drop has not ALL"),
    "all system calls": ({"podSecurityContext": {"seccompProfile": {"type": "Unconfined"}}}, "seccompProfile is not"),
    "a folder of the node": ({"extraVolumes": [{"name": "a", "hostPath": {"path": "/a"}}]}, "has the folder /a of the node"),
}


@pytest.mark.parametrize("values, says", OUTSIDE_THE_PROFILE.values(), ids=OUTSIDE_THE_PROFILE)
def test_the_notes_warn_of_what_the_profile_refuses(values, says):
    lines = [line for line in notes("minimal", values).splitlines() if line.startswith("WARNING: ")]
    assert len(lines) == 1 and says in lines[0], lines


def test_the_one_capability_of_the_profile_is_no_warning():
    assert "WARNING" not in notes("minimal", {"securityContext": {"capabilities": {"add": ["NET_BIND_SERVICE"]}}})


def test_the_notes_warn_of_the_address_of_a_service_of_somebody_else():
    """Of a Gateway in the same namespace, say: the Role allows it, and nothing says whether it is there."""
    values = {"service": {"type": "ClusterIP"}, "config": {"listeners": {"external": {"advertise": {"service": "public"}}}}}
    assert "WARNING: service public, " in notes("discovered", values)
    [role] = [item for item in render(SETS["discovered"], values) if item["kind"] == "Role"]
    assert role["rules"][0]["resourceNames"] == ["public"]


DOCS = CHART.parents[2] / "docs"
BLOCKS = {
    f"{page.stem}-{number}": block
    for page in [DOCS / "kubernetes.md", *sorted((DOCS / "recipes").glob("*.md"))]
    for number, block in enumerate(re.findall(r"^```yaml values\n(.*?)^```", page.read_text(), re.DOTALL | re.MULTILINE))
}


def test_the_pages_have_values():
    assert len(BLOCKS) >= 5


@pytest.mark.parametrize("name", BLOCKS)
def test_values_of_the_pages_are_taken(name):
    text = configuration(render([], yaml.safe_load(BLOCKS[name])))
    done = gatehouse(text, "validate", "--no-environment")
    assert done.returncode == 0, done.stderr


def test_the_record_of_external_dns_is_the_name_that_clients_are_told():
    values = yaml.safe_load(BLOCKS["external-dns-0"])
    [service] = broker_services(render([], values))
    names = {name for key, name in service["metadata"]["annotations"].items() if key.endswith("/hostname")}
    assert names == {listener["advertise"] for listener in values["config"]["listeners"].values()}


def test_an_nlb_checks_the_way_that_it_sends_headers():
    """With PROXY headers its checks bring one, too, which the admin port does not know: only TCP will do then."""
    checked = 0
    for values in [*map(yaml.safe_load, BLOCKS.values()), *(yaml.safe_load(path.read_text()) for path in SETS["eks-nlb"])]:
        annotations = values.get("service", {}).get("annotations", {})
        asks = annotations.get("service.beta.kubernetes.io/aws-load-balancer-healthcheck-protocol")
        if asks:
            checked += 1
            sends = "service.beta.kubernetes.io/aws-load-balancer-proxy-protocol" in annotations
            reads = any("proxy_protocol" in listener for listener in values["config"]["listeners"].values())
            assert sends == reads == (asks == "tcp")
    assert checked == 2
