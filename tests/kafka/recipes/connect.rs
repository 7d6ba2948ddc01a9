//! A real worker of Kafka Connect outside: its topics made and its connectors' records carried through the gateway.

use std::{
    fs,
    io::{Read as _, Write as _},
    net::TcpStream,
    path::Path,
    time::Duration,
};

use super::{Made, Place, Recipe, Stage, plain};
use crate::{
    Result,
    cluster::bootstrap,
    jars::{self, joined},
    lab::Side,
    poll::{self, LIMIT},
    process::Process,
    wire,
};

/// The worker is the page's client.
pub(super) const CONNECT: Recipe = Recipe { name: "kafka-connect", kafka: "4.3.1", clients: &[], make };

fn make(place: &Place) -> Result<Made> {
    Ok(Made { after: Some(Box::new(round_trip)), ..plain::with_login(place)? })
}

/// Lines of a file become records of a topic, and lines of another file.
fn round_trip(stage: &mut Stage<'_, '_>) -> Result<String> {
    let stage = &*stage;
    let mut worker = start(stage)?;
    wait(stage, &mut worker, "the worker", || {
        Ok(request(stage, "GET", "/connectors", "")? == (200, "[]".to_owned()))
    })?;
    let (lines, copy) = (stage.place.path("lines.txt"), stage.place.path("copy.txt"));
    let text: String = (0..LINES).map(|number| format!("line {number}\n")).collect();
    fs::write(&lines, &text)?;
    let connector = |name: &str, class: &str, file: &Path, topic: &str| {
        let config = serde_json::json!({
            "connector.class": format!("org.apache.kafka.connect.file.{class}"), "tasks.max": "1",
            "file": file, topic: TOPIC,
        });
        let (status, answer) =
            request(stage, "PUT", &format!("/connectors/{name}/config"), &config.to_string())?;
        if status == 201 { Ok(()) } else { Err(format!("{name}: {status}: {answer}")) }
            .map_err(crate::Fault::from)
    };
    connector("lines", "FileStreamSourceConnector", &lines, "topic")?;
    connector("copy", "FileStreamSinkConnector", &copy, "topics")?;
    wait(
        stage,
        &mut worker,
        "the copy",
        || Ok(fs::read_to_string(&copy).is_ok_and(|copied| copied == text)),
    )?;
    let internal = ["connect-configs", "connect-offsets", "connect-status"];
    let partitions = stage.lab.inside(Side::Brokers, || {
        let topics = internal.map(|topic| wire::described(&bootstrap(), topic));
        topics.into_iter().map(|topic| Ok(topic?.partitions.len())).sum::<Result<usize>>()
    })?;
    Ok(format!(
        "Connect worker, {LINES} lines out of a file and into another, {partitions} partitions of its own topics"
    ))
}

fn start(stage: &Stage<'_, '_>) -> Result<Process> {
    let libraries = jars::fetch("connect-4.3.1")?;
    let properties = stage.place.path("worker.properties");
    let text = stage.page.file(&stage.place.path("client"), stage.password);
    fs::write(&properties, text + WORKER)?;
    let logging = stage.place.path("log4j2.xml");
    fs::write(&logging, jars::LOG4J2)?;
    let mut java = stage.lab.command(Side::Clients, "java");
    java.args(jars::JAVA_FLAGS).arg("-Xmx256m").arg(joined("-Dlog4j2.configurationFile=", &logging));
    java.arg("-cp")
        .arg(libraries.join("*"))
        .arg("org.apache.kafka.connect.cli.ConnectDistributed")
        .arg(properties);
    Process::spawn(stage.lab, "connect", java)
}

fn wait(
    stage: &Stage<'_, '_>,
    worker: &mut Process,
    what: &str,
    mut condition: impl FnMut() -> Result<bool>,
) -> Result<()> {
    let seen = poll::until(what, LIMIT, || {
        if !worker.running()? {
            return Ok(Some(false));
        }
        Ok(condition()?.then_some(true))
    });
    match seen {
        Ok(true) => Ok(()),
        Ok(false) => Err(worker.explain("the worker ended by itself")),
        Err(error) => {
            let status = request(stage, "GET", "/connectors?expand=status", "").map(|(_, text)| text);
            Err(worker.explain(&format!("{error}; {}", status.unwrap_or_default())))
        }
    }
}

/// Status and body of the worker's answer.
fn request(stage: &Stage<'_, '_>, method: &str, path: &str, body: &str) -> Result<(u16, String)> {
    stage.lab.inside(Side::Clients, || {
        let mut stream = TcpStream::connect(REST)?;
        stream.set_read_timeout(Some(Duration::from_secs(90)))?;
        write!(
            stream,
            "{method} {path} HTTP/1.0\r\nHost: {REST}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        )?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        let (head, body) = answer.split_once("\r\n\r\n").ok_or("an answer without a head")?;
        let status = head.split(' ').nth(1).and_then(|word| word.parse().ok());
        Ok((status.ok_or("no status")?, body.to_owned()))
    })
}

const LINES: usize = 500;
const TOPIC: &str = "connect-lines";
const REST: &str = "127.0.0.1:8083";
/// What the page leaves to the reader.
const WORKER: &str = "key.converter=org.apache.kafka.connect.storage.StringConverter
value.converter=org.apache.kafka.connect.storage.StringConverter
listeners=http://127.0.0.1:8083
plugin.discovery=service_load
";
