//! The level of the log of this process, which changes with the configuration while it runs.

use std::sync::OnceLock;

use tracing_subscriber::filter::Targets;
use tracing_subscriber::registry::Registry;
use tracing_subscriber::reload;

use super::{Error, Options};

/// The filter of the log that this process installed; none in a program that logs in its own way.
static LEVEL: OnceLock<Level> = OnceLock::new();

/// A filter in use, and what may have been said in the place of the configuration.
#[derive(Debug)]
pub(super) struct Level {
    pub(super) filter: reload::Handle<Targets, Registry>,
    /// The variable or the flag that wins over the configuration.
    pub(super) fixed_by: Option<&'static str>,
}

impl Level {
    pub(super) fn install(self) {
        // There is one log, so there is one filter.
        let _ = LEVEL.set(self);
    }

    fn change(&self, options: &Options) -> Result<Option<&'static str>, Error> {
        if self.fixed_by.is_none() {
            self.filter.reload(options.filter()?).map_err(Error::Gone)?;
        }
        Ok(self.fixed_by)
    }
}

/// Has the log of this process go by another level from now on. Where a variable or a flag was set that wins over
/// the configuration, nothing changes, and the answer is its name.
///
/// # Errors
/// [`Error::Level`] and [`Error::Filter`]; [`Error::Gone`] where the log is not there any more.
pub fn change(options: &Options) -> Result<Option<&'static str>, Error> {
    LEVEL.get().map_or(Ok(None), |level| level.change(options))
}

#[cfg(test)]
mod tests {
    use tracing::{debug, info};

    use super::*;
    use crate::logging::tests::Lines;
    use crate::logging::{Look, dispatch};

    fn options(level: &str) -> Options {
        Options { level: level.to_owned(), ..Options::default() }
    }

    #[test]
    fn a_log_goes_by_another_level_and_back() {
        let lines = Lines::default();
        let writer = lines.clone();
        let (dispatch, filter) = dispatch(&options("info"), Look::Json, move || writer.clone()).unwrap();
        let level = Level { filter, fixed_by: None };
        let seen = || {
            let before = lines.text().len();
            debug!("one");
            info!("two");
            lines.text()[before..].lines().count()
        };
        tracing::dispatcher::with_default(&dispatch, || {
            assert_eq!(seen(), 1);
            for (text, expected) in
                [("debug", 2), ("off", 0), ("error,gatehouse::logging=debug", 2), ("info", 1)]
            {
                assert_eq!(level.change(&options(text)).unwrap(), None);
                assert_eq!(seen(), expected, "{text}");
            }
            assert!(matches!(level.change(&options("debgu")), Err(Error::Level(_))));
            assert_eq!(seen(), 1, "a wrong one changes nothing");
            let fixed = Level { fixed_by: Some("GATEHOUSE_LOG"), ..level };
            assert_eq!(fixed.change(&options("debug")).unwrap(), Some("GATEHOUSE_LOG"));
            assert_eq!(seen(), 1);
        });
    }
}
