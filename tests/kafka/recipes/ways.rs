//! Ways to the gateway: an AWS NLB with PROXY headers, MetalLB, node ports, and the way of the name.

use std::{
    io::{ErrorKind, Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    time::Duration,
};

use kafka_protocol::messages::ApiVersionsRequest;

use super::{Made, Recipe, Stage, Way, balancer, contents, plain};
use crate::{
    Result,
    lab::{DOOR, Lab, POD, Side},
    poll::{self, LIMIT},
    process::Process,
    wire::Connection,
};

/// HAProxy in the place of the NLB: PROXY headers of version 2, for its own checks as well.
pub(super) const NLB: Recipe = Recipe {
    name: "aws-nlb",
    kafka: "4.3.1",
    clients: &["confluent-python"],
    make: |place| {
        let secrets = [("gatehouse-admin".to_owned(), contents([("token", TOKEN)]))].into();
        Ok(Made { secrets, way: Way::Proxy, after: Some(Box::new(nlb)), ..plain::make(place)? })
    },
};

/// A Service that leaves the client's address as it is.
pub(super) const METALLB: Recipe = Recipe {
    name: "metallb",
    kafka: "4.3.1",
    clients: &["kcat"],
    make: |place| Ok(Made { after: Some(Box::new(own_address)), ..plain::make(place)? }),
};

/// Node ports, where the gateway sees a node.
pub(super) const NODEPORT: Recipe = Recipe {
    name: "nodeport",
    kafka: "4.3.1",
    clients: &["java-4.4"],
    make: |place| Ok(Made { after: Some(Box::new(node_address)), ..plain::make(place)? }),
};

/// The values of the page; a DNS provider is not to be had.
pub(super) const EXTERNAL_DNS: Recipe =
    Recipe { name: "external-dns", kafka: "4.3.1", clients: &["kcat"], make: plain::make };

/// The balancer for those ports, outside and of the pod; none without any.
pub(super) fn balancer(lab: &Lab, ports: &[(u64, u64)]) -> Result<Option<Process>> {
    if ports.is_empty() {
        return Ok(None);
    }
    let port = |(outside, inside): &(u64, u64)| balancer::Port {
        bind: format!("{DOOR}:{outside}"),
        server: format!("{POD}:{inside}"),
    };
    let ports: Vec<balancer::Port> = ports.iter().map(port).collect();
    let options = "send-proxy-v2 check check-send-proxy inter 200ms";
    let process = balancer::start(lab, "balancer", &ports, options)?;
    let first = &ports[0].bind;
    lab.inside(Side::Clients, || {
        poll::until("the balancer", LIMIT, || Ok(Some(TcpStream::connect(first)?)))
    })?;
    Ok(Some(process))
}

/// The Service leaves the client's address as it is.
fn own_address(stage: &mut Stage<'_, '_>) -> Result<String> {
    let (own, seen) = peers(stage)?;
    if seen.contains(&own.to_string()) {
        Ok(format!("the gateway sees {}", own.ip()))
    } else {
        Err(format!("{own} is not in {seen:?}").into())
    }
}

/// Any node takes the connection, and the gateway sees that node.
fn node_address(stage: &mut Stage<'_, '_>) -> Result<String> {
    let (own, seen) = peers(stage)?;
    let client = format!("{}:", own.ip());
    match seen.first() {
        Some(node) if !seen.iter().any(|peer| peer.starts_with(&client)) => {
            Ok(format!("the gateway sees {node}"))
        }
        _ => Err(format!("{seen:?} are not nodes alone").into()),
    }
}

/// A client's own address, and all that the pod has connections with at the bootstrap port.
fn peers(stage: &Stage<'_, '_>) -> Result<(SocketAddr, Vec<String>)> {
    let connection = connect(stage)?;
    let mut command = stage.lab.command(Side::Pod, "ss");
    command.args(["-Htn", "state", "established", "sport", "=", ":9092"]);
    let printed = String::from_utf8(command.output()?.stdout)?;
    let peers = printed.lines().filter_map(|line| line.split_whitespace().nth(3).map(str::to_owned));
    Ok((connection.local_address()?, peers.collect()))
}

/// A client that was answered at the page's bootstrap address.
fn connect(stage: &Stage<'_, '_>) -> Result<Connection> {
    let (_, port) = stage.page.bootstrap()?.rsplit_once(':').ok_or("no port")?;
    stage.lab.inside(Side::Clients, || {
        let mut connection = Connection::open(&format!("{DOOR}:{port}"))?;
        connection.call(0, &ApiVersionsRequest::default())?;
        Ok(connection)
    })
}

/// The balancer's checks count as nothing, whoever comes without a header is turned away, and `/readyz` cannot be asked
/// behind one.
fn nlb(stage: &mut Stage<'_, '_>) -> Result<String> {
    let gateway = &stage.pod.gateway;
    let accepted = || gateway.metric("gatehouse_connections_accepted_total", &[]);
    let before = accepted()?;
    poll::until_true("checks of the balancer", LIMIT, || Ok(accepted()? >= before + CHECKS))?;
    let rejected = || gateway.metric("gatehouse_connections_rejected_total", &["reason=\"proxy_header\""]);
    if rejected()? != 0.0 {
        return Err("checks of the balancer were turned away".into());
    }
    stage.lab.inside(Side::Brokers, || expect_close(&format!("{POD}:9092"), API_VERSIONS))?;
    poll::until_true("a connection without a header turned away", LIMIT, || Ok(rejected()? == 1.0))?;
    let asked = [LOCAL_HEADER, b"GET /readyz HTTP/1.1\r\nHost: x\r\n\r\n"].concat();
    let answer = stage.lab.inside(Side::Brokers, || answer(&format!("{POD}:9910"), &asked))?;
    if answer.starts_with("HTTP/1.1 200") {
        return Err("/readyz is answered behind a PROXY header: the page says that it is not".into());
    }
    let connection = connect(stage)?;
    let (head, page) = gateway.request("GET", "/api/v1/connections?limit=1000", Some(TOKEN))?;
    let page: serde_json::Value = serde_json::from_str(&page).map_err(|error| format!("{head}: {error}"))?;
    let listed = page["connections"].as_array().ok_or("no list of connections")?;
    let own = connection.local_address()?;
    if !listed.iter().any(|entry| entry["client"] == own.to_string().as_str()) {
        return Err(format!("{own} is not listed: {page}").into());
    }
    Ok(format!("the gateway lists {}, checks with LOCAL pass", own.ip()))
}

fn answer(address: &str, bytes: &[u8]) -> Result<String> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(Duration::from_secs(30)))?;
    stream.write_all(bytes)?;
    let mut answer = Vec::new();
    match stream.read_to_end(&mut answer) {
        Ok(_) => (),
        Err(error) if error.kind() == ErrorKind::ConnectionReset => (),
        Err(error) => return Err(error.into()),
    }
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

fn expect_close(address: &str, bytes: &[u8]) -> Result<()> {
    match answer(address, bytes)?.as_str() {
        "" => Ok(()),
        other => Err(format!("{address} answered {} bytes to one without a header", other.len()).into()),
    }
}

const TOKEN: &str = "of-the-admin";
/// Accepted connections that nobody but the balancer can have opened.
const CHECKS: f64 = 5.0;
/// A PROXY header of version 2 for the balancer's own connection.
const LOCAL_HEADER: &[u8] = b"\r\n\r\n\0\r\nQUIT\n\x20\x00\x00\x00";
/// ApiVersions, version 0, without a client's name.
const API_VERSIONS: &[u8] = b"\0\0\0\x0a\0\x12\0\0\0\0\0\x01\xff\xff";
