//! Where a run takes place: a network namespace of its own, one core for the proxies, one for the rest.

use std::os::unix::process::CommandExt as _;
use std::process::Command;

/// The core of the proxy under test.
pub(crate) const PROXY_CORE: usize = 0;
/// The core of generator and sink. On a machine with one core it is the same.
pub(crate) const GENERATOR_CORE: usize = 1;

const INSIDE: &str = "GATEHOUSE_BENCH_NAMESPACE";

/// Starts this program again inside a new network namespace with reno, which has no pacing timers to hide
/// what a relay costs. Without root it stays where it is, and [`describe`] says so.
pub(crate) fn enter_namespace() {
    if std::env::var_os(INSIDE).is_some() {
        return;
    }
    let program = std::env::current_exe().expect("the bench has a path");
    let prepare = "ip link set lo up && sysctl -qw net.ipv4.tcp_congestion_control=reno \
                   net.ipv4.ip_local_port_range='1025 65000' net.core.somaxconn=8192; exec \"$@\"";
    let may = Command::new("unshare").args(["--net", "true"]).output().is_ok_and(|o| o.status.success());
    if may {
        let error = Command::new("unshare")
            .args(["--net", "sh", "-c", prepare, "sh"])
            .arg(program)
            .args(std::env::args().skip(1))
            .env(INSIDE, "1")
            .exec();
        panic!("unshare: {error}");
    }
}

/// One line on the place of the run.
pub(crate) fn describe() -> String {
    let read = |path| std::fs::read_to_string(path).unwrap_or_default().trim().to_owned();
    let model = read("/proc/cpuinfo");
    let model = model.lines().find_map(|line| line.strip_prefix("model name")).unwrap_or(": unknown");
    let place = if std::env::var_os(INSIDE).is_some() { "own namespace" } else { "NO namespace (not root)" };
    format!(
        "{} cores of{}, Linux {}, {place}, congestion control {}",
        std::thread::available_parallelism().map_or(1, usize::from),
        model.trim_start_matches(['\t', ':']),
        read("/proc/sys/kernel/osrelease"),
        read("/proc/sys/net/ipv4/tcp_congestion_control"),
    )
}

/// Keeps a process and what it starts on one core.
pub(crate) fn pin(process: u32, core: usize) {
    let output =
        Command::new("taskset").args(["-a", "-c", "-p", &core.to_string(), &process.to_string()]).output();
    if !output.is_ok_and(|output| output.status.success()) {
        println!("process {process} could not be kept on core {core}");
    }
}
