//! What `generate` makes, and the flags of each.

use clap::{Args, Subcommand, ValueEnum};
use regex_lite::Regex;

/// What to make.
#[derive(Debug, Subcommand)]
pub(in crate::cli) enum Generate {
    /// Manifests for kubectl: what the Helm chart would install for this configuration
    #[command(after_help = "\
Examples:
  gatehouse generate kubernetes --namespace gateway > gatehouse-manifests.yaml
  gatehouse generate kubernetes --type NodePort --image registry.example.com/gatehouse:0.1.0 | kubectl apply -f -

The service has exactly the ports of the configuration. Files and variables that it names come from Secrets;
the head of the output has the commands that make them. Comments of the file stay in the ConfigMap.")]
    Kubernetes(Kubernetes),
    /// A unit for systemd, with the limits that this configuration needs
    #[command(after_help = "\
Examples:
  gatehouse generate systemd --config /etc/gatehouse/gatehouse.yaml > /etc/systemd/system/gatehouse.service
  gatehouse generate systemd | systemd-analyze verify /dev/stdin")]
    Systemd,
    /// A compose file that runs the gateway with the ports of this configuration
    #[command(after_help = "\
Examples:
  gatehouse generate compose > compose.yaml && docker compose up
  gatehouse generate compose --image registry.example.com/gatehouse:0.1.0")]
    Compose(Image),
    /// The Grafana board
    #[command(after_help = "\
Examples:
  gatehouse generate grafana > gatehouse-dashboard.json")]
    Grafana,
    /// The alert rules for Prometheus
    #[command(after_help = "\
Examples:
  gatehouse generate alerts > /etc/prometheus/rules/gatehouse.yaml
  gatehouse generate alerts --format prometheus-rule | kubectl apply -f -")]
    Alerts(Alerts),
}

/// Flags of `generate kubernetes`.
#[derive(Args, Debug)]
pub(in crate::cli) struct Kubernetes {
    /// The name of the objects
    #[arg(long, default_value = "gatehouse", value_parser = name)]
    pub(super) name: String,
    /// Their namespace [default: the one of `kubectl apply`]
    #[arg(long, value_parser = namespace)]
    pub(super) namespace: Option<String>,
    #[command(flatten)]
    pub(super) image: Image,
    /// How clients outside reach the service
    #[arg(long, value_enum, ignore_case = true, value_name = "LoadBalancer|NodePort|ClusterIP")]
    #[arg(default_value = "LoadBalancer", hide_possible_values = true)]
    pub(super) r#type: ServiceType,
    /// The most ports that the service may have; load balancers have limits, that of AWS is 50
    #[arg(long, value_name = "NUMBER", default_value = "50")]
    pub(super) max_ports: usize,
}

/// The image of the gateway.
#[derive(Args, Debug)]
pub(in crate::cli) struct Image {
    /// The image, with a tag or a digest [default: that of this version, as it was built; no registry has it]
    #[arg(long, value_parser = image)]
    image: Option<String>,
}

impl Image {
    /// What `deploy/release` and `deploy/Dockerfile` call the image of this version.
    const BUILT: &str = concat!("gatehouse:", env!("CARGO_PKG_VERSION"));

    /// What it is called.
    pub(super) fn reference(&self) -> &str {
        self.image.as_deref().unwrap_or(Self::BUILT)
    }

    /// What to know about an image that was not named.
    pub(super) fn doubt(&self) -> Option<String> {
        self.image.is_none().then(|| {
            format!(
                "warning: no registry has `{0}`: bring it to one of yours and name it, as in \
                 `--image registry.example.com/{0}`, or to where it runs",
                Self::BUILT
            )
        })
    }
}

/// The type of a service.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum ServiceType {
    /// A load balancer of its own.
    #[value(name = "LoadBalancer")]
    LoadBalancer,
    /// A port of every node for each port.
    #[value(name = "NodePort")]
    NodePort,
    /// Inside of the cluster only.
    #[value(name = "ClusterIP")]
    ClusterIp,
}

/// Flags of `generate alerts`.
#[derive(Args, Debug)]
pub(in crate::cli) struct Alerts {
    /// A file of rules, or the object that the Prometheus operator reads
    #[arg(
        long,
        value_enum,
        default_value_t,
        value_name = "rules|prometheus-rule",
        hide_possible_values = true
    )]
    pub(super) format: AlertFormat,
}

/// How alert rules come out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(super) enum AlertFormat {
    /// A file of rules.
    #[default]
    Rules,
    /// An object of the Prometheus operator.
    PrometheusRule,
}

/// Whether it is what DNS takes between two dots.
fn is_label(text: &str) -> bool {
    let is_end = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    text.starts_with(is_end) && text.ends_with(is_end) && text.chars().all(|c| is_end(c) || c == '-')
}

/// A name that services may have, with room for what is put behind it.
fn name(text: &str) -> Result<String, String> {
    if is_label(text) && text.len() <= 52 && text.starts_with(|c: char| c.is_ascii_lowercase()) {
        Ok(text.to_owned())
    } else {
        Err("take 1 to 52 of a-z, 0-9 and `-`, a letter first and no `-` last".to_owned())
    }
}

fn namespace(text: &str) -> Result<String, String> {
    if is_label(text) && text.len() <= 63 {
        Ok(text.to_owned())
    } else {
        Err("take 1 to 63 of a-z, 0-9 and `-`, no `-` first or last".to_owned())
    }
}

/// `[REGISTRY[:PORT]/]NAME` and a tag, a digest, or both.
const IMAGE: &str = "^([A-Za-z0-9][A-Za-z0-9.-]*(:[0-9]{1,5})?/)?[a-z0-9]+(([._]|__|-+|/)[a-z0-9]+)*\
                     (:[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}(@[a-z0-9]+:[0-9a-f]{32,128})?|@[a-z0-9]+:[0-9a-f]{32,128})$";

fn image(text: &str) -> Result<String, String> {
    if Regex::new(IMAGE).is_ok_and(|image| image.is_match(text)) {
        Ok(text.to_owned())
    } else {
        Err("not an image with a tag or a digest, such as `registry.example.com/gatehouse:0.1.0`".to_owned())
    }
}
