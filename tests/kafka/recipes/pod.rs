//! A pod of the rendered Deployment without Kubernetes: an address and an `/etc` of its own, folders as a kubelet mounts
//! them, and a node that leads the ports of the Service there.

use std::{
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use super::chart::{Rendered, Source, Variable};
use crate::{
    Result, certificates,
    gateway::{self, Gateway},
    lab::{DOOR, Lab, POD, Side},
    mounted::{Contents, Folder},
    poll::{self, LIMIT},
    process::Process,
};

/// Secrets by their names.
pub(crate) type Secrets = std::collections::BTreeMap<String, Contents>;

/// What the cluster and the image give a pod.
pub(crate) struct Around<'a> {
    /// The Secrets of its namespace.
    pub(crate) secrets: &'a Secrets,
    /// The names that the cluster's DNS knows, as lines of a hosts file.
    pub(crate) hosts: &'a str,
    /// The authorities of the image, in PEM.
    pub(crate) roots: &'a str,
}

/// A running pod; dropping it kills the gateway.
pub(crate) struct Pod<'lab> {
    /// The gateway in it.
    pub(crate) gateway: Gateway<'lab>,
    place: Place<'lab>,
    secrets: Vec<(String, Folder)>,
}

impl<'lab> Pod<'lab> {
    /// Lays the pod out, has its configuration validated, starts the gateway and waits until it is ready.
    pub(crate) fn start(
        lab: &'lab Lab,
        name: &str,
        rendered: &Rendered,
        around: &Around<'_>,
    ) -> Result<Self> {
        let secrets = around.secrets;
        let place = Place::new(lab, name, around)?;
        let mut folders = Vec::new();
        for (path, source) in rendered.mounts()? {
            let inside = path.strip_prefix("/etc/").ok_or_else(|| format!("{path} is not in /etc"))?;
            let mut folder = Folder::new(place.etc.join(inside))?;
            match source {
                Source::ConfigMap(contents) => folder.put(&contents)?,
                Source::Secret(name, items) => {
                    folder.put(&picked(secret(secrets, &name)?, &items)?)?;
                    folders.push((name, folder));
                }
            }
        }
        for name in secrets.keys() {
            if !folders.iter().any(|(mounted, _)| mounted == name) {
                return Err(format!("the values do not mount the Secret {name}").into());
            }
        }
        let arguments = rendered.arguments()?;
        let file = arguments.last().copied().unwrap_or_default();
        certificates::run(place.command().args(["validate", "--config", file]))?;
        let mut command = place.command();
        command.args(arguments);
        for (variable, value) in rendered.environment()? {
            match value {
                Variable::Plain(value) => command.env(variable, value),
                Variable::Secret(name, key) => {
                    let bytes =
                        secret(secrets, name)?.get(key).ok_or_else(|| format!("no {key} in {name}"))?;
                    command.env(variable, String::from_utf8(bytes.clone())?)
                }
            };
        }
        let process = Process::spawn(lab, &format!("gateway-{name}"), command)?;
        let mut gateway = Gateway::in_pod(lab, process);
        gateway.wait_until_ready()?;
        Ok(Self { gateway, place, secrets: folders })
    }

    /// What `gatehouse routes` says inside the pod: listener, node, host and port.
    pub(crate) fn routes(&self) -> Result<Vec<Route>> {
        let mut command = self.place.command();
        let output = command.args(["routes", "--output", "json", "--config", CONFIGURATION]).output()?;
        Ok(serde_json::from_slice(&output.stdout)?)
    }

    /// Gives Secrets other contents, as the kubelet does a while after they have changed, and waits until the gateway
    /// has taken them.
    pub(crate) fn change(&mut self, secrets: &[(&str, Contents)]) -> Result<()> {
        for (name, contents) in secrets {
            let mounted = self.secrets.iter_mut().find(|(mounted, _)| mounted == name);
            let (_, folder) = mounted.ok_or_else(|| format!("the Secret {name} is not mounted"))?;
            folder.put(contents)?;
            let logged = self.gateway.log()?.len();
            // Several sides may use a Secret, and the last of them has it once there is nothing left to take.
            poll::until_true("the new files in use", LIMIT, || {
                self.gateway.hang_up()?;
                Ok(self.gateway.log()?[logged..].contains("nothing is in use that was not before"))
            })?;
        }
        Ok(())
    }
}

/// Where clients find a broker, or any.
#[derive(serde::Deserialize)]
pub(crate) struct Route {
    /// The listener's name.
    pub(crate) listener: String,
    /// The broker; none at the bootstrap port.
    pub(crate) node: Option<i32>,
    /// What clients are told: `host:port`.
    pub(crate) advertise: String,
}

fn secret<'a>(secrets: &'a Secrets, name: &str) -> Result<&'a Contents> {
    secrets.get(name).ok_or_else(|| format!("the values name the Secret {name}, which is not there").into())
}

/// The keys of a Secret that the pod is given; all where none is picked.
fn picked(contents: &Contents, items: &[(String, String)]) -> Result<Contents> {
    if items.is_empty() {
        return Ok(contents.clone());
    }
    let pick = |(key, path): &(String, String)| {
        let bytes = contents.get(key).ok_or_else(|| format!("no {key} in the Secret"))?;
        Ok((path.clone(), bytes.clone()))
    };
    items.iter().map(pick).collect()
}

/// The pod's `/etc`.
struct Place<'lab> {
    lab: &'lab Lab,
    etc: PathBuf,
}

impl<'lab> Place<'lab> {
    fn new(lab: &'lab Lab, name: &str, around: &Around<'_>) -> Result<Self> {
        let etc = lab.root().join("pods").join(name);
        fs::create_dir_all(etc.join("ssl/certs"))?;
        fs::write(etc.join("hosts"), format!("127.0.0.1 localhost\n{}", around.hosts))?;
        // All addresses of a name count, as those of a headless Service do.
        fs::write(etc.join("host.conf"), "multi on\n")?;
        fs::write(etc.join("ssl/certs/ca-certificates.crt"), around.roots)?;
        Ok(Self { lab, etc })
    }

    /// The program, with nothing of the machine's `/etc` or environment.
    fn command(&self) -> Command {
        let mut command = self.lab.command(Side::Pod, "sh");
        command.args(["-c", r#"mount --bind "$0" /etc && exec "$@""#]).arg(&self.etc).arg(gateway::binary());
        command
            .env_clear()
            .env("PATH", PATH)
            .env("HOSTNAME", "gateway-gatehouse-0")
            .env("RUST_BACKTRACE", "1");
        command
    }
}

/// Has the node lead what comes to the Service to the pod, as kube-proxy would, and each of `brokers`, an address and a
/// port that the pod dials, to the port that the broker really has: a broker cannot bind one port twice. Where the
/// Service `hides` its clients, the pod sees the node's address.
pub(crate) fn serve(
    lab: &Lab,
    ports: &[(u64, u64)],
    brokers: &[(String, u16, u16)],
    hides: bool,
) -> Result<()> {
    let mut rules = String::from("add table ip service\ndelete table ip service\ntable ip service {\n");
    rules.push_str("chain in { type nat hook prerouting priority dstnat; policy accept;\n");
    for (outside, inside) in ports {
        writeln!(rules, "iifname door ip daddr {DOOR} tcp dport {outside} dnat to {POD}:{inside}")?;
    }
    for (address, port, bound) in brokers {
        writeln!(rules, "iifname pods ip daddr {address} tcp dport {port} dnat to {address}:{bound}")?;
    }
    rules.push_str("}\nchain out { type nat hook postrouting priority srcnat; policy accept;\n");
    if hides {
        rules.push_str("iifname door oifname pods masquerade\n");
    }
    lab.nft(&(rules + "}\n}\n"))
}

/// Where the client's files are.
pub(crate) fn lay_out(directory: &Path, files: &Contents) -> Result<()> {
    fs::create_dir_all(directory)?;
    files.iter().try_for_each(|(name, bytes)| Ok(fs::write(directory.join(name), bytes)?))
}

const CONFIGURATION: &str = "/etc/gatehouse/config/gatehouse.yaml";
const PATH: &str = "/usr/sbin:/usr/bin:/sbin:/bin";
