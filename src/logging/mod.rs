//! Sets the log up: text for people, JSON for machines, on stderr.

use std::io::{self, IsTerminal};
use std::panic;
use std::str::FromStr;
use std::time::SystemTime;

use tracing::dispatcher::{SetGlobalDefaultError, set_global_default};
use tracing::{Dispatch, error};
use tracing_subscriber::Layer;
use tracing_subscriber::filter::{LevelFilter, ParseError, Targets};
use tracing_subscriber::fmt::{self, MakeWriter};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::registry::Registry;
use tracing_subscriber::reload;

pub mod fold;
pub mod level;
pub mod lines;
pub mod printable;

use level::Level;
use lines::{Guard, Lines};
use printable::Printable;

/// Libraries that tell of each failure, which the gateway does in words of its own. A filter that names them shows them.
const QUIET: [&str; 2] = ["kube_client", "kube_runtime"];

/// The variable that wins over [`Options::level`].
pub const LEVEL_VARIABLE: &str = "GATEHOUSE_LOG";

/// The variable that wins over [`Options::format`].
pub const FORMAT_VARIABLE: &str = "GATEHOUSE_LOG_FORMAT";

/// An error and all that caused it, in one line.
pub fn chain(error: &dyn std::error::Error) -> String {
    match error.source() {
        Some(cause) => format!("{error}: {}", chain(cause)),
        None => error.to_string(),
    }
}

/// Why the log could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A word that is no level. As a filter it would be a target, and a mistyped level would silence the log.
    #[error("`{0}` is no log level: it is error, warn, info, debug, trace or off, or TARGET=LEVEL")]
    Level(String),
    /// The filter cannot be read.
    #[error(
        "`{text}` is no log filter: write a level, or levels by target as in `info,gatehouse::sasl=debug`"
    )]
    Filter {
        /// What was given.
        text: String,
        /// What is wrong with it.
        source: ParseError,
    },
    /// The format has no such name.
    #[error("`{0}` is no log format: it is auto, text or json")]
    Format(String),
    /// The log of this process is set up already.
    #[error("the log is already set up")]
    Installed(#[source] SetGlobalDefaultError),
    /// The thread that writes the log could not be started.
    #[error("the thread that writes the log cannot be started")]
    Thread(#[source] io::Error),
    /// The log whose level is to change is not there any more.
    #[error("the log is gone")]
    Gone(#[source] reload::Error),
}

/// How lines look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Format {
    /// Text where stderr is a terminal, JSON otherwise.
    #[default]
    Auto,
    /// For people.
    Text,
    /// One object per line, with the fields of the event beside `timestamp`, `level` and `message`.
    Json,
}

impl FromStr for Format {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        match text {
            "auto" => Ok(Self::Auto),
            "text" => Ok(Self::Text),
            "json" => Ok(Self::Json),
            other => Err(Error::Format(other.to_owned())),
        }
    }
}

/// What is logged, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// A level, or levels by target: `info,gatehouse::topology=debug`.
    pub level: String,
    /// How lines look.
    pub format: Format,
}

impl Default for Options {
    fn default() -> Self {
        Self { level: "info".to_owned(), format: Format::Auto }
    }
}

impl Options {
    /// These options with what a flag says instead, by its name and the level that it stands for, and above that
    /// the environment; and the name of what gave the level, where it was one of the two. An empty variable says nothing.
    ///
    /// # Errors
    /// [`Error::Format`].
    pub fn overridden(
        mut self,
        flag: Option<(&'static str, &str)>,
        variable: impl Fn(&str) -> Option<String>,
    ) -> Result<(Self, Option<&'static str>), Error> {
        let set = |name| variable(name).filter(|value| !value.is_empty());
        let level = set(LEVEL_VARIABLE).map(|level| (LEVEL_VARIABLE, level));
        let level = level.or_else(|| flag.map(|(flag, level)| (flag, level.to_owned())));
        let level_from = level.map(|(from, level)| {
            self.level = level;
            from
        });
        if let Some(format) = set(FORMAT_VARIABLE) {
            self.format = format.parse()?;
        }
        Ok((self, level_from))
    }

    /// Checks the filter without setting anything up.
    ///
    /// # Errors
    /// [`Error::Level`] and [`Error::Filter`].
    pub fn filter(&self) -> Result<Targets, Error> {
        let is_level = |word: &str| !word.is_empty() && word.parse::<LevelFilter>().is_ok();
        let is_bare = |directive: &&str| !directive.contains('=') && !is_level(directive);
        if let Some(word) = self.level.split(',').map(str::trim).find(is_bare) {
            return Err(Error::Level(word.to_owned()));
        }
        let named: Targets =
            self.level.parse().map_err(|source| Error::Filter { text: self.level.clone(), source })?;
        let quiet = QUIET.iter().filter(|target| !self.level.contains(**target));
        Ok(quiet.fold(named, |named, target| named.with_target(*target, LevelFilter::OFF)))
    }
}

/// Sets the log of the process up, once, and sends panics through it. Lines go to stderr on a thread of
/// their own; where nobody reads them they are lost and counted, and nothing waits. Drop the guard last.
///
/// `fixed_by` names the variable or the flag that gave the level, if one did: the level stays as it is then, whatever
/// [`level::change`] asks for.
///
/// # Errors
/// [`Error::Level`], [`Error::Filter`], [`Error::Installed`] and [`Error::Thread`].
pub fn install(options: &Options, fixed_by: Option<&'static str>) -> Result<Guard, Error> {
    let terminal = io::stderr().is_terminal();
    let colour = anstream::AutoStream::choice(&io::stderr()) != anstream::ColorChoice::Never;
    let look = Look::new(options.format, terminal, colour);
    options.filter()?;
    let (lines, guard) = Lines::start(io::stderr(), move |lines| look.lost(lines)).map_err(Error::Thread)?;
    let (dispatch, filter) = dispatch(options, look, lines)?;
    set_global_default(dispatch).map_err(Error::Installed)?;
    Level { filter, fixed_by }.install();
    panic::set_hook(Box::new(log_panic));
    Ok(guard)
}

/// How lines look once it is known where they go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Look {
    Text { colour: bool },
    Json,
}

impl Look {
    fn new(format: Format, terminal: bool, colour: bool) -> Self {
        match (format, terminal) {
            (Format::Text, _) | (Format::Auto, true) => Self::Text { colour },
            (Format::Json, _) | (Format::Auto, false) => Self::Json,
        }
    }

    /// The line that stands for lines that are missing.
    fn lost(self, lines: u64) -> String {
        let at = humantime::format_rfc3339_micros(SystemTime::now());
        let message = "lines of the log are lost: nobody read them in time";
        match self {
            Self::Text { .. } => format!("{at}  WARN gatehouse::logging: {message} lines={lines}\n"),
            Self::Json => format!(
                "{{\"timestamp\":\"{at}\",\"level\":\"WARN\",\"message\":\"{message}\",\"lines\":{lines},\"target\":\"gatehouse::logging\"}}\n"
            ),
        }
    }
}

fn dispatch<W>(
    options: &Options,
    look: Look,
    writer: W,
) -> Result<(Dispatch, reload::Handle<Targets, Registry>), Error>
where
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    let (filter, changed) = reload::Layer::new(options.filter()?);
    let layer = match look {
        Look::Text { colour } => fmt::layer().with_ansi(colour).with_writer(writer).boxed(),
        Look::Json => {
            fmt::layer().json().flatten_event(true).with_span_list(false).with_writer(writer).boxed()
        }
    };
    Ok((Dispatch::new(Registry::default().with(layer.with_filter(filter))), changed))
}

fn log_panic(information: &panic::PanicHookInfo<'_>) {
    let payload = information.payload();
    let text = payload.downcast_ref::<&str>().copied();
    let text = text.or_else(|| payload.downcast_ref::<String>().map(String::as_str)).unwrap_or_default();
    let place = information.location().map(ToString::to_string).unwrap_or_default();
    error!(place, error = %Printable::from(text), "a fault of the gateway's own; please report it");
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use tracing::{debug, info, warn};

    use super::*;

    #[derive(Clone, Default)]
    pub(super) struct Lines(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl Lines {
        pub(super) fn text(&self) -> String {
            String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
        }
    }

    fn logged(level: &str, look: Look, write: impl FnOnce()) -> String {
        let lines = Lines::default();
        let options = Options { level: level.to_owned(), ..Options::default() };
        let writer = lines.clone();
        let (dispatch, _) = dispatch(&options, look, move || writer.clone()).unwrap();
        tracing::dispatcher::with_default(&dispatch, write);
        lines.text()
    }

    #[test]
    fn a_json_line_has_its_fields_at_the_top() {
        let text = logged("info", Look::Json, || info!(listener = "office", conn = 7, "closed"));
        let line: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(line["level"], "INFO");
        assert_eq!(line["message"], "closed");
        assert_eq!(line["listener"], "office");
        assert_eq!(line["conn"], 7);
        let timestamp = line["timestamp"].as_str().unwrap();
        assert_eq!(timestamp.len(), "2026-11-21T03:24:42.220442Z".len(), "{timestamp}");
        assert!(humantime::parse_rfc3339(timestamp).is_ok(), "{timestamp}");
        assert_eq!(text.lines().count(), 1);
    }

    #[test]
    fn lost_lines_are_told_in_the_look_of_the_others() {
        let line: serde_json::Value = serde_json::from_str(&Look::Json.lost(7)).unwrap();
        assert_eq!((&line["level"], &line["lines"]), (&"WARN".into(), &7.into()));
        assert!(Look::Text { colour: false }.lost(7).ends_with("lines=7\n"));
    }

    #[test]
    fn text_has_colour_only_when_asked() {
        let write = || info!(listener = "office", "ready");
        let plain = logged("info", Look::Text { colour: false }, write);
        assert!(plain.contains("INFO") && plain.contains("ready") && plain.contains("listener=\"office\""));
        assert!(!plain.contains('\u{1b}'), "{plain:?}");
        assert!(logged("info", Look::Text { colour: true }, write).contains('\u{1b}'));
    }

    #[test]
    fn the_filter_goes_by_target() {
        let write = || {
            debug!(target: "gatehouse::sasl", "seen");
            debug!(target: "gatehouse::relay", "not seen");
            warn!(target: "hyper", "seen too");
        };
        let text = logged("warn,gatehouse::sasl=debug", Look::Json, write);
        assert_eq!(text.lines().count(), 2, "{text}");
        assert!(!text.contains("not seen"));
    }

    #[test]
    fn the_format_follows_the_terminal_unless_it_is_named() {
        assert_eq!(Look::new(Format::Auto, true, true), Look::Text { colour: true });
        assert_eq!(Look::new(Format::Auto, false, true), Look::Json);
        assert_eq!(Look::new(Format::Text, false, false), Look::Text { colour: false });
        assert_eq!(Look::new(Format::Json, true, true), Look::Json);
    }

    #[test]
    fn the_environment_wins_and_faults_name_what_was_given() {
        let environment = |name: &str| match name {
            LEVEL_VARIABLE => Some("debug".to_owned()),
            FORMAT_VARIABLE => Some("json".to_owned()),
            _ => None,
        };
        let quiet = Some(("--quiet", "warn"));
        for flag in [None, quiet] {
            let overridden = Options::default().overridden(flag, environment).unwrap();
            let debug = Options { level: "debug".into(), format: Format::Json };
            assert_eq!(overridden, (debug, Some(LEVEL_VARIABLE)));
        }
        let empty = |_: &str| Some(String::new());
        assert_eq!(Options::default().overridden(None, empty).unwrap(), (Options::default(), None));
        let warn = Options { level: "warn".into(), ..Options::default() };
        assert_eq!(Options::default().overridden(quiet, empty).unwrap(), (warn, Some("--quiet")));
        let error = Options::default().overridden(None, |_| Some("xml".to_owned())).unwrap_err();
        assert_eq!(error.to_string(), "`xml` is no log format: it is auto, text or json");
        let filter = |level: &str| Options { level: level.into(), ..Options::default() }.filter();
        for (level, fault) in [
            ("debgu", "`debgu` is no log level"),
            ("info,loud", "`loud` is no"),
            ("", "`` is no"),
            ("a=b", "`a=b` is no"),
        ] {
            let error = filter(level).unwrap_err();
            assert!(error.to_string().starts_with(fault), "{error}");
        }
        for level in ["off", "INFO", "warn, gatehouse::sasl=debug"] {
            assert!(filter(level).is_ok(), "{level}");
        }
    }

    #[test]
    fn a_peer_cannot_forge_a_line() {
        for look in [Look::Json, Look::Text { colour: false }] {
            for hostile in ["a\r\nINFO ready", "\u{1b}[31mred", "\u{202e}txt", "\u{9b}2J", "\u{2028}", "\0"] {
                let text = logged("info", look, || info!(client_id = %Printable::from(hostile), "open"));
                assert_eq!(text.lines().count(), 1, "{text:?}");
                assert!(text.trim_end().chars().all(|c| c.is_ascii_graphic() || c == ' '), "{text:?}");
            }
        }
    }
}
