//! What stands between generator and sink: nothing, the gateway, HAProxy and nginx, as they come and tuned.

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::load::Target;
use super::place;
use super::tls::{self, Secure};

/// One way from generator to sink. Dropping it ends its process.
pub(crate) struct Peer {
    pub(crate) name: &'static str,
    /// Where clients connect; `None` for one that is not installed.
    pub(crate) address: Option<SocketAddr>,
    process: Option<Child>,
    /// The authority behind its certificate.
    ca: Option<PathBuf>,
}

pub(crate) const DIRECT: &str = "direct";
pub(crate) const GATEWAY: &str = "gatehouse";
pub(crate) const HAPROXY: &str = "haproxy";
pub(crate) const HAPROXY_BUFFERS: &str = "haproxy 64K";
pub(crate) const HAPROXY_SPLICE: &str = "haproxy splice";
pub(crate) const AWSLC: &str = "haproxy awslc";
pub(crate) const AWSLC_BUFFERS: &str = "haproxy awslc 64K";
pub(crate) const NGINX: &str = "nginx";
pub(crate) const NGINX_BUFFERS: &str = "nginx 256K";

impl Peer {
    /// Where clients go, and how; `None` for a peer that is not there.
    pub(crate) fn target(&self, secure: Option<Secure>) -> Option<Target> {
        let tls = secure.and_then(|secure| Some(tls::client(self.ca.as_deref()?, secure)));
        Some(Target { address: self.address?, tls })
    }

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

/// Starts every peer that is there, with plain sockets or ending TLS.
pub(crate) fn start(sink: SocketAddr, secure: bool) -> Vec<Peer> {
    let directory = std::env::temp_dir().join(format!("gatehouse-bench-{}", std::process::id()));
    std::fs::create_dir_all(&directory).expect("a directory can be made");
    if secure {
        return start_secure(sink, &directory);
    }
    let mut peers = vec![Peer { name: DIRECT, address: Some(sink), process: None, ca: None }];
    peers.push(gateway(sink, "", &directory));
    let splice = "option splice-request\n  option splice-response\n";
    for (name, global, defaults) in [
        (HAPROXY, "", ""),
        (HAPROXY_BUFFERS, "tune.bufsize 65536\n", ""),
        (HAPROXY_SPLICE, "tune.pipesize 1048576\n  maxpipes 2000\n", splice),
    ] {
        peers.push(haproxy((name, "haproxy".into()), sink, (global, defaults, ""), &directory));
    }
    for (name, buffers) in [(NGINX, ""), (NGINX_BUFFERS, "proxy_buffer_size 256k;")] {
        peers.push(nginx(name, sink, (buffers, ""), &directory));
    }
    peers
}

/// All show the same certificate. `HAPROXY_AWSLC` names an HAProxy on AWS-LC, as `benches/peers awslc` builds it.
fn start_secure(sink: SocketAddr, directory: &Path) -> Vec<Peer> {
    let files = tls::make(directory);
    let pair = format!("cert: {}, key: {}", files.server_cert.display(), files.server_key.display());
    let mut peers = vec![gateway(sink, &format!("\n    tls: {{ certificates: {{ {pair} }} }}"), directory)];
    let bind = format!(" ssl crt {} ssl-min-ver TLSv1.3", directory.join("both.pem").display());
    let awslc = std::env::var_os("HAPROXY_AWSLC").unwrap_or_else(|| "haproxy-awslc".into());
    for (name, program, global) in [
        (HAPROXY, "haproxy".into(), ""),
        (AWSLC, awslc.clone(), ""),
        (AWSLC_BUFFERS, awslc, "tune.bufsize 65536\n"),
    ] {
        peers.push(haproxy((name, program), sink, (global, "", &bind), directory));
    }
    let pair = format!(
        "ssl_protocols TLSv1.3; ssl_certificate {}; ssl_certificate_key {};",
        files.server_cert.display(),
        files.server_key.display()
    );
    for (name, buffers) in [(NGINX, ""), (NGINX_BUFFERS, "proxy_buffer_size 256k;")] {
        peers.push(nginx(name, sink, (buffers, &pair), directory));
    }
    for peer in &mut peers {
        peer.ca = Some(files.ca.clone());
    }
    peers
}

fn gateway(sink: SocketAddr, tls: &str, directory: &Path) -> Peer {
    let [listen, admin, node] = free();
    // The bootstrap port leads to the sink, and so would node 0: no other node is routed.
    let text = format!(
        "clusters:\n  sink: {{ bootstrap: [\"{sink}\"] }}\nlisteners:\n  bench:\n    bind: {listen}\n    \
         advertise: 127.0.0.1\n    routing: {{ port: {{ ranges: [ {{ nodes: 0-0, bind: {} }} ] }} }}{tls}\n\
         admin: {{ bind: {admin} }}\n",
        node.port()
    );
    let file = write(directory, "gatehouse.yaml", &text);
    let mut command = Command::new(
        std::env::var_os("GATEHOUSE_BIN").unwrap_or_else(|| env!("CARGO_BIN_EXE_gatehouse").into()),
    );
    command.arg("run").arg("--config").arg(file);
    spawn(GATEWAY, &command, listen)
}

type Program = (&'static str, std::ffi::OsString);

fn haproxy((name, program): Program, sink: SocketAddr, tuning: (&str, &str, &str), directory: &Path) -> Peer {
    let [listen] = free();
    let (global, defaults, bind) = tuning;
    let text = format!(
        "global\n  nbthread 1\n  maxconn 6000\n  {global}\ndefaults\n  mode tcp\n  timeout connect 5s\n  \
         timeout client 1h\n  timeout server 1h\n  {defaults}\nlisten bench\n  bind {listen}{bind}\n  \
         server sink {sink}\n",
    );
    let file = write(directory, &format!("{}.cfg", name.replace(' ', "-")), &text);
    let mut command = Command::new(program);
    command.arg("-db").arg("-f").arg(file);
    spawn(name, &command, listen)
}

fn nginx(name: &'static str, sink: SocketAddr, (buffers, tls): (&str, &str), directory: &Path) -> Peer {
    let [listen] = free();
    let ssl = if tls.is_empty() { "" } else { "ssl" };
    let module = "/usr/lib/nginx/modules/ngx_stream_module.so";
    let module = if Path::new(module).is_file() { format!("load_module {module};") } else { String::new() };
    let text = format!(
        "{module} daemon off; master_process off; worker_processes 1; pid {0}/{1}.pid; error_log stderr error; \
         events {{ worker_connections 19000; }} stream {{ server {{ listen {listen} {ssl} backlog=8192; {tls} \
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

/// Addresses that are free now, no two alike.
fn free<const N: usize>() -> [SocketAddr; N] {
    let bind = |_| TcpListener::bind("127.0.0.1:0").expect("a loopback address can be bound");
    let held = [(); N].map(bind);
    held.each_ref().map(|listener| listener.local_addr().expect("a bound socket has an address"))
}

/// Starts a peer on the core of the proxies and waits until it accepts; one that is not installed is absent.
fn spawn(name: &'static str, command: &Command, listen: SocketAddr) -> Peer {
    let mut on_core = Command::new("taskset");
    on_core.args(["-c", &place::PROXY_CORE.to_string()]).arg(command.get_program()).args(command.get_args());
    on_core.stdout(Stdio::null()).stderr(Stdio::null()).stdin(Stdio::null());
    let is_there = Command::new(command.get_program()).arg("-v").output().is_ok();
    if !is_there {
        return Peer { name, address: None, process: None, ca: None };
    }
    let process = on_core.spawn().unwrap_or_else(|error| panic!("taskset: {error}; install util-linux"));
    let mut peer = Peer { name, address: Some(listen), process: Some(process), ca: None };
    let deadline = Instant::now() + Duration::from_secs(20);
    while TcpStream::connect(listen).is_err() {
        let ended =
            peer.process.as_mut().is_some_and(|child| child.try_wait().is_ok_and(|end| end.is_some()));
        assert!(!ended && Instant::now() < deadline, "{name} does not accept connections");
        std::thread::sleep(Duration::from_millis(20));
    }
    peer
}
