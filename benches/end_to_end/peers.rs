//! What stands between generator and sink: nothing, the gateway, HAProxy and nginx, as they come and tuned.

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::place;

/// One way from generator to sink. Dropping it ends its process.
pub(crate) struct Peer {
    pub(crate) name: &'static str,
    /// Where clients connect; `None` for one that is not installed.
    pub(crate) address: Option<SocketAddr>,
    process: Option<Child>,
}

pub(crate) const DIRECT: &str = "direct";
pub(crate) const GATEWAY: &str = "gatehouse";
pub(crate) const HAPROXY: &str = "haproxy";
pub(crate) const HAPROXY_BUFFERS: &str = "haproxy 64K";
pub(crate) const HAPROXY_SPLICE: &str = "haproxy splice";
pub(crate) const NGINX: &str = "nginx";
pub(crate) const NGINX_BUFFERS: &str = "nginx 256K";

impl Peer {
    /// The process under test.
    pub(crate) fn id(&self) -> Option<u32> {
        self.process.as_ref().map(Child::id)
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        if let Some(process) = &mut self.process {
            let _ = process.kill();
            let _ = process.wait();
        }
    }
}

/// Starts every peer that is there.
pub(crate) fn start(sink: SocketAddr) -> Vec<Peer> {
    let directory = std::env::temp_dir().join(format!("gatehouse-bench-{}", std::process::id()));
    std::fs::create_dir_all(&directory).expect("a directory can be made");
    let mut peers = vec![Peer { name: DIRECT, address: Some(sink), process: None }];
    peers.push(gateway(sink, &directory));
    let splice = "option splice-request\n  option splice-response\n";
    for (name, global, defaults) in [
        (HAPROXY, "", ""),
        (HAPROXY_BUFFERS, "tune.bufsize 65536\n", ""),
        (HAPROXY_SPLICE, "tune.pipesize 1048576\n  maxpipes 2000\n", splice),
    ] {
        peers.push(haproxy(name, sink, (global, defaults), &directory));
    }
    for (name, buffers) in [(NGINX, ""), (NGINX_BUFFERS, "proxy_buffer_size 256k;")] {
        peers.push(nginx(name, sink, buffers, &directory));
    }
    peers
}

fn gateway(sink: SocketAddr, directory: &Path) -> Peer {
    let (listen, admin) = (free(), free());
    // The bootstrap port leads to the sink, and so would node 0: no other node is routed.
    let text = format!(
        "clusters:\n  sink: {{ bootstrap: [\"{sink}\"] }}\nlisteners:\n  bench:\n    bind: {listen}\n    \
         advertise: 127.0.0.1\n    routing: {{ port: {{ ranges: [ {{ nodes: 0-0, bind: {} }} ] }} }}\n\
         admin: {{ bind: {admin} }}\n",
        free().port()
    );
    let file = write(directory, "gatehouse.yaml", &text);
    let mut command = Command::new(
        std::env::var_os("GATEHOUSE_BIN").unwrap_or_else(|| env!("CARGO_BIN_EXE_gatehouse").into()),
    );
    command.arg("run").arg("--config").arg(file);
    spawn(GATEWAY, &command, listen)
}

fn haproxy(name: &'static str, sink: SocketAddr, tuning: (&str, &str), directory: &Path) -> Peer {
    let listen = free();
    let text = format!(
        "global\n  nbthread 1\n  maxconn 6000\n  {}\ndefaults\n  mode tcp\n  timeout connect 5s\n  \
         timeout client 1h\n  timeout server 1h\n  {}\nlisten bench\n  bind {listen}\n  server sink {sink}\n",
        tuning.0, tuning.1
    );
    let file = write(directory, &format!("{}.cfg", name.replace(' ', "-")), &text);
    let mut command = Command::new("haproxy");
    command.arg("-db").arg("-f").arg(file);
    spawn(name, &command, listen)
}

fn nginx(name: &'static str, sink: SocketAddr, buffers: &str, directory: &Path) -> Peer {
    let listen = free();
    let module = "/usr/lib/nginx/modules/ngx_stream_module.so";
    let module = if Path::new(module).is_file() { format!("load_module {module};") } else { String::new() };
    let text = format!(
        "{module} daemon off; master_process off; worker_processes 1; pid {0}/{1}.pid; error_log stderr error; \
         events {{ worker_connections 19000; }} stream {{ server {{ listen {listen} backlog=8192; \
         proxy_pass {sink}; proxy_timeout 1h; tcp_nodelay on; {buffers} }} }}",
        directory.display(),
        name.replace(' ', "-"),
    );
    let file = write(directory, &format!("{}.conf", name.replace(' ', "-")), &text);
    let mut command = Command::new("nginx");
    command.arg("-p").arg(directory).arg("-c").arg(file);
    spawn(name, &command, listen)
}

fn write(directory: &Path, name: &str, text: &str) -> PathBuf {
    let file = directory.join(name);
    std::fs::write(&file, text).expect("a file can be written");
    file
}

/// An address that is free now.
fn free() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a loopback address can be bound");
    listener.local_addr().expect("a bound socket has an address")
}

/// Starts a peer on the core of the proxies and waits until it accepts; one that is not installed is absent.
fn spawn(name: &'static str, command: &Command, listen: SocketAddr) -> Peer {
    let mut on_core = Command::new("taskset");
    on_core.args(["-c", &place::PROXY_CORE.to_string()]).arg(command.get_program()).args(command.get_args());
    on_core.stdout(Stdio::null()).stderr(Stdio::null()).stdin(Stdio::null());
    let is_there = Command::new(command.get_program()).arg("-v").output().is_ok();
    if !is_there {
        return Peer { name, address: None, process: None };
    }
    let process = on_core.spawn().unwrap_or_else(|error| panic!("taskset: {error}; install util-linux"));
    let mut peer = Peer { name, address: Some(listen), process: Some(process) };
    let deadline = Instant::now() + Duration::from_secs(20);
    while TcpStream::connect(listen).is_err() {
        let ended =
            peer.process.as_mut().is_some_and(|child| child.try_wait().is_ok_and(|end| end.is_some()));
        assert!(!ended && Instant::now() < deadline, "{name} does not accept connections");
        std::thread::sleep(Duration::from_millis(20));
    }
    peer
}
