"""Makes one strict JSON schema for each kind: schemas.py OPENAPI_FOLDER CRD_FOLDER OUT.

Strict: a field that the definition does not have is refused, as a server with strict validation does.
"""

import json
import pathlib
import sys

import yaml

# `=` alone is a value of its own in YAML 1.1, and a word in an enum of the Prometheus operator.
yaml.CSafeLoader.add_constructor("tag:yaml.org,2002:value", yaml.CSafeLoader.construct_yaml_str)


def strict(node):
    """Closes every object that lists its properties, in place."""
    if isinstance(node, dict):
        closed = "properties" in node and "additionalProperties" not in node
        if closed and not node.get("x-kubernetes-preserve-unknown-fields"):
            node["additionalProperties"] = False
        for value in node.values():
            strict(value)
    elif isinstance(node, list):
        for value in node:
            strict(value)


def references(node, found, schemas):
    """All definitions that a schema needs, those of its definitions included."""
    if isinstance(node, dict):
        reference = node.get("$ref")  # or a property of that name
        name = reference.removeprefix("#/components/schemas/") if isinstance(reference, str) else None
        if name and name not in found:
            found[name] = schemas[name]
            references(schemas[name], found, schemas)
        for value in node.values():
            references(value, found, schemas)
    elif isinstance(node, list):
        for value in node:
            references(value, found, schemas)


def write(out, group, version, kind, schema):
    """Under the name by which kubeconform looks for it."""
    parts = [kind.lower(), group.split(".")[0], version]
    name = "-".join(part for part in parts if part)
    (out / f"{name}.json").write_text(json.dumps(schema))


def of_kubernetes(folder, out):
    for path in sorted(folder.glob("*.json")):
        schemas = json.loads(path.read_text())["components"].get("schemas", {})
        strict(schemas)
        for schema in schemas.values():
            for kind in schema.get("x-kubernetes-group-version-kind", []):
                needed = {}
                references(schema, needed, schemas)
                write(out, kind["group"], kind["version"], kind["kind"], {**schema, "components": {"schemas": needed}})


def of_definitions(folder, out):
    for path in sorted(folder.glob("*.yaml")):
        for definition in yaml.load_all(path.read_text(), yaml.CSafeLoader):
            if not definition or definition.get("kind") != "CustomResourceDefinition":
                continue
            spec = definition["spec"]
            for version in spec["versions"]:
                schema = version["schema"]["openAPIV3Schema"]
                schema["properties"]["metadata"] = {"type": "object", "additionalProperties": True}
                strict(schema)
                integer_or_string(schema)
                write(out, spec["group"], version["name"], spec["names"]["kind"], schema)


def integer_or_string(node):
    """JSON schema has no such type; the mark of Kubernetes says it."""
    if isinstance(node, dict):
        if node.get("x-kubernetes-int-or-string"):
            node.pop("type", None)
            node["type"] = ["integer", "string"]
        for value in node.values():
            integer_or_string(value)
    elif isinstance(node, list):
        for value in node:
            integer_or_string(value)


def main():
    openapi, definitions, out = map(pathlib.Path, sys.argv[1:])
    out.mkdir(parents=True, exist_ok=True)
    of_kubernetes(openapi, out)
    of_definitions(definitions, out)
    print(f"schemas of {len(list(out.iterdir()))} kinds", file=sys.stderr)


main()
