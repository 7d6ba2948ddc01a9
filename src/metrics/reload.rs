//! What became of a configuration that was read while the process ran.

use std::time::SystemTime;

use super::Metrics;

/// How it ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reload {
    /// It is in use.
    Applied,
    /// It says what is in use already.
    Unchanged,
    /// It cannot be used, and nothing of it is.
    Refused,
}

impl Reload {
    const ALL: [Self; 3] = [Self::Applied, Self::Unchanged, Self::Refused];

    /// The value of the label `result`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Applied => "applied",
            Self::Unchanged => "unchanged",
            Self::Refused => "refused",
        }
    }
}

impl Metrics {
    /// Starts the series, at the first configuration.
    pub fn expect_configs(&self) {
        for reload in Reload::ALL {
            self.families.config_reloads.with_label_values(&[reload.as_str()]);
        }
        self.config_changed();
    }

    /// Counts a configuration that was read to take the place of the one in use.
    pub fn config_read(&self, reload: Reload) {
        self.families.config_reloads.with_label_values(&[reload.as_str()]).inc();
    }

    /// Sets whether the file holds what is in use.
    pub fn set_config_successful(&self, successful: bool) {
        self.families.config_successful.set(successful.into());
    }

    /// Sets that another configuration is in use since now.
    pub fn config_changed(&self) {
        self.set_config_successful(true);
        let now = SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default();
        self.families.config_success.set(i64::try_from(now.as_secs()).unwrap_or(i64::MAX));
    }
}
