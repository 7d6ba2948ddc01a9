"""The part of the client programs' contract (../README.md) that does not depend on a Kafka library."""

import json
import os
import ssl
import sys
import time
import traceback

PARTITIONS = 3
REPLICAS = 3
TRANSACTION = 50


class Failed(Exception):
    """A function did not do what it is for; the text says why."""


class Arguments(dict):
    """The key=value arguments."""

    def __init__(self, words):
        super().__init__()
        for word in words:
            key, equals, value = word.partition("=")
            if not key or not equals:
                usage(f"not key=value: {word}")
            self[key] = value
        self.prefix = self.get("prefix")
        self.count = int(self.get("count", 100))
        self.timeout = float(self.get("timeout", 30))

    def settings(self):
        """The client.NAME=VALUE arguments."""
        return {key[len("client.") :]: value for key, value in self.items() if key.startswith("client.")}

    def tls(self):
        """What tls_ca, tls_cert, tls_key and tls_version say, as Python's own TLS takes it; None without tls_ca."""
        if "tls_ca" not in self:
            return None
        context = ssl.create_default_context(cafile=self["tls_ca"])
        if "tls_version" in self:
            versions = {"1.2": ssl.TLSVersion.TLSv1_2, "1.3": ssl.TLSVersion.TLSv1_3}
            if self["tls_version"] not in versions:
                usage("tls_version= is 1.2 or 1.3")
            context.minimum_version = context.maximum_version = versions[self["tls_version"]]
        if "tls_cert" in self:
            context.load_cert_chain(self["tls_cert"], self.get("tls_key"))
        return context


class Result:
    """What one function did."""

    def __init__(self):
        self.sent = 0
        self.read = 0
        self.detail = ""


def usage(reason):
    print(reason, file=sys.stderr)
    sys.exit(2)


def run(version, table):
    """Runs the functions that the command line names, in order, prints a line for each, and exits.

    `table` makes a dictionary of function(result) from the arguments.
    """
    arguments = Arguments(sys.argv[1:])
    if not arguments.get("functions"):
        usage("missing functions=")
    wanted = arguments["functions"].split(",")
    if set(wanted) - {"version", "supported"}:
        for key in ("bootstrap", "prefix"):
            if not arguments.get(key):
                usage(f"missing {key}=")
    functions = table(arguments)
    functions["version"] = lambda result: setattr(result, "detail", version)
    functions["supported"] = lambda result: setattr(result, "detail", ",".join(sorted(functions)))
    ok = [report(name, functions.get(name)) for name in wanted]
    sys.exit(0 if all(ok) else 1)


def report(name, function):
    result = Result()
    start = time.monotonic()
    ok = True
    try:
        if function is None:
            raise Failed(f"unsupported: {name}")
        function(result)
    except Exception as failure:
        if not isinstance(failure, Failed):
            traceback.print_exc()
        ok = False
        result.detail = str(failure) or repr(failure)
    line = {"function": name, "ok": ok, "sent": result.sent, "read": result.read}
    line |= {"ms": int(1000 * (time.monotonic() - start)), "detail": result.detail}
    print(json.dumps(line, separators=(",", ":")), flush=True)
    return ok


def describe(result, brokers):
    """`brokers` maps node ids to host:port."""
    result.detail = ",".join(f"{node}={address}" for node, address in sorted(brokers.items()))
    if len(brokers) != 3:
        raise Failed(f"brokers: {result.detail}")


def record(topic, sequence):
    """Key and value of the record with a sequence number."""
    return f"k{sequence % 16}".encode(), f"{topic}:{sequence}".encode()


def committed(sequence):
    """Whether the transaction that a record is in is to be committed."""
    return sequence // TRANSACTION % 2 == 0


def batches(count):
    """First and last+1 sequence number of each transaction."""
    return [(first, min(first + TRANSACTION, count)) for first in range(0, count, TRANSACTION)]


class Acknowledged:
    """Counts what was acknowledged and what failed, and appends each acknowledged sequence number to a file, if named."""

    def __init__(self, name=None):
        self.count = 0
        self.failure = None
        self.file = open(name, "a", buffering=1) if name else None

    def settle(self, sequence, error):
        if error is not None:
            self.failure = error
            return
        self.count += 1
        if self.file:
            self.file.write(f"{sequence}\n")

    def judge(self, result, expected):
        result.sent = self.count
        if self.file:
            self.file.close()
        if self.failure is not None:
            raise Failed(f"acknowledged {self.count} of {expected}: {self.failure}")
        if self.count != expected:
            raise Failed(f"acknowledged {self.count} of {expected}")


class Check:
    """What must be true of the records read: values of our own, none twice, and order within partition and key."""

    def __init__(self, topic, ordered=True, name=None):
        self.topic = topic
        self.ordered = ordered
        self.values = set()
        self.offsets = {}
        self.sequences = {}
        self.fault = None
        self.file = open(name, "a", buffering=1) if name else None

    def see(self, partition, offset, key, value):
        key, value = key.decode(), value.decode()
        if self.file:
            self.file.write(f"{partition} {offset} {value}\n")
        if not value.startswith(self.topic + ":"):
            self.fail(f"foreign value {value}")
            return
        if value in self.values:
            self.fail(f"duplicate {value}")
        self.values.add(value)
        if not self.ordered:
            return
        sequence = int(value[len(self.topic) + 1 :])
        if self.offsets.get(partition, -1) >= offset:
            self.fail(f"offset went back at {partition}/{offset}")
        if self.sequences.get(key, -1) >= sequence:
            self.fail(f"key {key} went back at {sequence}")
        self.offsets[partition] = offset
        self.sequences[key] = sequence

    def fail(self, fault):
        self.fault = self.fault or fault

    def judge(self, result, expected):
        result.read = len(self.values)
        if self.file:
            self.file.close()
        if self.fault:
            raise Failed(self.fault)
        if result.read != expected:
            raise Failed(f"read {result.read} of {expected}")

    def judge_committed(self, result, count):
        """`judge` for `count` records sent in `batches`."""
        for sequence in range(count):
            if not committed(sequence) and f"{self.topic}:{sequence}" in self.values:
                self.fail(f"read aborted {sequence}")
        self.judge(result, sum(map(committed, range(count))))


class Pace:
    """Says how many records are due by now, at `rate` a second for `seconds` or until the file `stop` exists."""

    def __init__(self, arguments):
        if not arguments.get("rate") or not arguments.get("seconds"):
            raise Failed("missing rate= or seconds=")
        self.rate = float(arguments["rate"])
        self.seconds = float(arguments["seconds"])
        self.stop = arguments.get("stop")
        self.start = time.monotonic()

    def due(self):
        """None when the time is over."""
        spent = time.monotonic() - self.start
        over = spent >= self.seconds or (self.stop and os.path.exists(self.stop))
        return None if over else int(spent * self.rate)
