//! Keys and passwords of a whole run appear nowhere: not in a log at trace level, on no page, in no output.

use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};

use gatehouse::toy::{Options, User};
use kafka_protocol::messages::{SaslAuthenticateRequest, SaslHandshakeRequest};
use tokio::net::TcpStream;
use tokio::process::{Child, Command};

use super::files::Files;
use super::house::{self, House, Material, Plan, TOKEN};
use super::peer::{self, VERSIONS};
use crate::client::text;
use crate::gateway::{ADVERTISED, PORT, own_address, toy};
use crate::poll::{in_time, until};

/// Everything secret that is no key.
const PASSWORDS: [&str; 5] =
    ["canary-of-a-file", "canary-of-the-text", "canary-of-discovery", "canary-of-a-client", TOKEN];

fn gatehouse(config: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_gatehouse"));
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("GATEHOUSE_"))
    {
        command.env_remove(name);
    }
    command.args(arguments).arg("--config").arg(config).env("GATEHOUSE_LOG", "trace").kill_on_drop(true);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// A key under a password, as a file.
async fn encrypt(files: &Files, name: &str, key: &str, password: &str) {
    let plain = files.put("plain.key", key);
    let made = Command::new("openssl")
        .args(["pkcs8", "-topk8", "-v2", "aes-256-cbc", "-passout", &format!("pass:{password}"), "-in"])
        .arg(plain)
        .arg("-out")
        .arg(files.path(name))
        .status();
    assert!(made.await.expect("the program `openssl` (apt-get install openssl)").success());
    files.remove("plain.key");
}

/// The lines of a key's body: what no other text holds by chance.
fn lines_of(key: &str) -> Vec<String> {
    key.lines().filter(|line| !line.starts_with("-----") && line.len() >= 20).map(str::to_owned).collect()
}

/// What a run printed, after a signal to stop.
async fn stopped(child: Child) -> Output {
    let id = child.id().expect("a running gateway").to_string();
    let killed = Command::new("kill").args(["-TERM", &id]).status().await.expect("kill");
    assert!(killed.success());
    in_time("the end of the gateway", child.wait_with_output()).await.expect("its output")
}

/// A configuration with every kind of secret in it, and the secrets.
async fn prepare(material: &Material, ip: IpAddr, bootstrap: &[String]) -> (PathBuf, Vec<String>) {
    let [in_file, in_text, of_discovery, ..] = PASSWORDS;
    let files = &material.files;
    let pairs = [(); 3].map(|()| material.servers.server(&[ADVERTISED]));
    let mut secrets: Vec<String> = PASSWORDS.map(str::to_owned).into();
    secrets.extend(pairs.iter().flat_map(|pair| lines_of(&pair.key)));
    material.put_server(&pairs[0]);
    for (pair, name, password) in [(&pairs[1], "by-file", in_file), (&pairs[2], "by-text", in_text)] {
        files.put(&format!("{name}.crt"), &pair.cert);
        let key = format!("{name}.key");
        encrypt(files, &key, &pair.key, password).await;
        secrets.extend(lines_of(&std::fs::read_to_string(files.path(&key)).expect("text")));
    }
    files.put("password", in_file);
    let path = |name: &str| files.path(name).display().to_string();
    let by_file = format!("{{ file: {} }}", path("password"));
    let more = [("by-file", by_file.as_str()), ("by-text", in_text)].map(|(name, password)| {
        let (cert, key) = (path(&format!("{name}.crt")), path(&format!("{name}.key")));
        format!(", {{ cert: {cert}, key: {key}, key_password: {password} }}")
    });
    let door = material.mutual("required", "").replacen(" ],", &format!("{} ],", more.concat()), 1);
    let login = format!("mechanism: SCRAM-SHA-256, username: gate, password: {of_discovery}");
    let discovery = format!("discovery: {{ sasl: {{ {login} }} }}");
    let plan = Plan { door: &[&door], cluster: &[&discovery], ..Plan::default() };
    (files.put("gatehouse.yaml", &House::text(ip, bootstrap, &plan)), secrets)
}

/// What is printed, and where.
type Printed = Vec<(String, Vec<u8>)>;

/// What the commands print that run no gateway.
async fn commands(config: &Path, files: &Files) -> Printed {
    let mut printed = Printed::new();
    let certificates = ["server.crt", "by-text.crt"].map(|name| files.path(name).display().to_string());
    for arguments in [
        &["config", "show"][..],
        &["config", "show", "-o", "json"],
        &["validate", "-v"],
        &["routes"],
        &["cert", "show", &certificates[0], &certificates[1]],
    ] {
        let output = gatehouse(config, arguments).output().await.expect("an output");
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        printed.push((arguments.join(" "), [output.stdout, output.stderr].concat()));
    }
    printed
}

/// What admin says while files go wrong in every way: a wrong password, a key where a certificate should be,
/// half a key, two keys.
async fn pages(admin: SocketAddr, files: &Files) -> Printed {
    let mut printed = Printed::new();
    let authorized =
        |method: &str, path: &str| format!("{method} {path} HTTP/1.1\r\nAuthorization: Bearer {TOKEN}");
    let read = |name: &str| std::fs::read_to_string(files.path(name)).expect("text");
    let key = read("server.key");
    let faults = [
        ("password", PASSWORDS[1].to_owned()),
        ("server.crt", key.clone()),
        ("server.key", key[..120].to_owned()),
        ("by-text.key", key.repeat(2)),
    ];
    for (name, text) in faults {
        let good = read(name);
        files.put(name, &text);
        let (status, body) = house::ask(admin, &authorized("POST", "/api/v1/reload")).await;
        assert_eq!(status, 422, "{name}: {body}");
        printed.push((format!("reload with a bad {name}"), body.into_bytes()));
        let api = ["status", "listeners", "clusters", "routes", "connections", "certificates"];
        let api = api.map(|page| format!("/api/v1/{page}"));
        let open = ["/", "/metrics", "/readyz?verbose"].map(str::to_owned);
        for page in open.into_iter().chain(api) {
            let (status, body) = house::ask(admin, &authorized("GET", &page)).await;
            assert_eq!(status, 200, "{page}");
            printed.push((page, body.into_bytes()));
        }
        files.put(name, &good);
    }
    printed
}

#[tokio::test]
async fn a_secret_of_a_run_is_printed_nowhere() {
    let [_, _, of_discovery, of_client, _] = PASSWORDS;
    let users = vec![User { name: "gate".to_owned(), password: of_discovery.to_owned() }];
    let cluster = toy(Options { users, ..Options::default() }).await;
    let (material, ip) = (Material::new(), own_address());
    let bootstrap: Vec<String> = cluster.addresses().iter().map(|(_, address)| address.to_string()).collect();
    let (config, secrets) = prepare(&material, ip, &bootstrap).await;
    let mut printed = commands(&config, &material.files).await;

    let child = gatehouse(&config, &["run", "-v"]).spawn().expect("a gateway");
    let (door, admin) = (SocketAddr::new(ip, PORT), SocketAddr::new(ip, 9910));
    until("readiness", async || {
        TcpStream::connect(admin).await.is_ok() && house::ask(admin, "GET /readyz HTTP/1.1").await.0 == 200
    })
    .await;
    for version in VERSIONS {
        let known = peer::config(&material.servers, Some(&material.clients.client("known")), version);
        let mut client = peer::connect(door, ADVERTISED, &known).await.expect("a handshake");
        log_in(&mut client, of_client).await;
        let nobody = peer::config(&material.servers, None, version);
        peer::outcome(door, ADVERTISED, &nobody).await;
    }
    printed.extend(pages(admin, &material.files).await);
    let output = stopped(child).await;
    let log = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(log.contains("DEBUG") && log.contains("CN=known"), "a log that says all: {log}");
    printed.push(("the log".to_owned(), [output.stdout, output.stderr].concat()));
    for (place, bytes) in printed {
        let text = String::from_utf8_lossy(&bytes);
        for secret in &secrets {
            assert!(!text.contains(secret.as_str()), "{place} holds {secret}:\n{text}");
        }
    }
}

/// Sends a password through the gateway. Nobody knows it.
async fn log_in(client: &mut peer::TlsClient, password: &str) {
    let handshake = SaslHandshakeRequest::default().with_mechanism(text("PLAIN"));
    client.call(&handshake, 1).await;
    let token = format!("\0client\0{password}");
    let request = SaslAuthenticateRequest::default().with_auth_bytes(token.into_bytes().into());
    let answer = client.call(&request, 2).await;
    assert_ne!(answer.error_code, 0);
}
