//! What was found, line by line, and how it is written for people and for programs.

use std::fmt::Write as _;
use std::time::Duration;

use anstyle::{AnsiColor, Style};
use serde::{Serialize, Serializer};

use crate::config::codes::Code;
use crate::logging::printable::signed_name;

/// How a check went.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// As it should be.
    Ok,
    /// A person should look.
    Warn,
    /// It does not work.
    Fail,
}

impl Outcome {
    /// The word that stands before the line.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warn => "warn",
            Self::Fail => "FAIL",
        }
    }

    fn style(self) -> Style {
        match self {
            Self::Ok => Style::new().fg_color(Some(AnsiColor::Green.into())),
            Self::Warn => Style::new().fg_color(Some(AnsiColor::Yellow.into())),
            Self::Fail => Style::new().fg_color(Some(AnsiColor::Red.into())).bold(),
        }
    }
}

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Line {
    /// How it went.
    pub outcome: Outcome,
    /// What was looked at, or all there is to say.
    pub subject: String,
    /// What was found, part by part.
    pub facts: Vec<String>,
    /// `gatehouse explain CODE` tells more.
    #[serde(serialize_with = "code")]
    pub code: Option<Code>,
    /// What to do.
    pub hint: Option<String>,
}

impl Line {
    /// It is as it should be.
    pub fn ok(subject: impl Into<String>) -> Self {
        Self { outcome: Outcome::Ok, subject: subject.into(), facts: Vec::new(), code: None, hint: None }
    }

    /// A person should look.
    pub fn warn(code: Code, subject: impl Into<String>) -> Self {
        Self { outcome: Outcome::Warn, code: Some(code), ..Self::ok(subject) }
    }

    /// It does not work.
    pub fn fail(code: Code, subject: impl Into<String>) -> Self {
        Self { outcome: Outcome::Fail, code: Some(code), ..Self::ok(subject) }
    }

    /// The same with something more that was found.
    pub fn fact(mut self, fact: impl Into<String>) -> Self {
        self.facts.push(fact.into());
        self
    }

    /// The same with what to do.
    pub fn hint(self, hint: impl Into<String>) -> Self {
        Self { hint: Some(hint.into()), ..self }
    }
}

#[expect(clippy::ref_option, reason = "serde hands over the field")]
fn code<S: Serializer>(code: &Option<Code>, serializer: S) -> Result<S::Ok, S::Error> {
    match code {
        Some(code) => serializer.collect_str(code),
        None => serializer.serialize_none(),
    }
}

/// Lines that belong together: `config`, `host`, `cluster payments`, `listener internet`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Group {
    /// What they are about.
    pub name: String,
    /// What was found.
    pub lines: Vec<Line>,
}

/// All that was found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// In the order in which they are shown.
    pub groups: Vec<Group>,
    /// How long it took.
    pub took: Duration,
}

impl Report {
    /// How many lines went so.
    pub fn count(&self, outcome: Outcome) -> usize {
        self.groups.iter().flat_map(|group| &group.lines).filter(|line| line.outcome == outcome).count()
    }

    /// For people, with colours; the summary comes last. Nothing in it moves a cursor, whatever a peer sent.
    pub fn text(&self) -> String {
        let mut text = String::new();
        for group in &self.groups {
            // Writing to a string cannot fail.
            let _ = writeln!(text, "{}", group.name);
            let tabled = group.lines.iter().filter(|line| !line.facts.is_empty());
            let width = tabled.map(|line| line.subject.chars().count()).max().unwrap_or_default();
            for line in &group.lines {
                let (style, word) = (line.outcome.style(), line.outcome.as_str());
                let subject = match line.facts.as_slice() {
                    [] => line.subject.clone(),
                    facts => format!("{:<width$}   {}", line.subject, facts.join("   ")),
                };
                let code = line.code.map(|code| format!("   {code}")).unwrap_or_default();
                let _ = writeln!(text, "  {style}{word:<4}{style:#}  {}{code}", signed_name(&subject));
                for hint in line.hint.iter().flat_map(|hint| hint.lines()) {
                    let _ = writeln!(text, "        {}", signed_name(hint));
                }
            }
        }
        let _ = writeln!(text, "\n{}", self.summary());
        text
    }

    /// `2 failed, 1 warning, 6 ok in 1.3 s`.
    pub fn summary(&self) -> String {
        let [ok, warnings, failed] = [Outcome::Ok, Outcome::Warn, Outcome::Fail].map(|o| self.count(o));
        let mut parts = Vec::new();
        if failed > 0 {
            parts.push(format!("{failed} failed"));
        }
        if warnings > 0 {
            parts.push(format!("{warnings} warning{}", if warnings == 1 { "" } else { "s" }));
        }
        parts.push(format!("{ok} ok"));
        format!("{} in {:.1} s", parts.join(", "), self.took.as_secs_f64())
    }

    /// For programs: one document.
    pub fn json(&self) -> serde_json::Value {
        serde_json::json!({
            "groups": self.groups,
            "failed": self.count(Outcome::Fail),
            "warnings": self.count(Outcome::Warn),
            "ok": self.count(Outcome::Ok),
            "seconds": self.took.as_secs_f64(),
        })
    }
}

/// `61 days`, `1 day`, `less than a day`.
pub(super) fn days(duration: Duration) -> String {
    match duration.as_secs() / (24 * 3600) {
        0 => "less than a day".to_owned(),
        1 => "1 day".to_owned(),
        days => format!("{days} days"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_is_a_table_and_the_last_line_the_summary() {
        let lines = vec![
            Line::ok("k0:9092").fact("node 0").fact("0.4 ms"),
            Line::fail(Code::BrokerUnreachable, "kafka-1:9092")
                .fact("refused\x1b[2J")
                .hint("start it\nor not"),
            Line::ok("a sentence that is longer than any subject of the table"),
        ];
        let report = Report {
            groups: vec![Group { name: "cluster x".to_owned(), lines }],
            took: Duration::from_millis(1_300),
        };
        let text = anstream::adapter::strip_str(&report.text()).to_string();
        assert_eq!(
            text,
            "cluster x\n  ok    k0:9092        node 0   0.4 ms\n  FAIL  kafka-1:9092   refused\\u{1b}[2J   GH102\n\
             \x20       start it\n        or not\n  ok    a sentence that is longer than any subject of the table\n\
             \n1 failed, 2 ok in 1.3 s\n"
        );
        assert_eq!(report.json()["groups"][0]["lines"][1]["code"], "GH102");
    }
}
