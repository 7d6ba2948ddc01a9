"""A real Prometheus beside a real gateway under traffic: the rules load, and every panel shows something."""

import concurrent.futures
import contextlib
import json
import random
import re
import shutil
import signal
import socket
import ssl
import struct
import subprocess
import threading
import time
import urllib.error
import urllib.parse
import urllib.request

import pytest
import yaml

from expressions import ALERTS, FILES, GATEHOUSE, of_board

# Only what goes wrong with a broker or a configuration fills these.
EMPTY = {"Dials that fail", "new configuration", "configuration refused", "stops"}
# Series of what a demo does not have: TLS to the brokers, an address that a Service says.
WITHOUT = ("gatehouse_upstream_tls_unverified", "gatehouse_advertised_address_")


def until(what, condition, seconds=120):
    """Waits for a condition, which may fail with an error of the network, and gives back what it found."""
    deadline, last = time.monotonic() + seconds, None
    while time.monotonic() < deadline:
        try:
            last = condition()
            if last:
                return last
        except OSError as error:
            last = error
        threading.Event().wait(0.25)
    raise AssertionError(f"waited for {what}: {last}")


def own_address():
    """An address of the loopback network for this run alone, and the socket that keeps it, as in `tests/kube`."""
    while True:
        address = f"127.{random.randint(200, 249)}.{random.randint(0, 255)}.{random.randint(1, 254)}"
        with contextlib.suppress(OSError):
            return address, socket.create_server((address, 1024))


def get(url):
    with urllib.request.urlopen(url, timeout=5) as answer:
        return answer.read().decode()


class Process:
    """A program that ends with the test; its output is in a file."""

    def __init__(self, out, *command):
        self.out = out
        self.process = subprocess.Popen([*map(str, command)], stdout=out.open("wb"), stderr=subprocess.STDOUT, cwd=out.parent)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


@pytest.fixture(scope="module")
def scene(tmp_path_factory):
    """(port of the gateway, question to Prometheus)."""
    folder = tmp_path_factory.mktemp("live")
    program = shutil.which("prometheus")
    assert program, "prometheus is missing: apt-get install prometheus"
    address, claim = own_address()
    # Not 9090, which a Prometheus of this machine has on all addresses.
    web = f"{address}:19090"

    def ask(path, **parameters):
        text = get(f"http://{web}/api/v1/{path}?{urllib.parse.urlencode(parameters)}")
        return json.loads(text)["data"]

    flags = ["--config.file", folder / "prometheus.yml", "--storage.tsdb.path", folder / "data", f"--web.listen-address={web}"]
    with claim, Process(folder / "gatehouse.log", GATEHOUSE, "demo", "--tls") as demo:
        # It takes the first ports that are free, and prints them.
        printed = re.compile(r"gateway: +localhost:(\d+) .*? http://(127\.0\.0\.1:\d+)/", re.DOTALL)
        port, admin = until("what the demo prints", lambda: printed.search(demo.out.read_text())).groups()
        settings = {
            "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
            "rule_files": [str(FILES / "alerts.yaml")],
            "scrape_configs": [{"job_name": "gatehouse", "static_configs": [{"targets": [admin]}]}],
        }
        (folder / "prometheus.yml").write_text(yaml.safe_dump(settings))
        until("the demo", lambda: "ready" in get(f"http://{admin}/readyz?verbose"))
        with Process(folder / "prometheus.log", program, *flags):
            until("a scrape", lambda: ask("query", query="gatehouse_ready")["result"])
            yield int(port), ask
        assert demo.process.poll() is None


def disturb(port, stop):
    """Clients as they come and go: one speaks no TLS, one no Kafka behind it, one asks for all topics and leaves."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    http = b"GET / HTTP/1.1\r\nhost: localhost\r\n\r\n"
    metadata = struct.pack(">hhihi", 3, 1, 7, -1, -1)
    while not stop.wait(0.5):
        for encrypted, request in [(False, http), (True, http), (True, struct.pack(">i", len(metadata)) + metadata)]:
            # The gateway may hang up on each of them, but it is there.
            with socket.create_connection(("localhost", port), timeout=5) as plain, contextlib.suppress(OSError):
                with context.wrap_socket(plain) if encrypted else plain as stream:
                    stream.sendall(request)
                    stream.recv(100)


def test_every_panel_shows_something(scene):
    port, ask = scene
    stop = threading.Event()
    with concurrent.futures.ThreadPoolExecutor() as pool:
        disturbing = pool.submit(disturb, port, stop)
        try:
            expected = [(where, text) for where, text in of_board(interval="20s") if where not in EMPTY and not any(name in text for name in WITHOUT)]
            left = dict.fromkeys(expected)

            def look():
                for where, expression in list(left):
                    # A quantile of nothing is no number.
                    if any(sample["value"][1] != "NaN" for sample in ask("query", query=expression)["result"]):
                        del left[where, expression]
                # Before its time it ends only by an error.
                return not left or disturbing.done()

            try:
                until("every expression", look)
            except AssertionError:
                pytest.fail("nothing to show for: " + "\n".join(f"{where}: {expression}" for where, expression in left))
        finally:
            stop.set()
            disturbing.result()


def test_the_rules_are_evaluated(scene):
    _, ask = scene

    def evaluated():
        rules = [rule for group in ask("rules")["groups"] for rule in group["rules"]]
        return rules if rules and all(rule["health"] != "unknown" for rule in rules) else None

    rules = until("all rules", evaluated)
    assert {rule["name"] for rule in rules} == set(ALERTS)
    assert {rule["name"]: rule.get("lastError") for rule in rules if rule["health"] != "ok"} == {}
    firing = {alert["labels"]["alertname"] for alert in ask("alerts")["alerts"] if alert["state"] == "firing"}
    assert not firing, "a demo that is well raises no alarm"
