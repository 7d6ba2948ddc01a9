//! A fault of the configuration: what, where, why, and the next thing to type.

use std::fmt;
use std::ops::Range;

use annotate_snippets::{AnnotationKind, Group, Level, Patch, Renderer, Snippet};
use serde::Serialize;

use super::codes::Code;

/// A range of bytes of the configuration text.
pub type Place = Range<usize>;

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// The file cannot be used.
    Error,
    /// The file can be used, but hardly means what it says.
    Warning,
}

/// Text to put in the place of other text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fix {
    /// What is replaced; empty to insert.
    pub place: Place,
    /// The new text.
    pub text: String,
    /// Why it might be meant.
    pub reason: String,
}

/// One fault of one file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostic {
    /// What kind of fault: `gatehouse explain CODE` tells more.
    pub code: Code,
    /// How bad it is.
    pub severity: Severity,
    /// What is wrong, in one line.
    pub title: String,
    /// Where.
    pub place: Place,
    /// What is to be said about that place; may be empty.
    pub label: String,
    /// Other places that play a part, and which.
    pub others: Vec<(Place, String)>,
    /// What to do about it.
    pub help: Option<String>,
    /// A change that would mend it.
    pub fix: Option<Fix>,
    /// The setting, such as `listeners.office.bind`; empty where the text is no YAML.
    pub path: String,
}

impl Diagnostic {
    /// A fault that keeps the file from being used.
    pub(super) fn error(code: Code, title: impl Into<String>, place: &Place) -> Self {
        Self {
            code,
            severity: Severity::Error,
            title: title.into(),
            place: place.clone(),
            label: String::new(),
            others: Vec::new(),
            help: None,
            fix: None,
            path: String::new(),
        }
    }

    /// Something that hardly means what it says.
    pub(super) fn warning(code: Code, title: impl Into<String>, place: &Place) -> Self {
        Self { severity: Severity::Warning, ..Self::error(code, title, place) }
    }

    pub(super) fn label(self, label: impl Into<String>) -> Self {
        Self { label: label.into(), ..self }
    }

    pub(super) fn also(mut self, place: &Place, label: impl Into<String>) -> Self {
        self.others.push((place.clone(), label.into()));
        self
    }

    pub(super) fn help(self, help: impl Into<String>) -> Self {
        Self { help: Some(help.into()), ..self }
    }

    pub(super) fn fix(self, place: &Place, text: impl Into<String>, reason: impl Into<String>) -> Self {
        let fix = Fix { place: place.clone(), text: text.into(), reason: reason.into() };
        Self { fix: Some(fix), ..self }
    }

    fn groups<'a>(&'a self, file: &'a str, source: &'a str) -> Vec<Group<'a>> {
        let level = match self.severity {
            Severity::Error => Level::ERROR,
            Severity::Warning => Level::WARNING,
        };
        let main = AnnotationKind::Primary.span(self.place.clone());
        let main = if self.label.is_empty() { main } else { main.label(self.label.as_str()) };
        let others = self
            .others
            .iter()
            .map(|(place, label)| AnnotationKind::Context.span(place.clone()).label(label.as_str()));
        let snippet = Snippet::source(source).path(file).annotation(main).annotations(others);
        let group = level.primary_title(self.title.as_str()).id(self.code.to_string()).element(snippet);
        let help = self.help.iter().map(|help| Level::HELP.message(help.as_str()));
        let mut groups = vec![group.elements(help)];
        if let Some(fix) = &self.fix {
            let patch = Patch::new(fix.place.clone(), fix.text.as_str());
            let snippet = Snippet::source(source).path(file).patch(patch);
            groups.push(Level::HELP.secondary_title(fix.reason.as_str()).element(snippet));
        }
        groups
    }
}

/// The faults of one file, in the order of their places.
#[derive(Clone, PartialEq, Eq)]
pub struct Diagnostics {
    /// The name of the file.
    file: String,
    /// Its text, with every secret painted over.
    source: String,
    list: Vec<Diagnostic>,
}

impl fmt::Debug for Diagnostics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\n{self}")
    }
}

impl fmt::Display for Diagnostics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.render(&Renderer::plain()))
    }
}

impl Diagnostics {
    /// `secrets` are the places that no output may show.
    pub(super) fn new(file: &str, source: &str, secrets: &[Place], mut list: Vec<Diagnostic>) -> Self {
        list.sort_by_key(|fault| (fault.place.start, fault.place.end));
        Self { file: file.to_owned(), source: painted_over(source, secrets), list }
    }

    /// Each fault.
    pub fn iter(&self) -> impl Iterator<Item = &Diagnostic> {
        self.list.iter()
    }

    /// Whether there is none, not even a warning.
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// How many errors, and how many warnings.
    pub fn count(&self) -> (usize, usize) {
        let errors = self.list.iter().filter(|d| d.severity == Severity::Error).count();
        (errors, self.list.len() - errors)
    }

    /// Whether one of them keeps the file from being used.
    pub fn is_fatal(&self) -> bool {
        self.list.iter().any(|d| d.severity == Severity::Error)
    }

    /// With the lines of the file, for a person; with colours.
    pub fn styled(&self) -> String {
        self.render(&Renderer::styled())
    }

    fn render(&self, renderer: &Renderer) -> String {
        let one = |d: &Diagnostic| renderer.render(&d.groups(&self.file, &self.source)) + "\n";
        self.list.iter().map(one).collect::<Vec<_>>().join("\n")
    }

    /// As workflow annotations of GitHub: one line each.
    pub fn github(&self) -> String {
        let one = |d: &Diagnostic| {
            let (line, column) = self.line_and_column(d.place.start);
            let level = match d.severity {
                Severity::Error => "error",
                Severity::Warning => "warning",
            };
            let mut text = d.title.clone();
            for more in [Some(&d.label), d.help.as_ref()].into_iter().flatten().filter(|m| !m.is_empty()) {
                text = format!("{text}\n{more}");
            }
            let escaped = |text: &str| text.replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A");
            let property = |text: &str| escaped(text).replace(':', "%3A").replace(',', "%2C");
            let (file, title, text) = (property(&self.file), d.code, escaped(&text));
            format!("::{level} file={file},line={line},col={column},title={title}::{text}\n")
        };
        self.list.iter().map(one).collect()
    }

    /// For programs: an array with the stable field names of `validate -o json`.
    pub fn json(&self) -> serde_json::Value {
        self.list().into()
    }

    /// The items of that array.
    pub fn list(&self) -> Vec<serde_json::Value> {
        #[derive(Serialize)]
        struct Bytes {
            start: usize,
            end: usize,
        }
        let bytes = |place: &Place| Bytes { start: place.start, end: place.end };
        let one = |d: &Diagnostic| {
            let (line, column) = self.line_and_column(d.place.start);
            let fix = d.fix.as_ref().map(|fix| {
                serde_json::json!({ "bytes": bytes(&fix.place), "text": fix.text, "reason": fix.reason })
            });
            serde_json::json!({
                "code": d.code.to_string(),
                "level": d.severity,
                "message": d.title,
                "label": d.label,
                "file": self.file,
                "path": d.path,
                "bytes": bytes(&d.place),
                "line": line,
                "column": column,
                "help": d.help,
                "fix": fix,
            })
        };
        self.list.iter().map(one).collect()
    }

    /// Both from 1; a column is a character.
    fn line_and_column(&self, at: usize) -> (usize, usize) {
        let before = self.source.get(..at).unwrap_or(&self.source);
        let line = before.rsplit('\n').next().unwrap_or_default();
        (before.matches('\n').count() + 1, line.chars().count() + 1)
    }
}

/// The text with each of the places filled with as many `*`, so that all other places stay where they are.
fn painted_over(source: &str, secrets: &[Place]) -> String {
    let mut text = source.to_owned();
    for place in secrets {
        if let Some(secret) = source.get(place.clone()) {
            let paint: String = secret.bytes().map(|b| if b == b'\n' { '\n' } else { '*' }).collect();
            text.replace_range(place.clone(), &paint);
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn diagnostics() -> Diagnostics {
        let source = "clusters:\n  main: { pasword: hunter2, bind: 90000 }\n";
        let bind = source.find("90000").expect("it is there");
        let secret = source.find("hunter2").expect("it is there");
        let list = vec![
            Diagnostic::error(Code::Number, "port 90000 is too large", &(bind..bind + 5))
                .label("ports end at 65535")
                .help("take 9092")
                .fix(&(bind..bind + 5), "9092", "the usual one"),
            Diagnostic::warning(Code::UnknownSetting, "unknown", &(0..8)),
        ];
        Diagnostics::new("a.yaml", source, std::slice::from_ref(&(secret..secret + 7)), list)
    }

    #[test]
    fn faults_come_in_the_order_of_the_file_and_without_secrets() {
        let text = diagnostics().to_string();
        assert!(text.find("warning[GH002]") < text.find("error[GH009]"), "{text}");
        assert!(text.contains("a.yaml:2:35") && text.contains("^^^^^ ports end at 65535"), "{text}");
        assert!(!text.contains("hunter2") && text.contains("pasword: *******"), "{text}");
        assert!(diagnostics().is_fatal());
    }

    #[test]
    fn programs_get_the_same_places() {
        let json = diagnostics().json();
        assert_eq!(json[1]["code"], "GH009");
        assert_eq!(json[1]["level"], "error");
        assert_eq!((&json[1]["line"], &json[1]["column"]), (&2.into(), &35.into()));
        assert_eq!(json[1]["fix"]["text"], "9092");
        let github = diagnostics().github();
        assert!(github.contains("::error file=a.yaml,line=2,col=35,title=GH009::port 90000"), "{github}");
        assert_eq!(github.lines().count(), 2);
    }

    #[test]
    fn paint_keeps_every_place() {
        let source = "a: g\u{e9}h\nb: 1";
        let painted = painted_over(source, std::slice::from_ref(&(3..7)));
        assert_eq!(painted, "a: ****\nb: 1");
        assert_eq!(painted.len(), source.len());
    }
}
