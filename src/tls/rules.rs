//! `ssl.principal.mapping.rules`: a name out of a certificate's subject, as a Kafka broker makes it.

/// Rules, of which the first whose pattern matches the whole subject gives the name.
#[derive(Clone, Debug, Default)]
pub struct Rules {}

/// Why rules cannot be used, or give no name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The text is not a list of rules.
    #[error("`{0}` is not a rule: `DEFAULT` or `RULE:pattern/replacement/` with `L` or `U` after it")]
    Syntax(String),
    /// No rule is for this subject.
    #[error("no mapping rule is for `{0}`")]
    NoMatch(String),
}

impl Rules {
    /// Reads rules as Kafka writes them: `RULE:pattern/replacement/[LU]` and `DEFAULT`, with commas between.
    pub fn parse(_text: &str) -> Result<Self, Error> {
        Ok(Self {})
    }

    /// The name for a subject.
    pub fn apply(&self, subject: &str) -> Result<String, Error> {
        Ok(subject.to_owned())
    }
}
