//! What a file needs beside itself: variables and files, which somebody has to bring to where the gateway runs.

use std::collections::BTreeSet;
use std::path::PathBuf;

use super::yaml::{self, Environment, Node, Value};
use super::{Surroundings, secrets};

/// What a file needs beside itself.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Needs {
    /// Variables of the environment that have no default.
    pub variables: BTreeSet<String>,
    /// Files, as the configuration writes them.
    pub files: BTreeSet<PathBuf>,
    /// Paths of authorities and revocation lists that look like directories: without a suffix.
    pub directories: BTreeSet<PathBuf>,
    /// Whether it holds a password or a token itself.
    pub holds_secrets: bool,
}

/// The settings whose value is the path of a file.
const FILES: [&str; 4] = ["cert", "file", "key", "pkcs12"];
/// Those whose value is the path of a file or a directory, or a list of such.
const TRUSTED: [&str; 3] = ["ca", "client_ca", "client_crl"];

/// The variables that have no default, set or not; those of `{ env: NAME }` are not among them.
pub fn variables(source: &str, surroundings: &Surroundings) -> BTreeSet<String> {
    let bare = Surroundings { environment: Environment::new(), ..surroundings.clone() };
    yaml::read(source, &bare).unset.into_iter().collect()
}

/// What the text of a configuration needs; nothing where it is no YAML. A path that holds a variable counts
/// where the surroundings have the variable.
pub fn of(source: &str, surroundings: &Surroundings) -> Needs {
    let mut needs = Needs { variables: variables(source, surroundings), ..Needs::default() };
    if let Some(tree) = yaml::read(source, surroundings).tree {
        needs.collect("", &tree);
        needs.holds_secrets = !secrets::of_tree(&tree).is_empty();
    }
    needs
}

impl Needs {
    fn collect(&mut self, setting: &str, node: &Node) {
        match &node.value {
            Value::Map(entries) => entries.iter().for_each(|(name, value)| self.collect(&name.text, value)),
            Value::List(items) => items.iter().for_each(|item| self.collect(setting, item)),
            Value::Scalar(text) | Value::Variable(text) if FILES.contains(&setting) => {
                self.files.insert(text.into());
            }
            Value::Scalar(text) | Value::Variable(text) if TRUSTED.contains(&setting) => {
                let path = PathBuf::from(text);
                let paths = if path.extension().is_some() { &mut self.files } else { &mut self.directories };
                paths.insert(path);
            }
            Value::Scalar(text) if setting == "env" => {
                self.variables.insert(text.clone());
            }
            Value::Scalar(_) | Value::Variable(_) | Value::Null | Value::Unset => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::machine::Machine;

    #[test]
    fn variables_without_a_default_and_every_file_are_needed() {
        let surroundings = Surroundings {
            environment: Environment::from([("DIR".to_owned(), "/run/tls".to_owned())]),
            machine: Machine { descriptors: 1 << 20, memory_bytes: 64 << 30 },
            host_name: String::new(),
            elsewhere: true,
            certificates: false,
        };
        let text = "\
# not ${THIS}
clusters:
  ca:
    bootstrap: kafka-0:9092
    tls: { ca: [/a/ca, /a/old.crt] }
    discovery:
      sasl: { mechanism: PLAIN, username: { env: NAME }, password: { file: /a/password } }
listeners:
  a:
    bind: 0.0.0.0:${PORT:-9092}
    advertise: ${HOST}
    tls:
      certificates:
        - cert: ${DIR}/tls.crt
          key: /b/tls.key
";
        let needs = of(text, &surroundings);
        assert_eq!(needs.variables, ["DIR", "HOST", "NAME"].map(str::to_owned).into());
        assert_eq!(needs.directories, [PathBuf::from("/a/ca")].into());
        assert!(!needs.holds_secrets);
        assert!(of("password: x", &surroundings).holds_secrets);
        let files = ["/a/old.crt", "/a/password", "/b/tls.key", "/run/tls/tls.crt"];
        assert_eq!(needs.files, files.map(PathBuf::from).into());
    }
}
