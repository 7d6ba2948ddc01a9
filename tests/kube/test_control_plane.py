"""The control plane is what the other tests take it for: it refuses, it forgets, it is the same after a restart."""

import http.client
import json
import ssl

import pytest

from control_plane import Failed
from release import can


def watch(discovering, version):
    """The first answer to a watch from a version on: (status, event)."""
    context = ssl.create_default_context(cafile=discovering.cluster.ca)
    cluster = discovering.cluster
    connection = http.client.HTTPSConnection(cluster.host, cluster.port, context=context)
    field = f"fieldSelector=metadata.name%3D{discovering.service}"
    path = f"/api/v1/namespaces/{discovering.namespace}/services?watch=1&timeoutSeconds=5&{field}&resourceVersion={version}"
    connection.request("GET", path, headers={"Authorization": f"Bearer {discovering.token()}"})
    answer = connection.getresponse()
    return answer.status, json.loads(answer.readline() or "null")


def version(discovering):
    return discovering.release.service()["metadata"]["resourceVersion"]


def test_a_watch_goes_on_where_it_was(discovering):
    before = version(discovering)
    discovering.patch_load_balancer([{"hostname": "lb.example.com"}])
    status, event = watch(discovering, before)
    assert status == 200 and event["type"] == "MODIFIED"
    assert event["object"]["status"]["loadBalancer"]["ingress"] == [{"hostname": "lb.example.com"}]


def test_a_watch_from_what_is_forgotten_gets_410(discovering):
    before = version(discovering)
    discovering.cluster.expire_watches()
    status, event = watch(discovering, before)
    # As an event: the watch itself begins well.
    assert (status, event["type"], event["object"]["code"]) == (200, "ERROR", 410)
    assert version(discovering) == before


def test_a_restart_keeps_everything(discovering):
    token, before = discovering.token(), version(discovering)
    discovering.cluster.restart_api_server()
    assert version(discovering) == before
    assert discovering.cluster.kubectl("auth", "whoami", "--token", token)


def test_the_account_may_do_what_the_role_says(discovering):
    status, _ = watch(discovering, version(discovering))
    assert status == 200
    who = f"system:serviceaccount:{discovering.namespace}:{discovering.account}"
    for no in ["get services/kubernetes", "list services", "update services/gw-gatehouse", "get secrets", "get pods"]:
        assert not can(discovering.cluster, who, *no.split(), "--namespace", discovering.namespace), no
    discovering.allow(False)
    status, answer = watch(discovering, version(discovering))
    assert status == 403 and discovering.service in answer["message"]
    discovering.allow(True)
    status, _ = watch(discovering, version(discovering))
    assert status == 200


def test_unknown_fields_are_refused(cluster, namespace):
    service = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "a", "namespace": namespace}, "spec": {"selectorr": {}}}
    with pytest.raises(Failed, match="selectorr"):
        cluster.apply(service)
