//! Commands, flags and their help.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;

use super::generate::args::Generate;

/// One door in front of a Kafka cluster: clients see one address, the gateway finds the brokers.
#[derive(Debug, Parser)]
#[command(name = "gatehouse", version, disable_help_subcommand = true, max_term_width = 100)]
#[command(after_help = "\
Examples:
  gatehouse demo
  gatehouse proxy --to kafka-0:9092 --listen :9092 --advertise kafka.example.com
  gatehouse validate && gatehouse check
  gatehouse run --config /etc/gatehouse/gatehouse.yaml

Exit codes: 0 done, 1 failed, 2 wrong command line, 3 a check failed, 66 no configuration file, 69 the
gateway is not reached, 71 the system refused (port in use), 77 admin token refused, 78 wrong
configuration, 130 and 143 left at a second signal.")]
pub(super) struct Arguments {
    #[command(flatten)]
    pub(super) global: Global,
    #[command(subcommand)]
    pub(super) command: Command,
}

/// Flags of every command.
#[derive(Args, Debug)]
#[command(next_help_heading = "Everywhere")]
pub(super) struct Global {
    /// Configuration file; `-` reads standard input [default: ./gatehouse.yaml, then
    /// /etc/gatehouse/gatehouse.yaml]
    #[arg(short, long, value_name = "FILE", env = "GATEHOUSE_CONFIG", hide_env_values = true, global = true)]
    pub(super) config: Option<PathBuf>,
    /// How data comes out
    #[arg(short, long, value_enum, default_value_t, value_name = "text|json", global = true)]
    #[arg(hide_possible_values = true)]
    pub(super) output: Format,
    /// When to colour
    #[arg(long, value_enum, default_value_t, value_name = "auto|always|never", global = true)]
    #[arg(hide_possible_values = true)]
    pub(super) color: Color,
    /// Say less: no line on success; `run` logs warnings and errors only
    #[arg(short, long, conflicts_with = "verbose", global = true)]
    pub(super) quiet: bool,
    /// Say more: `run` logs every connection
    #[arg(short, long, global = true)]
    pub(super) verbose: bool,
}

/// How data comes out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(super) enum Format {
    /// For people
    #[default]
    Text,
    /// One document for programs
    Json,
}

/// When to colour.
#[derive(Clone, Copy, Debug, Default, ValueEnum)]
pub(super) enum Color {
    /// On a terminal, unless NO_COLOR is set
    #[default]
    Auto,
    /// Always
    Always,
    /// Never
    Never,
}

impl Color {
    /// Sets it for both streams.
    pub(super) fn write_global(self) {
        match self {
            Self::Auto => anstream::ColorChoice::Auto,
            Self::Always => anstream::ColorChoice::Always,
            Self::Never => anstream::ColorChoice::Never,
        }
        .write_global();
    }
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Run the gateway in the foreground
    #[command(after_help = "\
Examples:
  gatehouse run
  gatehouse run --config /etc/gatehouse/gatehouse.yaml
  GATEHOUSE_LOG=info,gatehouse::topology=debug gatehouse run

TERM or INT stops it in order: not ready, no new connections, requests in flight finished. A second
one leaves at once. GATEHOUSE_WORKERS sets the number of worker threads.")]
    Run,
    /// Run the gateway without a file, for one cluster
    #[command(after_help = "\
Examples:
  gatehouse proxy --to kafka-0:9092 --listen :9092 --advertise kafka.example.com
  gatehouse proxy --to k0:9092 --to k1:9092 --listen 127.0.0.1:19092 --advertise localhost

Broker N is served on the listen port + 1 + N, for N below 100.")]
    Proxy(Proxy),
    /// Show it all in one process: three toy brokers, the gateway, and traffic
    #[command(after_help = "\
Examples:
  gatehouse demo
  gatehouse demo --tls
  gatehouse demo --port 19092 --verbose

Nothing to install and nothing to configure. Where a port is taken, the next free ones are used and
printed.")]
    Demo(Demo),
    /// Check the configuration file without touching the network
    #[command(after_help = "\
Examples:
  gatehouse validate
  gatehouse validate --config gatehouse.yaml --output json
  gatehouse validate --no-environment --format github      in a workflow

Exit codes: 0 fine, 66 no file, 78 wrong.")]
    Validate(Validate),
    /// Try everything that the configuration names: certificates, ports, brokers, names
    #[command(after_help = "\
Examples:
  gatehouse check
  gatehouse check --config gatehouse.yaml --timeout 30s
  gatehouse check --strict --output json

Looks and changes nothing: it dials each broker as the gateway would, with the gateway's own login, and
binds no port for longer than a moment. Beside a gateway that runs it is harmless.

Exit codes: 0 fine, 3 something failed (with --strict also: a warning), 66 no file, 78 wrong file.")]
    Check(Check),
    /// Look at certificates, or make some to try things with
    #[command(after_help = "\
Examples:
  gatehouse cert dev kafka.example.com '*.kafka.example.com'
  gatehouse cert show /etc/gatehouse/tls/tls.crt /etc/gatehouse/tls/client.crl")]
    Cert {
        /// What to do.
        #[command(subcommand)]
        command: CertCommand,
    },
    /// Show which name and port leads to which broker
    #[command(after_help = "\
Examples:
  gatehouse routes
  gatehouse routes --output json | jq '.[] | select(.node == 3)'
  gatehouse routes --no-environment --config gatehouse.yaml     where its secrets are not")]
    Routes(Elsewhere),
    /// Have the gateway that runs read its file again; connections that are not concerned stay
    #[command(after_help = "\
Examples:
  gatehouse reload --dry-run
  gatehouse reload
  GATEHOUSE_ADMIN_TOKEN_FILE=/run/secrets/token gatehouse reload --admin http://10.0.0.7:9910

Asks the gateway of the configuration file that is found here: its admin.bind and admin.token.
Elsewhere --admin says where it is, and GATEHOUSE_ADMIN_TOKEN, or the file that
GATEHOUSE_ADMIN_TOKEN_FILE names, has the token, which must be set to reload at all.
A gateway follows its file by itself too, and reads it at HUP.

Exit codes: 0 done, 69 not reached, 77 token refused, 78 the file is wrong and nothing was changed.")]
    Reload(Reload),
    /// Show an example of the configuration, or what yours comes to
    #[command(after_help = "\
Examples:
  gatehouse config example > gatehouse.yaml
  gatehouse config show")]
    Config {
        /// What to show.
        #[command(subcommand)]
        command: ConfigCommand,
    },
    /// Make files for other programs: manifests, units, the board, alert rules
    #[command(after_help = "\
Examples:
  gatehouse generate kubernetes --namespace gateway > manifests.yaml
  gatehouse generate systemd > /etc/systemd/system/gatehouse.service
  gatehouse generate alerts > /etc/prometheus/rules/gatehouse.yaml

Everything is written to standard output, and nothing is asked of the network. Exit codes: 0 done, 66 no
file, 78 the file is wrong, or cannot run there.")]
    Generate {
        /// What to make.
        #[command(subcommand)]
        what: Generate,
    },
    /// Explain a code such as GH014; without one, list all
    #[command(after_help = "\
Examples:
  gatehouse explain GH014
  gatehouse explain")]
    Explain {
        /// The code
        code: Option<String>,
    },
    /// Print a completion script for a shell
    #[command(after_help = "\
Examples:
  gatehouse completions bash > /etc/bash_completion.d/gatehouse
  gatehouse completions zsh > \"${fpath[1]}/_gatehouse\"")]
    Completions {
        /// The shell
        shell: Shell,
    },
    /// Print the version
    #[command(after_help = "\
Examples:
  gatehouse version
  gatehouse version --output json")]
    Version,
}

/// Flags of `reload`.
#[derive(Args, Debug)]
pub(super) struct Reload {
    /// Change nothing; show what would change
    #[arg(long)]
    pub(super) dry_run: bool,
    #[command(flatten)]
    pub(super) admin: Admin,
}

/// Flags of every command that asks a gateway which runs.
#[derive(Args, Debug)]
pub(super) struct Admin {
    /// Admin address of the gateway [default: admin.bind of the file, else http://127.0.0.1:9910]
    #[arg(long, value_name = "URL", env = "GATEHOUSE_ADMIN", hide_env_values = true)]
    pub(super) admin: Option<String>,
    /// How long to wait for the answer
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = humantime::parse_duration)]
    pub(super) timeout: Duration,
}

/// What `config` shows.
#[derive(Clone, Copy, Debug, Subcommand)]
pub(super) enum ConfigCommand {
    /// A file with every setting, its default and what it means
    Example,
    /// What the file comes to, with every default, and without secrets
    Show,
}

/// Flags of `proxy`.
#[derive(Args, Debug)]
pub(super) struct Proxy {
    /// A broker to begin with; may be given several times
    #[arg(long, required = true, value_name = "HOST:PORT")]
    pub(super) to: Vec<String>,
    /// Address and port of bootstrap connections; may be given several times for several addresses
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "0.0.0.0:9092")]
    pub(super) listen: Vec<String>,
    /// The name by which clients reach this machine, with a port where it differs
    #[arg(long, value_name = "HOST[:PORT]")]
    pub(super) advertise: String,
    /// Address and port of the admin pages, or `off`
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:9910")]
    pub(super) admin: String,
}

/// Flags of `demo`.
#[derive(Args, Debug)]
pub(super) struct Demo {
    /// The gateway's port on localhost; the brokers' ports follow it
    #[arg(long, default_value = "9092", value_parser = clap::value_parser!(u16).range(1..))]
    pub(super) port: u16,
    /// The port of the admin pages on localhost
    #[arg(long, default_value = "9910", value_parser = clap::value_parser!(u16).range(1..))]
    pub(super) admin_port: u16,
    /// Behind TLS, with throw-away certificates
    #[arg(long)]
    pub(super) tls: bool,
}

/// Flags of `check`.
#[derive(Args, Debug)]
pub(super) struct Check {
    /// How long the brokers may take in all; then the names that clients are told have it again
    #[arg(long, value_name = "DURATION", default_value = "10s", value_parser = duration)]
    pub(super) timeout: Duration,
    /// A warning counts as a failure
    #[arg(long)]
    pub(super) strict: bool,
}

/// What `cert` does.
#[derive(Debug, Subcommand)]
pub(super) enum CertCommand {
    /// Show what is in certificates, bundles and revocation lists
    #[command(after_help = "\
Examples:
  gatehouse cert show tls.crt
  gatehouse cert show ca.crt client.crl --output json

A subject is written as Kafka names the principal, before `principal_mapping_rules`. Files are PEM with any
number of parts, or DER.")]
    Show {
        /// Files to look at
        #[arg(required = true)]
        files: Vec<PathBuf>,
    },
    /// Make a throw-away authority, a pair for the gateway and a pair for a client
    #[command(after_help = "\
Examples:
  gatehouse cert dev localhost 127.0.0.1
  gatehouse cert dev kafka.example.com '*.kafka.example.com' --client alice --days 7

Writes ca.crt, tls.crt, tls.key, client.crt, client.key, client.pem (the client's pair as Java wants it) and
client.properties and client-mtls.properties (for Java), and prints the `tls:` block of the listener. The authority's key is thrown away: nobody can
ever sign anything more with it. For trying things, not for the internet.")]
    Dev(CertDev),
}

/// Flags of `cert dev`.
#[derive(Args, Debug)]
pub(super) struct CertDev {
    /// What clients connect to: host names, wildcards, addresses
    #[arg(required = true, value_name = "NAME")]
    pub(super) names: Vec<String>,
    /// Where to write
    #[arg(long, value_name = "DIR", default_value = "gatehouse-dev-certs")]
    pub(super) out: PathBuf,
    /// The common name of the client
    #[arg(long, value_name = "CN", default_value = "client")]
    pub(super) client: String,
    /// How long all of it is valid
    #[arg(long, value_name = "DAYS", default_value = "30", value_parser = clap::value_parser!(u32).range(1..=3650))]
    pub(super) days: u32,
    /// Write over files that are there
    #[arg(long)]
    pub(super) force: bool,
}

fn duration(text: &str) -> Result<Duration, String> {
    match humantime::parse_duration(text) {
        Ok(duration) if duration >= Duration::from_millis(100) => Ok(duration),
        Ok(_) => Err("shorter than 100ms".to_owned()),
        Err(_) => Err("not a duration such as `10s` or `500ms`".to_owned()),
    }
}

/// Flags of `validate`.
#[derive(Args, Debug)]
pub(super) struct Validate {
    /// Write faults as annotations of a workflow
    #[arg(long, value_enum, value_name = "github", hide_possible_values = true)]
    pub(super) format: Option<Annotations>,
    #[command(flatten)]
    pub(super) elsewhere: Elsewhere,
}

/// A flag of commands that look at nothing but the file.
#[derive(Args, Clone, Copy, Debug)]
pub(super) struct Elsewhere {
    /// The gateway runs elsewhere: do not look at variables, files with secrets and limits of this
    /// machine; where a variable has a default, that counts
    #[arg(long)]
    pub(super) no_environment: bool,
}

/// Annotations that a forge understands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Annotations {
    /// Workflow commands of GitHub
    Github,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_definition_holds_together() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn every_command_has_examples() {
        for command in Arguments::command().get_subcommands() {
            let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
            assert!(help.contains("Examples:\n  gatehouse "), "{}", command.get_name());
            assert!(command.get_about().is_some(), "{}", command.get_name());
        }
    }
}
