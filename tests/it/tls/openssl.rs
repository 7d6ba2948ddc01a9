//! `openssl s_client` as a client of a TLS listener: another library than the gateway's.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use kafka_protocol::messages::ListGroupsRequest;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::process::{Child, Command};

use super::files::Files;
use super::pki::Pair;
use crate::client::frame;
use crate::poll::in_time;

/// What became of a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Sees {
    /// An answer, over this version of TLS.
    Answer(&'static str),
    /// A fatal alert with this number.
    Alert(u16),
    /// An end without a word.
    Nothing,
}

/// A pair in files that `-cert` and `-key` take.
pub(crate) fn pair(files: &Files, name: &str, pair: &Pair) -> [PathBuf; 2] {
    [files.put(&format!("{name}.pem"), &pair.cert), files.put(&format!("{name}.key"), &pair.key)]
}

fn client(address: SocketAddr, ca: &Path, arguments: &[&str]) -> Child {
    let mut command = Command::new("openssl");
    command.args(["s_client", "-brief", "-connect"]).arg(address.to_string()).arg("-CAfile").arg(ca);
    command.args(arguments).kill_on_drop(true);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command.spawn().expect("the program `openssl` (apt-get install openssl)")
}

/// Shakes hands, sends a request and reads. Returns what it sees and all that it says.
pub(crate) async fn ask(address: SocketAddr, ca: &Path, arguments: &[&str]) -> (Sees, String) {
    // Without it a byte such as `R` at the start of what is sent would be a command.
    let arguments = [&["-ign_eof"], arguments].concat();
    let mut child = client(address, ca, &arguments);
    let mut input = child.stdin.take().expect("a pipe");
    // It may be gone already.
    let _ = input.write_all(&frame(&ListGroupsRequest::default(), 3, 1)).await;
    let answer = read_answer(&mut child).await;
    let _ = child.start_kill();
    let mut said = String::new();
    child.stderr.take().expect("a pipe").read_to_string(&mut said).await.expect("text");
    let version = ["TLSv1.2", "TLSv1.3"].into_iter().find(|v| said.contains(&format!("version: {v}")));
    let alert = said.split_once("SSL alert number ").map(|(_, rest)| rest.lines().next().unwrap_or_default());
    let sees = match (answer, version, alert) {
        (true, Some(version), _) => Sees::Answer(version),
        (_, _, Some(number)) => Sees::Alert(number.trim().parse().expect("a number")),
        _ => Sees::Nothing,
    };
    (sees, said)
}

/// Whether an answer begins before the end.
async fn read_answer(child: &mut Child) -> bool {
    let output = child.stdout.as_mut().expect("a pipe");
    let mut length = [0; 4];
    in_time("an answer or an end", output.read_exact(&mut length)).await.is_ok()
}

/// Shakes hands in TLS 1.2, asks to do it again, and returns what it says.
pub(crate) async fn renegotiate(address: SocketAddr, ca: &Path) -> String {
    let mut child = client(address, ca, &["-tls1_2"]);
    let mut input = child.stdin.take().expect("a pipe");
    input.write_all(b"R\n").await.expect("it reads");
    let mut said = String::new();
    let mut error = child.stderr.take().expect("a pipe");
    in_time("the end of s_client", error.read_to_string(&mut said)).await.expect("text");
    said
}

/// What a stored session says.
pub(crate) async fn session(file: &str) -> String {
    let output = Command::new("openssl").args(["sess_id", "-noout", "-text", "-in", file]).output();
    String::from_utf8(output.await.expect("openssl").stdout).expect("text")
}
