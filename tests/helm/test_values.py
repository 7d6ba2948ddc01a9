"""Values: wrong ones are refused with a message that helps, and each is in the schema and in the README."""

import functools
import json
import os
import re
import tarfile

import pytest
import yaml

from chart import CHART, HELMS, ROOT, SETS, Refused, helm, render

REFUSALS = yaml.safe_load((ROOT / "tests/helm/refusals.yaml").read_text())


@pytest.mark.parametrize("program", HELMS)
@pytest.mark.parametrize("case", REFUSALS, ids=[case["why"] for case in REFUSALS])
def test_is_refused(case, program):
    with pytest.raises(Refused) as refused:
        render(SETS["minimal"], case["values"], program=program)
    assert case["says"] in str(refused.value)


@pytest.mark.parametrize("program", HELMS)
def test_an_old_kubernetes_is_refused(program):
    with pytest.raises(Refused, match="kubeVersion"):
        render(SETS["minimal"], program=program, version="1.27")


def test_every_guard_is_tried():
    """Each message of the templates is one that a case above asks for."""
    texts = "".join(path.read_text() for path in (CHART / "templates").rglob("*.*"))
    messages = re.findall(r'fail (?:\(printf )?"((?:[^"\\]|\\.)*)"', texts)
    assert len(messages) > 25
    answers = []
    for case in REFUSALS:
        with pytest.raises(Refused) as refused:
            render(SETS["minimal"], case["values"])
        answers.append(str(refused.value))
    for message in messages:
        # The longest piece between what is put in.
        piece = max(re.split(r"%[sdq]", message.replace('\\"', '"')), key=len)
        assert any(piece in answer for answer in answers), f"no case in refusals.yaml for: {message}"


@functools.cache
def defaults():
    return yaml.safe_load((CHART / "values.yaml").read_text())


def test_the_schema_has_the_values_and_no_others():
    schema = json.loads((CHART / "values.schema.json").read_text())

    def compare(values, node, path):
        node = schema["$defs"][node["$ref"].rpartition("/")[2]] if "$ref" in node else node
        if "properties" not in node or not isinstance(values, dict) or not values:
            return
        extra = set(values) - set(node["properties"])
        assert not extra, f"{path}: {extra} are not in values.schema.json"
        own = path.startswith((".config", ".resources", ".updateStrategy", ".certificate.privateKey")) or "Probe" in path
        missing = set() if own else set(node["properties"]) - set(values) - {"global"}
        assert not missing, f"{path}: {missing} are not in values.yaml"
        for name, value in values.items():
            compare(value, node["properties"].get(name, {}), f"{path}.{name}")

    compare(defaults(), schema, "")


def documented():
    """(name, default as YAML in one line, text) of each value, from the `# --` comments of values.yaml."""
    rows, path, text = [], [], None
    lines = (CHART / "values.yaml").read_text().splitlines()
    for number, line in enumerate(lines):
        key = re.match(r"( *)([A-Za-z]\w*):(.*)", line)
        comment = re.match(r" *# ?(.*)", line)
        if comment and comment[1].startswith("-- "):
            text = comment[1].removeprefix("-- ")
        elif comment and text is not None:
            text += " " + comment[1]
        elif key:
            depth = len(key[1]) // 2
            path = [*path[:depth], key[2]]
            if text is not None:
                value = defaults()
                for step in path:
                    value = value[step]
                rows.append((".".join(path), json.dumps(value), text))
            text = None
    return rows


def test_every_value_is_explained():
    def leaves(values, path):
        for name, value in values.items():
            here = f"{path}.{name}" if path else name
            if here in explained:
                continue
            assert isinstance(value, dict) and value, f"{here} has no `# --` comment in values.yaml"
            leaves(value, here)

    explained = {name for name, _, _ in documented()}
    leaves(defaults(), "")


def test_the_readme_has_the_table():
    """`UPDATE=1 tests/helm/run` writes it anew."""
    rows = "".join(f"| `{name}` | {text} | `{value}` |\n" for name, value, text in documented())
    rows = rows.replace("||", "\\|\\|")
    readme = CHART / "README.md"
    head, begin, rest = readme.read_text().partition("| value | what | default |\n|---|---|---|\n")
    tail = rest[rest.index("\n\n"):] if "\n\n" in rest else "\n"
    wanted = head + begin + rows.rstrip("\n") + tail
    if os.environ.get("UPDATE"):
        readme.write_text(wanted)
    assert begin and readme.read_text() == wanted


@pytest.mark.parametrize("program", HELMS)
@pytest.mark.parametrize("name", SETS)
def test_lint(name, program):
    files = [argument for path in SETS[name] for argument in ("--values", path)]
    helm("lint", "--strict", "--quiet", "--kube-version", "1.37.0", CHART, *files, program=program)


@pytest.mark.parametrize("program", HELMS)
def test_package(program, tmp_path):
    """The packaged chart renders what the folder does."""
    helm("package", CHART, "--destination", tmp_path, program=program)
    [archive] = tmp_path.iterdir()
    names = tarfile.open(archive).getnames()
    assert "gatehouse/values.schema.json" in names and "gatehouse/files/alerts.yaml" in names
    assert render(SETS["ha"], program=program, chart=archive) == render(SETS["ha"], program=program)
