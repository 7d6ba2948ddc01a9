"""The address that clients are told is the one that the load balancer of the chart's service has.

A real gateway process, with the file that the chart renders and a token of the chart's service account where a pod has it,
in front of the brokers of `gatehouse demo`. What counts is what a client reads in a Metadata response.
"""

import contextlib
import http.client
import re
import socket
import struct
import subprocess

import pytest
import yaml

from chart import GATEHOUSE, SETS
from control_plane import Failed, die_with_parent, own_address, wait_for
from release import Release, discover

# In a mount namespace of its own: nothing of the pod's folders is left on this machine.
AS_A_POD = """
set -e
mount -t tmpfs none /run
mkdir -p /run/secrets/kubernetes.io/serviceaccount
mount --bind "$1" /run/secrets/kubernetes.io/serviceaccount
shift
exec "$@"
"""


@pytest.fixture(scope="module")
def kafka():
    """The bootstrap address of a small Kafka."""
    demo = subprocess.Popen([GATEHOUSE, "demo"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, preexec_fn=die_with_parent)
    for line in demo.stdout:
        found = re.search(r"\blocalhost:\d+", line)
        if found:
            yield found[0]
            break
    else:
        raise AssertionError("the demo did not start")
    demo.kill()
    demo.wait()


class Gateway:
    """A gateway process. `discovering` is the release whose service it follows."""

    def __init__(self, discovering, folder):
        self.discovering = discovering
        self.address, self.claim = own_address()
        self.token_folder = discovering.mount(folder / "serviceaccount")
        self.log = folder / "gateway.log"
        # An address of its own in the place of all of them is the only change.
        self.file = folder / "gatehouse.yaml"
        self.file.write_text(discovering.configuration().replace("0.0.0.0", self.address))

    def __enter__(self):
        command = ["unshare", "--mount", "sh", "-c", AS_A_POD, "pod", self.token_folder, GATEHOUSE, "run", "--config", self.file]
        environment = {"PATH": "/usr/bin:/bin:/usr/sbin:/sbin", "HOME": "/nonexistent", **self.discovering.variables()}
        with open(self.log, "w") as log:
            self.process = subprocess.Popen(
                [*map(str, command)], env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log, preexec_fn=die_with_parent
            )
        wait_for(lambda: self.page("/livez"), "the gateway runs")
        return self

    def __exit__(self, *_):
        running = self.process.poll() is None
        self.process.kill()
        self.process.wait()
        self.claim.close()
        assert running, f"the gateway ended: {self.log.read_text()[-2000:]}"

    def page(self, path):
        """Status and text of an admin page; `Failed` while nobody answers."""
        with contextlib.closing(http.client.HTTPConnection(self.address, 9910, timeout=10)) as connection:
            try:
                connection.request("GET", path)
                answer = connection.getresponse()
                return answer.status, answer.read().decode()
            except (OSError, http.client.HTTPException) as error:
                raise Failed(f"{path}: {error!r}") from error

    def says(self, verdict, words):
        """Whether readiness has such a line."""
        lines = self.page("/readyz?verbose")[1].splitlines()
        return any(line.startswith(verdict) and words in line for line in lines)

    def ready(self):
        return self.page("/readyz")[0] == 200

    def metric(self, name, **labels):
        """The sum of the samples with these labels."""
        found = 0
        for line in self.page("/metrics")[1].splitlines():
            if re.match(rf"{name}(\{{| )", line) and all(f'{key}="{value}"' in line for key, value in labels.items()):
                found += float(line.rpartition(" ")[2])
        return found

    def connect(self):
        return socket.create_connection((self.address, 9092), timeout=30)

    def told(self, connection=None):
        """The hosts that a client is told, as a set; nothing where it is turned away."""
        try:
            with connection.dup() if connection else self.connect() as client:
                hosts = metadata(client)
        except (ConnectionError, EOFError):
            return None
        assert {node: port for node, _, port in hosts} == {0: 9093, 1: 9094, 2: 9095}, hosts
        return {host for _, host, _ in hosts}


def metadata(client):
    """Asks for Metadata, version 1: (node, host, port) of each broker."""
    body = struct.pack(">hhih4si", 3, 1, 7, 4, b"test", 0)
    client.sendall(struct.pack(">i", len(body)) + body)
    [length] = struct.unpack(">i", exactly(client, 4))
    answer = exactly(client, length)
    correlation, count = struct.unpack_from(">ii", answer)
    assert correlation == 7
    at, brokers = 8, []
    for _ in range(count):
        node, length = struct.unpack_from(">ih", answer, at)
        host = answer[at + 6 : at + 6 + length].decode()
        port, rack = struct.unpack_from(">ih", answer, at + 6 + length)
        at += 6 + length + 6 + max(rack, 0)
        brokers.append((node, host, port))
    return brokers


def exactly(client, count):
    data = b""
    while len(data) < count:
        more = client.recv(count - len(data))
        if not more:
            raise EOFError
        data += more
    return data


@pytest.fixture
def discovering(cluster, namespace, kafka):
    """The chart with a listener that says no address, before the brokers of the demo."""
    return discover(Release(cluster, namespace), SETS["discovered"], {"config": {"clusters": {"main": {"bootstrap": [kafka]}}}})


@pytest.fixture
def gateway(discovering, tmp_path):
    with Gateway(discovering, tmp_path) as gateway:
        yield gateway


def until_told(gateway, host):
    wait_for(lambda: gateway.ready() and gateway.told() == {host}, f"clients are told {host}")


def test_the_file_names_the_service(discovering):
    listeners = yaml.safe_load(discovering.configuration())["listeners"]
    assert [listener["advertise"] for listener in listeners.values()] == [{"service": discovering.service}]


def test_waits_is_told_and_follows(gateway, discovering):
    wait_for(lambda: gateway.says("FAIL", "its load balancer has no address"), "readiness says what is awaited")
    assert gateway.page("/readyz")[0] == 503 and gateway.told() is None
    assert gateway.metric("gatehouse_advertised_address_known", listener="external") == 0
    assert gateway.metric("gatehouse_connections_rejected_total", listener="external", reason="no_address") == 1

    discovering.patch_load_balancer([{"ip": "192.0.2.1"}])
    until_told(gateway, "192.0.2.1")
    assert gateway.metric("gatehouse_advertised_address_known", listener="external") == 1
    assert gateway.metric("gatehouse_advertised_address_changes_total", listener="external") == 0

    # A host name wins over an address, and a connection that is open hears of it.
    with gateway.connect() as client:
        assert gateway.told(client) == {"192.0.2.1"}
        discovering.patch_load_balancer([{"ip": "192.0.2.1"}, {"hostname": "lb.example.com"}])
        wait_for(lambda: gateway.told(client) == {"lb.example.com"}, "an open connection is told the name")
    assert gateway.metric("gatehouse_advertised_address_changes_total", listener="external") == 1

    discovering.patch_load_balancer([{"ip": "2001:db8::7"}])
    until_told(gateway, "2001:db8::7")

    # Taken away: clients go on with the last one.
    discovering.patch_load_balancer([])
    wait_for(lambda: gateway.says("warn", "clients are told 2001:db8::7 still"), "readiness says that it is an old one")
    assert gateway.ready() and gateway.told() == {"2001:db8::7"}
    assert gateway.metric("gatehouse_advertised_address_stale", listener="external") == 1
    discovering.patch_load_balancer([{"hostname": "back.example.com"}])
    until_told(gateway, "back.example.com")
    assert gateway.metric("gatehouse_advertised_address_stale", listener="external") == 0
    assert "clients are told this advertised address from now on" in gateway.log.read_text()


def test_outlives_the_api_server(gateway, discovering, cluster):
    discovering.patch_load_balancer([{"hostname": "lb.example.com"}])
    until_told(gateway, "lb.example.com")
    cluster.stop_api_server()
    wait_for(lambda: gateway.says("warn", "the Kubernetes API cannot be reached"), "readiness says that the API is away")
    assert gateway.ready() and gateway.told() == {"lb.example.com"}
    assert gateway.metric("gatehouse_advertised_address_errors_total", reason="unreachable") > 0
    cluster.start_api_server()
    discovering.patch_load_balancer([{"hostname": "next.example.com"}])
    until_told(gateway, "next.example.com")
    wait_for(lambda: gateway.says("ok", "the address of service"), "readiness is right again")


def test_a_gateway_that_starts_before_the_api_server_waits_for_it(discovering, cluster, tmp_path):
    discovering.patch_load_balancer([{"hostname": "lb.example.com"}])
    gateway = Gateway(discovering, tmp_path)
    cluster.stop_api_server()
    with gateway:
        wait_for(lambda: gateway.says("FAIL", "the Kubernetes API cannot be reached"), "readiness says why it waits")
        assert gateway.told() is None
        cluster.start_api_server()
        until_told(gateway, "lb.example.com")


def test_an_expired_watch_begins_anew(gateway, discovering, cluster):
    """The version that the watch was at is gone, and so is the connection: a list comes first. The 410 that a server says on a
    connection that holds is in `tests/it`."""
    discovering.patch_load_balancer([{"hostname": "lb.example.com"}])
    until_told(gateway, "lb.example.com")
    cluster.expire_watches()
    discovering.patch_load_balancer([{"hostname": "after.example.com"}])
    until_told(gateway, "after.example.com")
    wait_for(lambda: gateway.says("ok", "the address of service"), "readiness is right again")


def test_a_right_that_is_missing_is_named_and_awaited(discovering, cluster, tmp_path):
    discovering.patch_load_balancer([{"hostname": "lb.example.com"}])
    discovering.allow(False)
    with Gateway(discovering, tmp_path) as gateway:
        rule = f"resourceNames: [{discovering.service}], verbs: [get, list, watch]"
        wait_for(lambda: gateway.says("FAIL", rule), "readiness says what the Role needs")
        assert gateway.told() is None and gateway.metric("gatehouse_advertised_address_errors_total", reason="forbidden") > 0
        discovering.allow(True)
        until_told(gateway, "lb.example.com")
        # Taken away again. That is noticed when the watch that is open ends, within a minute, or here by force.
        discovering.allow(False)
        cluster.restart_api_server()
        wait_for(lambda: gateway.says("warn", "(403)"), "readiness says that the right is gone")
        assert gateway.ready() and gateway.told() == {"lb.example.com"}


def test_a_token_that_was_replaced_is_read(gateway, discovering, cluster):
    discovering.patch_load_balancer([{"hostname": "lb.example.com"}])
    until_told(gateway, "lb.example.com")
    # Tokens are of one account and end with it; the new one has the same name and the same right.
    account = cluster.get("serviceaccount", discovering.account, discovering.namespace)
    cluster.kubectl("delete", "serviceaccount", discovering.account, "--namespace", discovering.namespace)
    metadata = {"name": discovering.account, "namespace": discovering.namespace, "labels": account["metadata"]["labels"]}
    cluster.apply({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": metadata})
    cluster.restart_api_server()
    wait_for(lambda: gateway.says("warn", "does not take the token of the service account (401)"), "the old token is refused")
    assert gateway.ready() and gateway.told() == {"lb.example.com"}
    discovering.mount(gateway.token_folder)
    discovering.patch_load_balancer([{"hostname": "next.example.com"}])
    until_told(gateway, "next.example.com")


def test_check_tries_what_following_takes(discovering, tmp_path):
    gateway = Gateway(discovering, tmp_path)

    def check():
        command = ["unshare", "--mount", "sh", "-c", AS_A_POD, "pod", gateway.token_folder, GATEHOUSE, "check", "--config", gateway.file]
        environment = {"PATH": "/usr/bin:/bin:/usr/sbin:/sbin", "HOME": "/nonexistent", **discovering.variables()}
        done = subprocess.run([*map(str, command)], env=environment, capture_output=True, text=True)
        return done.stdout + done.stderr

    assert "GH148" in check()
    discovering.patch_load_balancer([{"hostname": "lb.example.com"}])
    assert "has the address lb.example.com, which clients are told" in check()
    discovering.allow(False)
    said = check()
    assert "GH149" in said and f"resourceNames: [{discovering.service}]" in said
    gateway.claim.close()
