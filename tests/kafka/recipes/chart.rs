//! What Helm makes of a page's values, as far as a pod and its node need to know.

use std::{fs, process::Command};

use serde_json::Value;

use crate::{
    Result,
    lab::{self, Lab},
    mounted::Contents,
};

/// The objects of the release `gateway` in the namespace `gateway`.
pub(crate) struct Rendered(Vec<Value>);

/// What a folder of the pod holds.
pub(crate) enum Source {
    /// The Secret of that name; where some of its keys are picked, these and the files that they become.
    Secret(String, Vec<(String, String)>),
    /// A ConfigMap of the chart.
    ConfigMap(Contents),
}

impl Rendered {
    /// Renders the chart with those values; files of it are called `name`.
    pub(crate) fn new(lab: &Lab, name: &str, values: &str) -> Result<Self> {
        let file = lab.root().join(format!("{name}-values.yaml"));
        fs::write(&file, values)?;
        let output = Command::new("bash")
            .args(["-c", RENDER, "render"])
            .arg(&file)
            .current_dir(lab::repository())
            .output()?;
        if !output.status.success() {
            return Err(format!("helm: {}", String::from_utf8_lossy(&output.stderr)).into());
        }
        Ok(Self(serde_saphyr::from_multiple(&String::from_utf8(output.stdout)?)?))
    }

    /// Those of a kind.
    pub(crate) fn of_kind(&self, kind: &str) -> impl Iterator<Item = &Value> {
        self.0.iter().filter(move |object| object["kind"] == kind)
    }

    fn pod(&self) -> Result<&Value> {
        let deployment = self.of_kind("Deployment").next().ok_or("no Deployment")?;
        Ok(&deployment["spec"]["template"]["spec"])
    }

    /// What follows the program's name.
    pub(crate) fn arguments(&self) -> Result<Vec<&str>> {
        list(&self.pod()?["containers"][0]["args"]).iter().map(text).collect()
    }

    /// The variables of the container; those out of a Secret as its name and key.
    pub(crate) fn environment(&self) -> Result<Vec<(&str, Variable<'_>)>> {
        let variable = |entry| {
            let (entry, from): (&Value, &Value) = (entry, &entry["valueFrom"]["secretKeyRef"]);
            let value = match entry["value"].as_str() {
                Some(value) => Variable::Plain(value),
                None => Variable::Secret(text(&from["name"])?, text(&from["key"])?),
            };
            Ok((text(&entry["name"])?, value))
        };
        list(&self.pod()?["containers"][0]["env"]).iter().map(variable).collect()
    }

    /// Where the container has folders, and what is in them.
    pub(crate) fn mounts(&self) -> Result<Vec<(&str, Source)>> {
        let pod = self.pod()?;
        let source = |mount: &Value| -> Result<Source> {
            let volume = list(&pod["volumes"]).iter().find(|volume| volume["name"] == mount["name"]);
            let volume = volume.ok_or_else(|| format!("no volume for {mount}"))?;
            if volume["secret"].is_object() {
                let owned = |value: &Value| text(value).map(str::to_owned);
                let items = list(&volume["secret"]["items"]).iter();
                let items = items.map(|item| Ok((owned(&item["key"])?, owned(&item["path"])?)));
                return Ok(Source::Secret(
                    owned(&volume["secret"]["secretName"])?,
                    items.collect::<Result<_>>()?,
                ));
            }
            let name = &volume["configMap"]["name"];
            let found = self.of_kind("ConfigMap").find(|map| map["metadata"]["name"] == *name);
            let data = found.and_then(|map| map["data"].as_object());
            let data = data.ok_or_else(|| format!("neither Secret nor ConfigMap of the chart: {volume}"))?;
            let files = data.iter().map(|(file, value)| Ok((file.clone(), text(value)?.into())));
            Ok(Source::ConfigMap(files.collect::<Result<_>>()?))
        };
        let mounts = list(&pod["containers"][0]["volumeMounts"]).iter();
        mounts.map(|mount| Ok((text(&mount["mountPath"])?, source(mount)?))).collect()
    }

    /// The ports that clients reach, of Services or of nodes, each with that of the pod.
    pub(crate) fn ports(&self) -> Result<Vec<(u64, u64)>> {
        let mut ports = Vec::new();
        for service in self.of_kind("Service").filter(|service| !is_admin(service)) {
            let of_node = service["spec"]["type"] == "NodePort";
            for port in list(&service["spec"]["ports"]) {
                let outside = &port[if of_node { "nodePort" } else { "port" }];
                let pair = outside.as_u64().zip(port["targetPort"].as_u64());
                ports.push(pair.ok_or_else(|| format!("not two numbers: {port}"))?);
            }
        }
        if ports.is_empty() { Err("no port of a Service".into()) } else { Ok(ports) }
    }

    /// Whether any node takes what comes to a Service and sends it on by its own address.
    pub(crate) fn hides_clients(&self) -> bool {
        let mut services = self.of_kind("Service").filter(|service| !is_admin(service));
        services.any(|service| service["spec"]["externalTrafficPolicy"] == "Cluster")
    }

    /// The Secrets that cert-manager makes, each with the names that are asked for.
    pub(crate) fn certificates(&self) -> Result<Vec<(&str, Vec<&str>)>> {
        self.of_kind("Certificate")
            .map(|object| {
                let spec = &object["spec"];
                let names = list(&spec["dnsNames"]).iter().map(text).collect::<Result<_>>()?;
                Ok((text(&spec["secretName"])?, names))
            })
            .collect()
    }
}

/// The value of a variable.
pub(crate) enum Variable<'a> {
    /// As it is.
    Plain(&'a str),
    /// In a Secret: its name, and the key there.
    Secret(&'a str, &'a str),
}

fn is_admin(service: &Value) -> bool {
    service["metadata"]["name"].as_str().is_some_and(|name| name.ends_with("-admin"))
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map(Vec::as_slice).unwrap_or_default()
}

fn text(value: &Value) -> Result<&str> {
    value.as_str().ok_or_else(|| format!("not a text: {value}").into())
}

const RENDER: &str = r#"set -e; tools=$(tests/tools helm); eval "$tools"
"$HELM4" template gateway deploy/helm/gatehouse --namespace gateway --values "$1""#;
