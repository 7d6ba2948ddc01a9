"""A real control plane of Kubernetes as plain processes, without containers: etcd, API server, controllers, scheduler.

kwok plays the nodes: pods are admitted, scheduled and become ready, and nothing runs in them. What needs the process
itself (probes, mounted files, `helm test`, which never ends here) is not shown by a pod of this cluster.
"""

import ctypes
import json
import os
import pathlib
import random
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import urllib.error
import urllib.request

TOOLS = {name: os.environ[name] for name in ["ETCD", "APISERVER", "CONTROLLERS", "SCHEDULER", "KWOK", "KWOK_STAGES", "KUBECTL"]}
NODES = {"node-a": "zone-1", "node-b": "zone-1", "node-c": "zone-2"}
PATIENCE = 300  # seconds until a condition counts as never met: only a failure waits so long

KUBECONFIG = """
apiVersion: v1
kind: Config
current-context: test
contexts: [{{name: test, context: {{cluster: test, user: admin}}}}]
clusters: [{{name: test, cluster: {{server: "{server}", certificate-authority: {ca}}}}}]
users: [{{name: admin, user: {{token: {token}}}}}]
"""


class Failed(Exception):
    """A program said no; the text is what it said."""


def wait_for(condition, what):
    """The first true value that `condition` gives. An exception of `Failed` is a no."""
    end, last = time.monotonic() + PATIENCE, None
    while time.monotonic() < end:
        try:
            value = condition()
            if value:
                return value
            last = value
        except Failed as failed:
            last = failed
        time.sleep(0.1)
    raise AssertionError(f"never: {what}; last seen: {last}")


def run(*command, input=None, environment=None):
    done = subprocess.run([*map(str, command)], input=input, capture_output=True, text=True, env={**os.environ, **(environment or {})})
    if done.returncode != 0:
        raise Failed(done.stderr + done.stdout)
    return done.stdout


def own_address():
    """An address of the loopback network for this run alone, and the socket that keeps it: ports need no choice then."""
    while True:
        address = f"127.{random.randint(200, 249)}.{random.randint(0, 255)}.{random.randint(1, 254)}"
        claim = socket.socket()
        try:
            claim.bind((address, 1024))
            claim.listen()
            return address, claim
        except OSError:
            claim.close()


def die_with_parent():
    """In the new process: the kernel ends it when the test ends, however that happens."""
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)


class ControlPlane:
    """Started on entry, gone on exit. `api` is the URL, `ca` the file to trust, `kubeconfig` that of an administrator."""

    def __init__(self):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="gatehouse-kube-"))
        self.address, self.claim = own_address()
        self.host, self.port = self.address, 6443
        self.api = f"https://{self.address}:{self.port}"
        self.ca = self.folder / "certs/apiserver.crt"
        self.kubeconfig = self.folder / "kubeconfig"
        self.processes = {}

    def __enter__(self):
        try:
            self._start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_):
        self.stop()

    def _start(self):
        run("openssl", "genrsa", "-out", self.folder / "accounts.key", "2048")
        (self.folder / "tokens.csv").write_text("admin-token,admin,admin,system:masters\n")
        self.kubeconfig.write_text(KUBECONFIG.format(server=self.api, ca=self.ca, token="admin-token"))
        clients, peers = f"http://{self.address}:2379", f"http://{self.address}:2380"
        self._launch(
            "ETCD", "--data-dir", self.folder / "etcd", "--unsafe-no-fsync",
            "--listen-client-urls", clients, "--advertise-client-urls", clients,
            "--listen-peer-urls", peers, "--initial-advertise-peer-urls", peers, "--initial-cluster", f"default={peers}",
        )  # fmt: skip
        self.start_api_server()
        self.apply(*[node(name, zone) for name, zone in NODES.items()])
        wait_for(lambda: all(ready(item) for item in self.list("nodes")), "nodes are ready")

    def _launch(self, tool, *arguments):
        with open(self.folder / f"{tool.lower()}.log", "ab") as log:
            command = [TOOLS[tool], *map(str, arguments)]
            self.processes[tool] = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=self.folder, preexec_fn=die_with_parent
            )

    def start_api_server(self):
        key = self.folder / "accounts.key"
        self._launch(
            "APISERVER", "--etcd-servers", f"http://{self.address}:2379", "--bind-address", self.address, "--advertise-address", self.address,
            "--secure-port", self.port, "--cert-dir", self.folder / "certs", "--service-account-issuer=https://kubernetes.default.svc",
            "--service-account-key-file", key, "--service-account-signing-key-file", key, "--token-auth-file", self.folder / "tokens.csv",
            "--authorization-mode=RBAC", "--service-cluster-ip-range=10.96.0.0/16,fd00:10:96::/112", "--endpoint-reconciler-type=none",
        )  # fmt: skip
        wait_for(lambda: self.kubectl("get", "--raw", "/readyz"), "the API server is ready")
        self._start_controllers()

    def _start_controllers(self):
        """Anew, if they run: who found no API server asks less and less often, in the end once in a minute."""
        for tool in ["CONTROLLERS", "SCHEDULER", "KWOK"]:
            self._kill(tool)
        # Neither serves anything: port 0.
        options = ["--kubeconfig", self.kubeconfig, "--leader-elect=false", "--secure-port=0"]
        keys = ["--service-account-private-key-file", self.folder / "accounts.key", "--root-ca-file", self.ca]
        self._launch("CONTROLLERS", *options, *keys, "--horizontal-pod-autoscaler-sync-period=1s")
        self._launch("SCHEDULER", *options)
        server = f"--server-address={self.address}:10247"
        self._launch("KWOK", "--kubeconfig", self.kubeconfig, "--manage-all-nodes", "--node-ip", self.address, server, "-c", TOOLS["KWOK_STAGES"])

    def _kill(self, tool):
        if process := self.processes.pop(tool, None):
            process.kill()
            process.wait()

    def stop_api_server(self):
        """Clients lose their connections and find nobody at the address."""
        self._kill("APISERVER")

    def restart_api_server(self):
        """The same address, certificate and state; the history of watches before it is not kept in memory."""
        self.stop_api_server()
        self.start_api_server()

    def expire_watches(self):
        """Makes the API server forget what was before: a watch that goes on from an older version gets 410 Gone."""
        self.stop_api_server()
        etcd = f"http://{self.address}:2379/v3/kv"
        revision = post(f"{etcd}/range", {"key": "AA=="})["header"]["revision"]
        # One version on, so that even what was changed last is older than what is kept.
        later = post(f"{etcd}/put", {"key": "AA==", "value": ""})["header"]["revision"]
        assert int(later) > int(revision)
        post(f"{etcd}/compaction", {"revision": later, "physical": True})
        self.start_api_server()

    def stop(self):
        for process in self.processes.values():
            process.kill()
        for process in self.processes.values():
            process.wait()
        self.processes.clear()
        self.claim.close()
        shutil.rmtree(self.folder / "etcd", ignore_errors=True)

    def died(self):
        """Parts that ended by themselves, with the end of their log."""
        return {
            tool: (self.folder / f"{tool.lower()}.log").read_text()[-2000:]
            for tool, process in self.processes.items()
            if process.poll() is not None
        }

    def kubectl(self, *arguments, input=None):
        died = self.died()
        assert not died, died
        return run(TOOLS["KUBECTL"], "--kubeconfig", self.kubeconfig, *arguments, input=input)

    def get(self, kind, name, namespace=None):
        return json.loads(self.kubectl("get", kind, name, "--output=json", *within(namespace)))

    def list(self, kind, namespace=None, **labels):
        """All objects of a kind, or those with labels (`_` in a name of one is not wanted: pass a dict by `**`)."""
        selector = ["--selector", ",".join(f"{key}={value}" for key, value in labels.items())] if labels else []
        return json.loads(self.kubectl("get", kind, "--output=json", *selector, *within(namespace)))["items"]

    def apply(self, *objects, options=()):
        """Applied by the server, which refuses a field that it does not know."""
        everything = json.dumps({"apiVersion": "v1", "kind": "List", "items": objects})
        return self.kubectl("apply", "--server-side", "--validate=strict", *options, "--filename=-", input=everything)

    def namespace(self, name):
        """A new one in which no pod may have more rights than the profile `restricted` gives."""
        labels = {"pod-security.kubernetes.io/enforce": "restricted", "pod-security.kubernetes.io/warn": "restricted"}
        self.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}})
        # Two controllers put something into it, each in its own time.
        for kind, made in [("serviceaccount", "default"), ("configmap", "kube-root-ca.crt")]:
            wait_for(lambda: self.get(kind, made, name), f"the namespace has its {kind}")
        return name

    def token(self, namespace, account, duration="1h"):
        """What a kubelet would mount into a pod of that service account."""
        return self.kubectl("create", "token", account, "--duration", duration, *within(namespace)).strip()

    def patch_load_balancer(self, namespace, service, ingress):
        """Does what a cloud does: `ingress` as [{"ip": …}] or [{"hostname": …}]; [] takes the address away."""
        status = json.dumps({"status": {"loadBalancer": {"ingress": ingress}}})
        self.kubectl("patch", "service", service, "--subresource=status", "--type=merge", "--patch", status, *within(namespace))


def within(namespace):
    return ["--namespace", namespace] if namespace else []


def post(url, body):
    request = urllib.request.Request(url, json.dumps(body).encode(), {"Content-Type": "application/json"})
    try:
        with urllib.request.urlopen(request) as answer:
            return json.load(answer)
    except urllib.error.HTTPError as error:
        raise Failed(error.read().decode()) from error


def node(name, zone):
    size = {"cpu": "8", "memory": "32Gi", "pods": "110"}
    labels = {"kubernetes.io/hostname": name, "topology.kubernetes.io/zone": zone, "kubernetes.io/os": "linux"}
    status = {"allocatable": size, "capacity": size}
    return {"apiVersion": "v1", "kind": "Node", "metadata": {"name": name, "labels": labels}, "status": status}


def ready(item):
    """Whether a node or a pod says so of itself."""
    conditions = item.get("status", {}).get("conditions", [])
    return any(each["type"] == "Ready" and each["status"] == "True" for each in conditions)
