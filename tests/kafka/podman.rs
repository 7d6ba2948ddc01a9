//! Containers in the brokers' namespace: podman with runc, in stores of the lane's own.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use crate::{
    Result,
    lab::{Lab, Side, need},
};

/// The stores of a lane; its containers end with the lane at the latest.
pub(crate) struct Podman<'lab> {
    lab: &'lab Lab,
}

/// What the kernel holds a container's first process to.
pub(crate) struct Confinement {
    /// Its process id on the host.
    pub(crate) id: u32,
    /// Its lines of `/proc/ID/status`, without the name: `Uid`, `CapEff`.
    status: String,
    /// How the root directory is mounted: `ro,relatime`.
    pub(crate) root: String,
    /// The cgroup's limit of memory, in bytes.
    pub(crate) memory: u64,
}

impl<'lab> Podman<'lab> {
    /// Empty stores.
    pub(crate) fn new(lab: &'lab Lab) -> Result<Self> {
        need("podman", "podman runc conmon catatonit")?;
        let podman = Self { lab };
        fs::create_dir_all(home(&podman.namespace()))?;
        fs::write(configuration(&podman.namespace()), CONFIGURATION)?;
        Ok(podman)
    }

    /// Where the containers run; the stores bear its name.
    fn namespace(&self) -> String {
        self.lab.namespace(Side::Brokers)
    }

    /// Takes the image for `architecture` out of an OCI archive and gives its id.
    pub(crate) fn pull(&self, archive: &Path, architecture: &str) -> Result<String> {
        self.output(&[
            "pull",
            "--quiet",
            "--arch",
            architecture,
            &format!("oci-archive:{}", archive.display()),
        ])
    }

    /// A container as a pod of the restricted profile has it, whose command ends with it and passes signals on:
    /// `more` are podman's own flags, the image and what it is given.
    pub(crate) fn container(&self, name: &str, configuration: &Path, more: &[&str]) -> Command {
        let mut command = self.command();
        command.args([
            "run",
            "--rm",
            "--name",
            name,
            "--network",
            "host",
            "--read-only",
            "--cap-drop",
            "ALL",
        ]);
        command.args(["--security-opt", "no-new-privileges", "--volume"]);
        command.arg(format!("{}:{CONFIGURATION_FILE}:ro", configuration.display()));
        command.args(more);
        command
    }

    /// Runs podman to a successful end and gives what it printed, without the end of the line.
    pub(crate) fn output(&self, arguments: &[&str]) -> Result<String> {
        let output = self.command().args(arguments).output()?;
        if output.status.success() {
            return Ok(String::from_utf8(output.stdout)?.trim_end().to_owned());
        }
        Err(format!("podman {}: {}", arguments.join(" "), String::from_utf8_lossy(&output.stderr)).into())
    }

    /// What container `name` has written to its standard error.
    pub(crate) fn log(&self, name: &str) -> Result<String> {
        Ok(String::from_utf8(self.command().args(["logs", name]).output()?.stderr)?)
    }

    /// Podman in the brokers' network; `ip netns exec` would take the cgroups away with its own `/sys`.
    pub(crate) fn command(&self) -> Command {
        let mut command = Command::new("nsenter");
        command.arg(format!("--net=/var/run/netns/{}", self.namespace()));
        command.arg("podman");
        stores(command, &self.namespace())
    }

    /// What the kernel knows of the first process of container `name`.
    pub(crate) fn confinement(&self, name: &str) -> Result<Confinement> {
        let id: u32 = self.output(&["inspect", "--format", "{{.State.Pid}}", name])?.parse()?;
        let read = |file: &str| fs::read_to_string(format!("/proc/{id}/{file}"));
        let mounts = read("mountinfo")?;
        let mut roots = mounts.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
        // The last mount of a place is the one that is seen.
        let root = roots.rfind(|fields| fields.get(4) == Some(&"/")).ok_or("no root")?[5].to_owned();
        Ok(Confinement { id, status: read("status")?, root, memory: memory_limit(&read("cgroup")?)? })
    }
}

impl Confinement {
    /// The words of a line of its status.
    pub(crate) fn status(&self, name: &str) -> Vec<&str> {
        let line = self.status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        line.map_or_else(Vec::new, |rest| rest.split_whitespace().collect())
    }
}

impl Drop for Podman<'_> {
    fn drop(&mut self) {
        remove(&self.namespace());
    }
}

/// Ends the containers of a namespace and takes its stores away.
pub(crate) fn remove(namespace: &str) {
    if !configuration(namespace).exists() {
        return;
    }
    for arguments in [["pod", "rm", "--all", "--force"], ["rm", "--all", "--force", "--time=0"]] {
        let mut command = stores(Command::new("podman"), namespace);
        drop(command.args(arguments).stdout(Stdio::null()).stderr(Stdio::null()).status());
    }
    drop(fs::remove_dir_all(home(namespace)));
}

/// The version of cgroups says where the limit is.
fn memory_limit(cgroups: &str) -> Result<u64> {
    for line in cgroups.lines() {
        let file = match line.splitn(3, ':').collect::<Vec<_>>()[..] {
            [_, "memory", path] => format!("/sys/fs/cgroup/memory{path}/memory.limit_in_bytes"),
            [_, "", path] => format!("/sys/fs/cgroup{path}/memory.max"),
            _ => continue,
        };
        if let Ok(limit) = fs::read_to_string(file) {
            return Ok(limit.trim().parse()?);
        }
    }
    Err("no limit of memory".into())
}

/// A short path: the sockets of conmon are in it.
fn home(namespace: &str) -> PathBuf {
    Path::new("/run").join(namespace)
}

fn configuration(namespace: &str) -> PathBuf {
    home(namespace).join("containers.conf")
}

fn stores(mut command: Command, namespace: &str) -> Command {
    let home = home(namespace);
    command.env("CONTAINERS_CONF", configuration(namespace));
    for (flag, folder) in [("--root", "images"), ("--runroot", "run"), ("--tmpdir", "tmp")] {
        command.arg(flag).arg(home.join(folder));
    }
    command.args(["--storage-driver", "vfs", "--runtime", "runc"]);
    command
}

/// Where the configuration is found in a container.
pub(crate) const CONFIGURATION_FILE: &str = "/etc/gatehouse/gatehouse.yaml";

/// The limits are ones that any root may set. Neither systemd nor its journal is asked for anything.
const CONFIGURATION: &str = r#"[containers]
default_ulimits = ["nofile=20000:20000", "nproc=4096:4096"]
[engine]
cgroup_manager = "cgroupfs"
events_logger = "none"
"#;
