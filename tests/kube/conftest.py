"""One control plane for all tests, a namespace for each.

For tests of the gateway's discovery (`discovering`): the chart is installed and its service has no address yet. Start a
gateway with `discovering.variables()` in its environment, `discovering.mount(FOLDER)` as its token folder and
`discovering.configuration()` as its file; then

    discovering.patch_load_balancer([{"hostname": "lb.example.com"}])     # a cloud gives, changes or ([]) takes it
    discovering.cluster.restart_api_server()                              # same address, certificate and state
    discovering.cluster.stop_api_server(); ...; discovering.cluster.start_api_server()
    discovering.cluster.expire_watches()                                  # the watch goes on from a version that is gone: 410
    discovering.allow(False); discovering.allow(True)                     # the right of the service account: 403 without
    discovering.mount(FOLDER)                                             # writes a fresh token; `token("10m")` for a short one
    wait_for(lambda: ..., "what should happen")                           # from control_plane: never sleep
"""

import itertools
import os
import shutil

import pytest

from chart import SETS
from control_plane import ControlPlane
from release import Release, discover

NUMBERS = itertools.count(1)


@pytest.fixture(scope="session")
def cluster(request):
    with ControlPlane() as cluster:
        cluster.kubectl("apply", "--server-side", "--validate=strict", "--filename", os.environ["CRDS"])
        cluster.kubectl("wait", "--for=condition=Established", "--timeout=300s", "customresourcedefinitions", "--all")
        yield cluster
    if request.session.testsfailed:
        print(f"\nlogs of the control plane: {cluster.folder}")
    else:
        shutil.rmtree(cluster.folder)


@pytest.fixture
def new_namespace(cluster):
    """Makes namespaces in which pods must keep to the profile `restricted`."""
    made = []

    def make():
        made.append(cluster.namespace(f"test-{next(NUMBERS)}"))
        return made[-1]

    yield make
    if "APISERVER" not in cluster.processes:
        # A test that failed left it stopped.
        cluster.start_api_server()
    for name in made:
        # Node ports are those of the whole cluster, so services are gone when the next test begins.
        cluster.kubectl("delete", "services", "--all", "--namespace", name)
        cluster.kubectl("delete", "namespace", name, "--wait=false")


@pytest.fixture
def namespace(new_namespace):
    return new_namespace()


@pytest.fixture
def discovering(cluster, namespace):
    """The chart with discovery.kubernetes.enabled, as release `gw`; the load balancer has no address yet."""
    return discover(Release(cluster, namespace), SETS["discovered"])
