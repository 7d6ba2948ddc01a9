//! The image as a container and as the chart's pod, before real brokers: confined as the restricted profile wants it.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use serde_json::{Value, json};

use crate::{
    Result,
    clients::{self, Outcome},
    cluster::{Cluster, bootstrap},
    drain,
    gateway::{Gateway, PORT, door, usual},
    lab::{DOOR, Lab, SECOND, Side, need, repository},
    large,
    podman::{CONFIGURATION_FILE, Podman},
    poll::{self, LIMIT},
    process::Process,
    recipes::chart::Rendered,
    suite::no_leaks,
};

/// One of two containers of 64 MiB is stopped under load; the other takes all of it, and a frame of 96 MiB.
pub(crate) fn run(lab: &Lab, _cluster: &mut Cluster<'_>) -> Result<String> {
    let podman = Podman::new(lab)?;
    let image = podman.pull(&archive()?, native()?)?;
    let start = |name: &str, configuration: &str| -> Result<Gateway<'_>> {
        let more = ["--memory", "64m", &image, "run", "--config", CONFIGURATION_FILE];
        let command = |file: &Path| podman.container(name, file, &more);
        let mut gateway = Gateway::launch_as(lab, name, configuration, command)?;
        gateway.wait_until_ready()?;
        confined(&podman, name)?;
        Ok(gateway)
    };
    let first = start("image-first", &drain::first())?;
    let second = start("image-second", &drain::second())?;
    let records = drain::hand_over(lab, first)?;
    stopped(&fs::read_to_string(lab.root().join("image-first.log"))?)?;
    large::write_one(lab, SECOND)?;
    let peak = confined(&podman, "image-second")?;
    second.stop()?;
    no_leaks(lab)?;
    Ok(format!("{records} records and a frame of 96 MiB; peak {peak} KiB of 64 MiB; drained"))
}

/// The Deployment's pod and ConfigMap, as Helm renders them, on a node that is podman.
pub(crate) fn pod(lab: &Lab, _cluster: &mut Cluster<'_>) -> Result<String> {
    let podman = Podman::new(lab)?;
    let image = podman.pull(&archive()?, native()?)?;
    podman.output(&["tag", &image, "localhost/gatehouse:test"])?;
    let rendered = Rendered::new(lab, "image-pod", &values())?;
    let template = &rendered.of_kind("Deployment").next().ok_or("no Deployment")?["spec"]["template"];
    let configuration = rendered.of_kind("ConfigMap").next().ok_or("no ConfigMap")?;
    let file = lab.root().join("pod.yaml");
    fs::write(&file, format!("{configuration}\n---\n{}\n", playable(template)))?;
    let file = file.display().to_string();
    podman.output(&["kube", "play", &file])?;
    let mut end = podman.command();
    end.args(["wait", CONTAINER]);
    let mut gateway = Gateway::attach(lab, Process::spawn(lab, "image-pod", end)?);
    for probe in ["startupProbe", "livenessProbe", "readinessProbe"] {
        let path = template["spec"]["containers"][0][probe]["httpGet"]["path"].as_str();
        let path = path.ok_or_else(|| format!("the pod has no {probe}"))?;
        poll::until_true(&format!("{probe} of the pod"), LIMIT, || gateway.get(path).map(|_| true))?;
    }
    confined(&podman, CONTAINER)?;
    let records = round_trip(lab, "pod")?;
    podman.output(&["pod", "stop", "--time", "60", POD])?;
    gateway.wait(LIMIT)?;
    stopped(&podman.log(CONTAINER)?)?;
    let status = podman.output(&["inspect", "--format", "{{.State.ExitCode}}", CONTAINER])?;
    if status != "0" {
        return Err(format!("the gateway in the pod ended with {status}").into());
    }
    podman.output(&["kube", "down", &file])?;
    no_leaks(lab)?;
    Ok(format!("{records} records"))
}

/// The other platform's image, by an emulator of its processor.
pub(crate) fn arm64(lab: &Lab, _cluster: &mut Cluster<'_>) -> Result<String> {
    need(EMULATOR, "qemu-user-static")?;
    let podman = Podman::new(lab)?;
    let image = podman.pull(&archive()?, "arm64")?;
    let machine = podman.output(&["inspect", "--format", "{{.Architecture}}", &image])?;
    if machine != "arm64" {
        return Err(format!("an image for {machine}").into());
    }
    let emulator = format!("/usr/bin/{EMULATOR}:/emulator:ro");
    let mut more = vec!["--volume", &emulator, "--entrypoint", "/emulator", &image];
    more.extend(["/usr/local/bin/gatehouse", "run", "--config", CONFIGURATION_FILE]);
    let command = |file: &Path| podman.container("image-arm64", file, &more);
    let mut gateway = Gateway::launch_as(lab, "image-arm64", &usual(), command)?;
    gateway.wait_until_ready()?;
    let records = round_trip(lab, "arm64")?;
    gateway.stop()?;
    no_leaks(lab)?;
    Ok(format!("{records} records"))
}

/// Nothing but what the gateway needs: another user than root, no capability and no way to one, a filter of system
/// calls, a root that is only read, 64 MiB. Gives the largest resident memory so far in KiB.
fn confined(podman: &Podman<'_>, name: &str) -> Result<u64> {
    let found = podman.confinement(name)?;
    for (line, wanted) in [
        ("Uid", vec!["65532"; 4]),
        ("Gid", vec!["65532"; 4]),
        ("CapPrm", vec!["0000000000000000"]),
        ("CapEff", vec!["0000000000000000"]),
        ("CapBnd", vec!["0000000000000000"]),
        ("NoNewPrivs", vec!["1"]),
        ("Seccomp", vec!["2"]),
    ] {
        let seen = found.status(line);
        if seen != wanted {
            return Err(format!("{name}: process {}: {line} is {seen:?}", found.id).into());
        }
    }
    if !found.root.split(',').any(|option| option == "ro") || found.memory != 64 << 20 {
        return Err(format!("{name}: root {}, memory {}", found.root, found.memory).into());
    }
    Ok(found.status("VmHWM").first().ok_or("no VmHWM")?.parse()?)
}

/// A client outside writes and reads back; gives the records read.
fn round_trip(lab: &Lab, topic: &str) -> Result<u64> {
    let arguments = [
        format!("bootstrap={}", door()),
        format!("prefix={topic}"),
        "functions=create,produce,consume".to_owned(),
        format!("count={RECORDS}"),
    ];
    let outcomes = clients::run(lab, Side::Clients, "franz-go", &format!("{topic}-client"), &arguments)?;
    if let Some(Outcome { function, detail, .. }) = outcomes.iter().find(|outcome| !outcome.ok) {
        return Err(format!("{function}: {detail}").into());
    }
    match outcomes.last() {
        Some(last) if last.read == RECORDS => Ok(last.read),
        other => Err(format!("the reader ended with {other:?}").into()),
    }
}

/// The log of a gateway that ended as it should: announced, drained, done.
fn stopped(log: &str) -> Result<()> {
    for message in ["stopping: not ready from now on", "draining: no connection is accepted", "\"stopped\""] {
        if !log.contains(message) {
            return Err(format!("nothing of {message:?} in the log:\n{log}").into());
        }
    }
    Ok(())
}

/// Values as JSON, which is YAML too.
fn values() -> String {
    let values = json!({
        "image": { "registry": "localhost", "repository": "gatehouse", "tag": "test", "pullPolicy": "Never" },
        "resources": { "limits": { "memory": "64Mi" } },
        "config": {
            "clusters": { "main": { "bootstrap": bootstrap() } },
            "listeners": { "external": {
                "bind": format!("0.0.0.0:{PORT}"),
                "advertise": DOOR,
                "routing": { "port": { "ranges": [{ "nodes": "1-3", "bind": PORT + 2 }] } },
            } },
            "shutdown": { "ready_delay": "1s" },
        },
    });
    values.to_string()
}

/// The pod without what podman cannot do: it takes no annotation beyond 63 bytes, no port of the pod beside the
/// host's network, and has `curl` inside the container ask the probes, which are asked here instead.
fn playable(template: &Value) -> Value {
    let mut pod = json!({ "apiVersion": "v1", "kind": "Pod", "metadata": template["metadata"], "spec": template["spec"] });
    pod["metadata"]["name"] = json!(POD);
    pod["metadata"]["annotations"] = json!({});
    pod["spec"]["hostNetwork"] = json!(true);
    if let Some(container) = pod["spec"]["containers"][0].as_object_mut() {
        for field in ["ports", "startupProbe", "livenessProbe", "readinessProbe"] {
            container.remove(field);
        }
    }
    pod
}

/// The archive that `GATEHOUSE_IMAGE` names, else one that is built now.
fn archive() -> Result<PathBuf> {
    if let Some(path) = std::env::var_os("GATEHOUSE_IMAGE") {
        return Ok(path.into());
    }
    let folder = repository().join("target/image");
    let status = Command::new(repository().join("deploy/release"))
        .args(["--quick", "--out"])
        .arg(&folder)
        .arg("image")
        .status()?;
    if !status.success() {
        return Err("deploy/release could not build the image".into());
    }
    Ok(folder.join(format!("gatehouse-{}-image.tar", env!("CARGO_PKG_VERSION"))))
}

/// The platform of this machine, by its name in images.
fn native() -> Result<&'static str> {
    match std::env::consts::ARCH {
        "x86_64" => Ok("amd64"),
        "aarch64" => Ok("arm64"),
        other => Err(format!("there is no image for {other}").into()),
    }
}

const POD: &str = "gw";
const CONTAINER: &str = "gw-gatehouse";
const EMULATOR: &str = "qemu-aarch64-static";
const RECORDS: u64 = 300;
