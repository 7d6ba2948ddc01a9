"""Finds NAME.kafka.svc as in a pod of the chart: unshare --mount --net tests/resolver.py PROGRAM, as root.

The static binaries bring a resolver of their own (musl), which never adds `cluster.local` to a name with `ndots` dots.
"""

import pathlib
import socket
import struct
import subprocess
import sys
import tempfile
import threading

import yaml

ROOT = pathlib.Path(__file__).parents[1]
ASKED = "main-kafka-bootstrap.kafka.svc"
KNOWN = f"{ASKED}.cluster.local"
# In a network of its own every port is free.
FILE = f"""
clusters: {{ main: {{ bootstrap: ["{ASKED}:9092"] }} }}
listeners: {{ external: {{ bind: 127.0.0.1:19092, advertise: 127.0.0.1 }} }}
"""


def configuration():
    """What a kubelet writes for the namespace `gateway`, with what the chart has to say of it."""
    chart = yaml.safe_load((ROOT / "deploy/helm/gatehouse/values.yaml").read_text())["dnsConfig"]
    options = {"ndots": "5"} | {option["name"]: option.get("value", "") for option in chart.get("options", [])}
    options = " ".join(f"{name}:{value}" for name, value in options.items())
    return f"nameserver 127.0.0.1\nsearch gateway.svc.cluster.local svc.cluster.local cluster.local\noptions {options}\n"


def answer(query):
    """The response of a DNS server that knows one address (RFC 1035, section 4)."""
    labels, at = [], 12
    while length := query[at]:
        labels.append(query[at + 1 : at + 1 + length].decode())
        at += 1 + length
    known = ".".join(labels) == KNOWN
    (kind,) = struct.unpack(">H", query[at + 1 : at + 3])
    address = known and kind == 1
    head = query[:2] + struct.pack(">HHHHH", 0x8580 if known else 0x8583, 1, address, 0, 0)
    record = struct.pack(">HHHIH4B", 0xC00C, 1, 1, 60, 4, 127, 0, 0, 1) if address else b""
    return head + query[12 : at + 5] + record


def serve(server):
    while True:
        query, client = server.recvfrom(512)
        server.sendto(answer(query), client)


def main(program):
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        (folder / "resolv.conf").write_text(configuration())
        (folder / "gatehouse.yaml").write_text(FILE)
        for command in (
            ["ip", "link", "set", "lo", "up"],
            ["mount", "--bind", folder / "resolv.conf", "/etc/resolv.conf"],
        ):
            subprocess.run(command, check=True)
        server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        server.bind(("127.0.0.1", 53))
        threading.Thread(target=serve, args=[server], daemon=True).start()
        command = [program, "check", "--config", folder / "gatehouse.yaml"]
        said = subprocess.run(command, capture_output=True, text=True, timeout=120)
    # GH102: the name was found, and nobody listens there. GH101: it was not found.
    if "GH102" not in said.stdout or "GH101" in said.stdout:
        sys.exit(f"{ASKED} is not found in a pod:\n{said.stdout}{said.stderr}")


main(*sys.argv[1:])
