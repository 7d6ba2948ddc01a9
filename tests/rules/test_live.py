"""A real Prometheus beside a real gateway under traffic: the rules load, and every panel shows something."""

import json
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


def free_port():
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


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
    port, admin, web = free_port(), free_port(), free_port()
    target = {"job_name": "gatehouse", "static_configs": [{"targets": [f"127.0.0.1:{admin}"]}]}
    settings = {
        "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
        "rule_files": [str(FILES / "alerts.yaml")],
        "scrape_configs": [target],
    }
    (folder / "prometheus.yml").write_text(yaml.safe_dump(settings))

    def ask(path, **parameters):
        text = get(f"http://127.0.0.1:{web}/api/v1/{path}?{urllib.parse.urlencode(parameters)}")
        return json.loads(text)["data"]

    flags = ["--config.file", folder / "prometheus.yml", "--storage.tsdb.path", folder / "data", f"--web.listen-address=127.0.0.1:{web}"]
    with Process(folder / "gatehouse.log", GATEHOUSE, "demo", "--tls", "--port", port, "--admin-port", admin) as demo:
        until("the demo", lambda: "ready" in get(f"http://127.0.0.1:{admin}/readyz?verbose"))
        with Process(folder / "prometheus.log", program, *flags):
            until("a scrape", lambda: ask("query", query="gatehouse_ready")["result"])
            yield port, ask
        assert demo.process.poll() is None


def disturb(port, stop):
    """Clients as they come and go: one speaks no TLS, one no Kafka behind it, one asks for all topics and leaves."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    http = b"GET / HTTP/1.1\r\nhost: localhost\r\n\r\n"
    metadata = struct.pack(">hhihi", 3, 1, 7, -1, -1)
    while not stop.wait(0.5):
        for encrypted, request in [(False, http), (True, http), (True, struct.pack(">i", len(metadata)) + metadata)]:
            try:
                with socket.create_connection(("localhost", port), timeout=5) as plain:
                    with context.wrap_socket(plain) if encrypted else plain as stream:
                        stream.sendall(request)
                        stream.recv(100)
            except OSError:
                pass


def test_every_panel_shows_something(scene):
    port, ask = scene
    stop = threading.Event()
    thread = threading.Thread(target=disturb, args=(port, stop))
    thread.start()
    try:
        expected = [(where, text) for where, text in of_board(interval="20s") if where not in EMPTY and not any(name in text for name in WITHOUT)]
        left = dict.fromkeys(expected)

        def look():
            for where, expression in list(left):
                # A quantile of nothing is no number.
                if any(sample["value"][1] != "NaN" for sample in ask("query", query=expression)["result"]):
                    del left[where, expression]
            return not left or None

        try:
            until("every expression", look)
        except AssertionError:
            pytest.fail("nothing to show for: " + "\n".join(f"{where}: {expression}" for where, expression in left))
    finally:
        stop.set()
        thread.join()


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
