//! A page of `docs/recipes`: its blocks are what is run, so that what a reader copies was tried.

use std::{fs, path::Path};

use crate::{Result, lab};

/// What a page says.
pub(crate) struct Page {
    /// The values of the chart.
    pub(crate) values: String,
    /// The properties of a client, in their order.
    properties: Vec<(String, String)>,
    /// The principal that brokers see in the connections of clients.
    pub(crate) clients: String,
    /// The one that they see in the gateway's own requests.
    pub(crate) own: String,
}

impl Page {
    /// Reads `docs/recipes/NAME.md`.
    pub(crate) fn read(name: &str) -> Result<Self> {
        let text = fs::read_to_string(lab::repository().join("docs/recipes").join(format!("{name}.md")))?;
        let block = |kind: &str| match text.split(&format!("```{kind}\n")).collect::<Vec<_>>()[..] {
            [_, rest] => Ok(rest.split("```").next().unwrap_or_default()),
            _ => Err(format!("{name}.md does not have one block of `{kind}`")),
        };
        let principal = |who: &str| {
            let row = text.lines().find_map(|line| line.strip_prefix(&format!("| {who} | `")));
            let said = row.and_then(|rest| rest.split('`').next()).map(str::to_owned);
            said.ok_or_else(|| format!("{name}.md does not say the principal {who}"))
        };
        let property = |line: &str| {
            let (key, value) = line.split_once('=').ok_or_else(|| format!("{name}.md: {line}"))?;
            Ok::<_, crate::Fault>((key.to_owned(), value.to_owned()))
        };
        let lines = block("properties client")?.lines().filter(|line| !line.is_empty());
        Ok(Self {
            values: block("yaml values")?.to_owned(),
            properties: lines.map(property).collect::<Result<_>>()?,
            clients: principal("of clients")?,
            own: principal("the gateway's own")?,
        })
    }

    /// What clients are given to bootstrap from.
    pub(crate) fn bootstrap(&self) -> Result<&str> {
        let found = self.properties.iter().find(|(key, _)| key == "bootstrap.servers");
        found.map(|(_, value)| value.as_str()).ok_or_else(|| "no bootstrap.servers".into())
    }

    /// The properties as a file for Java.
    pub(crate) fn file(&self, folder: &Path, password: &str) -> String {
        let line =
            |(key, value): &(String, String)| format!("{key}={}\n", filled(key, value, folder, password));
        self.properties.iter().map(line).collect()
    }

    /// The arguments of a client program: the properties as they are for Java, translated for librdkafka. Files are in
    /// `folder`, and the word PASSWORD is the password.
    pub(crate) fn arguments(&self, client: &str, folder: &Path, password: &str) -> Result<Vec<String>> {
        let mut arguments = vec![format!("bootstrap={}", self.bootstrap()?)];
        for (key, value) in self.properties.iter().filter(|(key, _)| key != "bootstrap.servers") {
            let value = filled(key, value, folder, password);
            if client.starts_with("java-") {
                arguments.push(format!("client.{key}={value}"));
            } else {
                arguments.extend(librdkafka(key, &value)?);
            }
        }
        Ok(arguments)
    }
}

/// A value with the place of its file or with the password.
fn filled(key: &str, value: &str, folder: &Path, password: &str) -> String {
    if key.ends_with(".location") {
        folder.join(value).display().to_string()
    } else {
        value.replace("PASSWORD", password)
    }
}

/// The same for a client on librdkafka.
fn librdkafka(key: &str, value: &str) -> Result<Vec<String>> {
    let quoted = |name: &str| {
        let found = value.split_once(&format!("{name}=\"")).and_then(|(_, rest)| rest.split('"').next());
        found.ok_or_else(|| format!("no {name} in {value}"))
    };
    Ok(match key {
        "security.protocol" => vec![format!("client.{key}={}", value.to_lowercase())],
        "sasl.mechanism" => vec![format!("client.{key}={value}")],
        "sasl.jaas.config" => vec![
            format!("client.sasl.username={}", quoted("username")?),
            format!("client.sasl.password={}", quoted("password")?),
        ],
        "ssl.truststore.location" => vec![format!("client.ssl.ca.location={value}")],
        "ssl.keystore.location" => vec![
            format!("client.ssl.certificate.location={value}"),
            format!("client.ssl.key.location={value}"),
        ],
        "ssl.truststore.type" | "ssl.keystore.type" if value == "PEM" => Vec::new(),
        _ => return Err(format!("librdkafka has no {key}={value}").into()),
    })
}
