"""The chart in a real cluster: installed, upgraded, rolled back and taken out again by Helm."""

import concurrent.futures
import dataclasses
import json
import os

from chart import CHART, HELMS
from control_plane import PATIENCE, ControlPlane, Failed, ready, run, wait_for

# Of the chart's default ten seconds between ready and available, nothing is waited for unless a test is about them.
QUICK = {"minReadySeconds": 0}
BALANCER = [{"ip": "192.0.2.10"}]


def selector(name="gw"):
    """Labels of the gateway's own pods."""
    return {"app.kubernetes.io/name": "gatehouse", "app.kubernetes.io/instance": name}


@dataclasses.dataclass
class Release:
    """A name for a release, which may not be there yet; `program` is one of the Helms."""

    cluster: ControlPlane
    namespace: str
    program: str = HELMS[1]
    name: str = "gw"

    def helm(self, *arguments, input=None):
        environment = {"KUBECONFIG": str(self.cluster.kubeconfig), "HELM_CACHE_HOME": "/nonexistent"}
        return run(self.program, *arguments, "--namespace", self.namespace, input=input, environment=environment)

    def _deploy(self, command, files, values, options):
        more = [option for path in files for option in ("--values", path)] + ["--values", "-"]
        arguments = [command, self.name, CHART, *more, "--timeout", f"{PATIENCE}s", *options]
        with concurrent.futures.ThreadPoolExecutor() as pool:
            waiting = pool.submit(self.helm, *arguments, input=json.dumps(values))
            while not waiting.done():
                if "--wait" in options:
                    self.give_addresses()
                concurrent.futures.wait([waiting], timeout=0.2)
            return waiting.result()

    def install(self, files, values=None, options=("--wait",)):
        """Values come on top of those of the files."""
        return self._deploy("install", files, {**QUICK, **(values or {})}, options)

    def upgrade(self, files, values=None, options=("--wait",)):
        return self._deploy("upgrade", files, {**QUICK, **(values or {})}, options)

    def give_addresses(self):
        """Plays the cloud: Helm waits until a load balancer has an address."""
        for service in self.cluster.list("services", self.namespace):
            if service["spec"]["type"] == "LoadBalancer" and not service["status"]["loadBalancer"]:
                self.cluster.patch_load_balancer(self.namespace, service["metadata"]["name"], BALANCER)

    def pods(self):
        """Names of the gateway's pods that are ready and stay."""
        found = self.cluster.list("pods", self.namespace, **selector(self.name))
        return sorted(pod["metadata"]["name"] for pod in found if ready(pod) and "deletionTimestamp" not in pod["metadata"])

    def service(self, name=None):
        return self.cluster.get("service", name or f"{self.name}-gatehouse", self.namespace)

    def endpoints(self, service):
        """(port, address of a pod that is ready) of every connection that a service leads to."""
        found = self.cluster.list("endpointslices", self.namespace, **{"kubernetes.io/service-name": service})
        return {
            (port["port"], address)
            for part in found
            if part["addressType"] == "IPv4"
            for port in part["ports"] or []
            for endpoint in part["endpoints"] or []
            if endpoint["conditions"]["ready"]
            for address in endpoint["addresses"]
        }


@dataclasses.dataclass
class Discovering:
    """A chart installed with discovery, and what the gateway finds in its pod: for a gateway that the test starts."""

    release: Release
    service: str  # the LoadBalancer service, without an address until patch_load_balancer
    account: str  # the service account of the pods, allowed what the chart's Role allows

    @property
    def cluster(self):
        return self.release.cluster

    @property
    def namespace(self):
        return self.release.namespace

    def token(self, duration="1h"):
        """A fresh token, as the kubelet writes to /var/run/secrets/kubernetes.io/serviceaccount/token."""
        return self.cluster.token(self.namespace, self.account, duration)

    def variables(self):
        """By which a pod finds the API server."""
        return {"KUBERNETES_SERVICE_HOST": self.cluster.host, "KUBERNETES_SERVICE_PORT": str(self.cluster.port)}

    def mount(self, folder):
        """Fills a folder as the chart's volume `kubernetes-token` does: token, ca.crt, namespace."""
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "ca.crt").write_bytes(self.cluster.ca.read_bytes())
        (folder / "namespace").write_text(self.namespace)
        replace(folder / "token", self.token())
        return folder

    def configuration(self):
        """The text of gatehouse.yaml that the pods have."""
        return self.cluster.get("configmap", self.service, self.namespace)["data"]["gatehouse.yaml"]

    def patch_load_balancer(self, ingress):
        self.cluster.patch_load_balancer(self.namespace, self.service, ingress)

    def allow(self, allowed):
        """Takes the account's right away, or gives it back: the chart's RoleBinding goes or comes."""
        name = f"{self.service}-discovery"
        if allowed:
            role = {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": name}
            subjects = [{"kind": "ServiceAccount", "name": self.account, "namespace": self.namespace}]
            metadata = {"name": name, "namespace": self.namespace}
            self.cluster.apply(
                {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding", "metadata": metadata, "roleRef": role, "subjects": subjects},
                options=["--force-conflicts"],
            )
        else:
            self.cluster.kubectl("delete", "rolebinding", name, "--namespace", self.namespace)
        who = f"system:serviceaccount:{self.namespace}:{self.account}"
        asked = ["get", f"services/{self.service}", "--namespace", self.namespace]
        wait_for(lambda: can(self.cluster, who, *asked) == allowed, "the right changed")


def discover(release, files, values=None):
    """Installs the chart with discovery; not waited for, because Helm would wait for the load balancer's address."""
    release.install(files, {**(values or {}), "discovery": {"kubernetes": {"enabled": True}}}, options=[])
    name = release.service()["metadata"]["name"]
    [pods] = release.cluster.list("deployments", release.namespace, **selector(release.name))
    return Discovering(release, name, pods["spec"]["template"]["spec"]["serviceAccountName"])


def can(cluster, account, *question):
    """What `kubectl auth can-i` answers for a service account; it ends with 1 on a no."""
    try:
        return cluster.kubectl("auth", "can-i", *question, "--as", account).strip() == "yes"
    except Failed as failed:
        if str(failed).strip().endswith("no"):
            return False
        raise


def replace(path, text):
    """As a kubelet does: a reader sees the old file or the new one."""
    fresh = path.with_name(path.name + ".new")
    fresh.write_text(text)
    os.replace(fresh, path)
