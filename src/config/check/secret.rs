//! Secrets: a variable, a file, or the name of a variable; kept so that nothing prints them.

use std::fs;

use secrecy::SecretString;

use super::{Check, Checked};
use crate::config::codes::Code;
use crate::config::diagnostic::Diagnostic;
use crate::config::yaml::{Node, Value};

/// The most that a file with a secret may hold, in bytes.
const SECRET_BYTES_MAX: usize = 64 * 1024;

/// Stands for a secret that is to be had only where the gateway runs.
const ELSEWHERE: &str = "elsewhere";

impl Check<'_> {
    /// The same, but text without a character means that there is none: `${TOKEN:-}`.
    pub(super) fn optional_secret(&mut self, node: &Node) -> Checked<Option<SecretString>> {
        match &node.value {
            Value::Null => Ok(None),
            Value::Scalar(text) | Value::Variable(text) if text.is_empty() => Ok(None),
            Value::Scalar(_) | Value::Variable(_) | Value::Unset | Value::List(_) | Value::Map(_) => {
                self.secret(node).map(Some)
            }
        }
    }

    /// A secret: the text itself, which should be a variable, or the file or variable that holds it.
    pub(super) fn secret(&mut self, node: &Node) -> Checked<SecretString> {
        if !matches!(node.value, Value::Map(_)) {
            if matches!(node.value, Value::Unset) && self.surroundings.elsewhere {
                return Ok(SecretString::from(ELSEWHERE));
            }
            return match self.text(node)? {
                "" => self.report(Diagnostic::error(Code::SecretFile, "the secret is empty", &node.place)),
                text => Ok(SecretString::from(text)),
            };
        }
        let section = self.section(node, &node.place, "a secret", &["file", "env"])?;
        match (section.get("file"), section.get("env")) {
            (Some(file), None) => self.secret_file(file),
            (None, Some(variable)) => {
                let name = self.text(variable)?;
                if self.surroundings.elsewhere {
                    return Ok(SecretString::from(ELSEWHERE));
                }
                match self.surroundings.environment.get(name) {
                    Some(value) if !value.is_empty() => Ok(SecretString::from(value.as_str())),
                    Some(_) | None => {
                        let title = format!("environment variable `{name}` is not set or empty");
                        self.report(Diagnostic::error(Code::UnsetVariable, title, &variable.place))
                    }
                }
            }
            (Some(_), Some(_)) | (None, None) => {
                let title = "a secret has one source";
                let fault = Diagnostic::error(Code::WrongKind, title, &self.visible(&node.place));
                self.report(fault.help("`{ file: PATH }` or `{ env: NAME }`"))
            }
        }
    }

    fn secret_file(&mut self, node: &Node) -> Checked<SecretString> {
        let path = self.text(node)?;
        if self.surroundings.elsewhere {
            return Ok(SecretString::from(ELSEWHERE));
        }
        let shown = if matches!(node.value, Value::Variable(_)) { "…" } else { path };
        let refused = |why: String| Diagnostic::error(Code::SecretFile, why, &node.place);
        match fs::read_to_string(path) {
            Err(error) => self.report(refused(format!("`{shown}` cannot be read: {error}"))),
            Ok(text) => match text.strip_suffix('\n').map_or(text.as_str(), |t| t.trim_end_matches('\r')) {
                "" => self.report(refused(format!("`{shown}` is empty"))),
                secret if secret.len() > SECRET_BYTES_MAX => {
                    self.report(refused(format!("`{shown}` is too large for a secret")))
                }
                secret => Ok(SecretString::from(secret)),
            },
        }
    }
}
