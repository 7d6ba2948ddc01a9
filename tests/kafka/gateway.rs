//! The gateway under test: its configuration, its process, its metrics.

use std::{
    fs,
    io::{Read as _, Write as _},
    net::TcpStream,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use rustix::process::Signal;

use crate::{
    Result,
    cluster::bootstrap,
    lab::{DOOR, Lab, Side},
    poll::{self, LIMIT},
    process::Process,
};

/// The bootstrap port of the usual listener; broker N is on this port + 1 + N.
pub(crate) const PORT: u16 = 19092;

/// Where the admin pages are unless a configuration says otherwise.
const ADMIN: &str = "127.0.0.1:9910";

/// A running gateway; dropping it kills it.
pub(crate) struct Gateway<'lab> {
    lab: &'lab Lab,
    side: Side,
    process: Process,
    admin: String,
}

impl<'lab> Gateway<'lab> {
    /// Starts a gateway with the usual six lines in front of the plain listeners.
    pub(crate) fn start(lab: &'lab Lab) -> Result<Self> {
        Self::start_with(lab, "gateway", &usual())
    }

    /// Starts a gateway named `name` with `configuration` and waits until it is ready.
    pub(crate) fn start_with(lab: &'lab Lab, name: &str, configuration: &str) -> Result<Self> {
        let mut gateway = Self::launch(lab, name, configuration)?;
        gateway.wait_until_ready()?;
        Ok(gateway)
    }

    /// Starts one that may never be ready.
    pub(crate) fn launch(lab: &'lab Lab, name: &str, configuration: &str) -> Result<Self> {
        Self::launch_as(lab, name, configuration, |file| {
            let mut command = lab.command(Side::Brokers, binary());
            command.args(["run", "--config"]).arg(file).env("RUST_BACKTRACE", "1");
            command
        })
    }

    /// The same by another command, which is given the configuration's file and must pass signals and exit status on.
    pub(crate) fn launch_as(
        lab: &'lab Lab,
        name: &str,
        configuration: &str,
        command: impl FnOnce(&Path) -> Command,
    ) -> Result<Self> {
        let admin = configuration
            .lines()
            .find_map(|line| line.strip_prefix("admin: { bind: "))
            .and_then(|rest| rest.split([',', ' ']).next());
        let admin = admin.unwrap_or(ADMIN).to_owned();
        let file = lab.root().join(format!("{name}.yaml"));
        fs::write(&file, configuration)?;
        let process = Process::spawn(lab, name, command(&file))?;
        Ok(Self { lab, side: Side::Brokers, process, admin })
    }

    /// One that runs beside the brokers, with its admin pages on the usual port; `process` ends with it.
    pub(crate) fn attach(lab: &'lab Lab, process: Process) -> Self {
        Self { lab, side: Side::Brokers, process, admin: ADMIN.to_owned() }
    }

    /// One that was started as the process of a pod, with its admin pages on the usual port.
    pub(crate) fn in_pod(lab: &'lab Lab, process: Process) -> Self {
        Self { lab, side: Side::Pod, process, admin: ADMIN.to_owned() }
    }

    /// Waits until it says that it is ready.
    pub(crate) fn wait_until_ready(&mut self) -> Result<()> {
        let mut ended = false;
        let ready = poll::until_true("readiness of the gateway", LIMIT, || {
            ended = !self.process.running()?;
            Ok(ended || self.ready())
        });
        if ended {
            return Err(self.process.explain("the gateway ended at its start"));
        }
        ready.map_err(|error| self.process.explain(&error.to_string()))
    }

    /// The process id of the gateway.
    pub(crate) fn id(&self) -> u32 {
        self.process.id()
    }

    /// The largest resident memory of the process so far, in KiB.
    pub(crate) fn peak_kib(&self) -> Result<u64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.id()))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).ok_or("no VmHWM")?;
        Ok(line.trim().trim_end_matches(" kB").trim().parse()?)
    }

    /// Whether it says that it is ready.
    pub(crate) fn ready(&self) -> bool {
        self.get("/readyz").is_ok()
    }

    /// Asks the gateway to look at its files now.
    pub(crate) fn hang_up(&self) -> Result<()> {
        self.process.signal(Signal::HUP)
    }

    /// What it has logged so far.
    pub(crate) fn log(&self) -> Result<String> {
        self.process.log()
    }

    /// Waits until a line of its log has all of `parts`.
    pub(crate) fn wait_for_log(&self, parts: &[&str]) -> Result<()> {
        poll::until_true(&format!("a line of the log with {parts:?}"), LIMIT, || {
            Ok(self.log()?.lines().any(|line| parts.iter().all(|part| line.contains(part))))
        })
        .map_err(|error| self.process.explain(&error.to_string()))
    }

    /// Asks the gateway to stop.
    pub(crate) fn terminate(&self) -> Result<()> {
        self.process.signal(Signal::TERM)
    }

    /// Waits for its end, which must be exit 0.
    pub(crate) fn wait(&mut self, limit: Duration) -> Result<()> {
        let status = self.process.wait(limit)?;
        if status.success() {
            Ok(())
        } else {
            Err(self.process.explain(&format!("the gateway ended with {status}")))
        }
    }

    /// Asks it to stop and waits for exit 0.
    pub(crate) fn stop(mut self) -> Result<()> {
        if !self.process.running()? {
            return Err(self.process.explain("the gateway ended by itself"));
        }
        self.terminate()?;
        self.wait(LIMIT)
    }

    /// Sees that it still runs and has it leave at once, by a second signal.
    pub(crate) fn leave(mut self) -> Result<()> {
        if !self.process.running()? {
            return Err(self.process.explain("the gateway ended by itself"));
        }
        // Two different ones: of two alike that come together the process sees one.
        self.process.signal(Signal::TERM)?;
        self.process.signal(Signal::INT)?;
        self.process.wait(LIMIT).map(drop)
    }

    /// The sum of the series of `name` whose labels hold every one of `labels` (as `api="Fetch"`); 0 without one.
    pub(crate) fn metric(&self, name: &str, labels: &[&str]) -> Result<f64> {
        let text = self.get("/metrics")?;
        let mut sum = 0.0;
        for line in text.lines().filter(|line| !line.starts_with('#')) {
            let Some((series, value)) = line.rsplit_once(' ') else { continue };
            let (metric, found) = series.split_once('{').unwrap_or((series, ""));
            if metric == name && labels.iter().all(|label| found.contains(label)) {
                sum += value.parse::<f64>()?;
            }
        }
        Ok(sum)
    }

    /// The body of an admin page; anything but 200 is an error.
    pub(crate) fn get(&self, path: &str) -> Result<String> {
        let (head, body) = self.request("GET", path, None)?;
        if head.starts_with("HTTP/1.1 200") {
            Ok(body)
        } else {
            Err(format!("{path}: {head}: {body}").into())
        }
    }

    /// The first line and the body of the answer to any request.
    pub(crate) fn request(&self, method: &str, path: &str, token: Option<&str>) -> Result<(String, String)> {
        let address = &self.admin;
        let token = token.map_or_else(String::new, |token| format!("Authorization: Bearer {token}\r\n"));
        self.lab.inside(self.side, || {
            let mut stream = TcpStream::connect(address)?;
            stream.set_read_timeout(Some(Duration::from_secs(10)))?;
            write!(
                stream,
                "{method} {path} HTTP/1.1\r\nHost: {address}\r\n{token}Connection: close\r\n\r\n"
            )?;
            let mut answer = String::new();
            stream.read_to_string(&mut answer)?;
            let (head, body) = answer.split_once("\r\n\r\n").ok_or("an answer without a head")?;
            let chunked = head.to_ascii_lowercase().contains("transfer-encoding: chunked");
            if chunked {
                return Err(format!("{path}: a chunked answer").into());
            }
            Ok((head.lines().next().unwrap_or_default().to_owned(), body.to_owned()))
        })
    }
}

/// The gateway's binary: `GATEHOUSE_BIN`, else the one that cargo built for this test.
pub(crate) fn binary() -> PathBuf {
    std::env::var_os("GATEHOUSE_BIN")
        .map_or_else(|| PathBuf::from(env!("CARGO_BIN_EXE_gatehouse")), PathBuf::from)
}

/// The shortest configuration: the plain listeners behind one door.
pub(crate) fn usual() -> String {
    format!(
        "clusters:\n  main: {{ bootstrap: [{}] }}\nlisteners:\n  external:\n    bind: {DOOR}:{PORT}\n    advertise: {DOOR}\n",
        quoted(&bootstrap())
    )
}

/// Addresses as the items of a YAML list.
pub(crate) fn quoted(addresses: &[String]) -> String {
    addresses.iter().map(|address| format!("\"{address}\"")).collect::<Vec<_>>().join(", ")
}

/// What clients are given to bootstrap from.
pub(crate) fn door() -> String {
    format!("{DOOR}:{PORT}")
}
