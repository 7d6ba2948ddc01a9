"""What `gatehouse generate kubernetes` prints, applied as its first lines say: the server takes it, and pods come up."""

import shlex
import subprocess

import pytest

from chart import GATEHOUSE, broker_services, configuration, rendered
from control_plane import TOOLS, ready

# A load balancer, node ports, files and names of a cluster by Strimzi, an address that the service says.
SETS = ["minimal", "nodeport", "strimzi", "discovered"]


@pytest.mark.parametrize("name", SETS)
def test_applied(cluster, namespace, name, tmp_path):
    chart = rendered(name)
    kind = broker_services(chart)[0]["spec"]["type"]
    command = [GATEHOUSE, "generate", "kubernetes", "--config", "-", "--name", "gw-gatehouse", "--namespace", namespace, "--type", kind]
    text = subprocess.run(command, input=configuration(chart), check=True, capture_output=True, text=True).stdout
    for line in text.splitlines():
        if line.startswith("#   kubectl "):
            create_secret(cluster, shlex.split(line)[2:], tmp_path)
    cluster.kubectl("apply", "--validate=strict", "--filename=-", input=text)
    cluster.kubectl("rollout", "status", "deployment/gw-gatehouse", "--namespace", namespace, "--timeout=300s")
    pods = cluster.list("pods", namespace)
    assert len(pods) == 2 and all(ready(pod) for pod in pods)
    secrets = {item["metadata"]["name"] for item in cluster.list("secrets", namespace)}
    named = {volume["secret"]["secretName"] for volume in pods[0]["spec"]["volumes"] if "secret" in volume}
    assert named == secrets, "the commands make what is mounted"


def create_secret(cluster, arguments, folder):
    """Runs the command with files that have the names it wants."""
    for argument in arguments:
        flag, _, value = argument.partition("=")
        if flag == "--from-file":
            path = folder / value / "ca.crt" if value.endswith("/") else folder / value
            path.parent.mkdir(exist_ok=True)
            path.write_text("x")
    subprocess.run([TOOLS["KUBECTL"], "--kubeconfig", cluster.kubeconfig, *arguments], check=True, cwd=folder, capture_output=True)
