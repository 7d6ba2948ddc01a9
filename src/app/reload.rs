//! Follows the file of the configuration and the files of certificates, and does what admin asks.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use tokio::sync::{Notify, mpsc};
use tokio::task::spawn_blocking;
use tokio::time::{Instant, sleep};

use super::{Error, State, uncovered};
use crate::admin::state::{self, Check, Command, Configured, Outcome};
use crate::config::Config;
use crate::config::diagnostic::Diagnostics;
use crate::config::difference::{self, Change, Changes, Subject};
use crate::config::effect::Effect;
use crate::config::file::{self, Origin};
use crate::logging::{self, chain, level};
use crate::metrics::reload::Reload as Count;

/// A file that was just found changed is looked at once more after this time: someone may be writing it.
const SETTLES: Duration = Duration::from_millis(500);
/// What is wrong with the file is said again after this time.
const SAY_AGAIN: Duration = Duration::from_secs(3600);
/// The changes, and the faults, that the log tells of one reload.
const TOLD_MAX: usize = 50;

/// What is known of the configuration's file.
#[derive(Debug)]
pub(super) struct Reloading {
    origin: Origin,
    /// One at a time: the timer, a signal and an admin may come together.
    alone: tokio::sync::Mutex<()>,
    known: Mutex<Known>,
    /// Another configuration is in use, with which another interval may have begun.
    applied: Notify,
}

#[derive(Debug)]
struct Known {
    /// Since when the configuration in use is in use.
    since: SystemTime,
    /// Why the file is refused.
    fault: Option<Fault>,
    /// What the file has and the process does not, until it is started anew.
    waiting: Vec<Change>,
}

#[derive(Debug)]
struct Fault {
    text: String,
    since: SystemTime,
    said: Instant,
}

impl Reloading {
    pub(super) fn new(origin: Origin) -> Self {
        let known = Known { since: SystemTime::now(), fault: None, waiting: Vec::new() };
        let (alone, applied) = (tokio::sync::Mutex::default(), Notify::new());
        Self { origin, alone, known: Mutex::new(known), applied }
    }

    /// A line of readiness. It never makes the gateway unready: what is in use serves.
    pub(super) fn check(&self) -> Check {
        let known = self.known();
        let time = |at: SystemTime| humantime::format_rfc3339_seconds(at).to_string();
        if let Some(Fault { text, since, .. }) = &known.fault {
            let (since, of) = (time(*since), time(known.since));
            let detail = format!("refused since {since}; the one of {of} stays: {text}");
            return Check::warn("configuration", detail);
        }
        if let Some(first) = known.waiting.first() {
            let more = match known.waiting.len() {
                1 => String::new(),
                several => format!(", and {} more", several - 1),
            };
            let change = format!("{} ({})", first.path(), first.what());
            return Check::warn(
                "configuration",
                format!("waits for a restart of the process: {change}{more}"),
            );
        }
        Check::ok("configuration", format!("read at {}", time(known.since)))
    }

    async fn load(&self) -> Result<(Config, Diagnostics), file::Error> {
        let origin = self.origin.clone();
        // The file may stand on a disk that does not answer.
        let loading = spawn_blocking(move || origin.load());
        loading.await.unwrap_or_else(|_| Err(file::Error::NoFile("a process that stops".to_owned())))
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Follows all files and does what admin asks, until the process stops.
pub(super) async fn attend(state: Arc<State>, mut commanded: mpsc::Receiver<Command>) {
    let follow = async {
        loop {
            tokio::select! {
                () = sleep(state.parts().config.tls_reload_interval) => state.look().await,
                () = state.reloading.applied.notified() => {}
            }
        }
    };
    let obey = async {
        while let Some(Command::Reload { dry_run, answer }) = commanded.recv().await {
            // Whoever asked may be gone.
            let _ = answer.send(state.reload(dry_run).await);
        }
        std::future::pending::<()>().await;
    };
    tokio::select! {
        () = state.control.stopped() => {}
        () = follow => {}
        () = obey => {}
    }
}

/// Why the file is read.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Asked {
    /// It was time to look.
    ByTheClock,
    /// Someone wants it to be used.
    ToApply,
    /// Someone wants to know what would be.
    ToTell,
}

/// What was found in the file.
enum Found {
    /// What is in use, but for what waits for a restart.
    Same(Changes),
    Other(Box<Config>, Changes),
    Wrong(file::Error),
}

impl State {
    /// Reads the configuration and all certificate files now, because someone asked for it.
    pub(super) async fn reload(&self, dry_run: bool) -> state::Reload {
        let _alone = self.reloading.alone.lock().await;
        let asked = if dry_run { Asked::ToTell } else { Asked::ToApply };
        let (found, warnings) = self.read().await;
        let mut reload = state::Reload { dry_run, ..self.outcome(found, asked).await };
        if let Some(warnings) = warnings {
            reload.diagnostics = warnings.list();
            reload.explained = warnings.to_string();
        }
        if !dry_run {
            self.count(&reload);
            reload.certificates = self.look_at_certificates().await;
            let changed = |report: &state::Reloaded| report.outcome != Outcome::Unchanged;
            if reload.config != Configured::Applied && !reload.certificates.iter().any(changed) {
                tracing::info!(
                    error = reload.error,
                    "asked to reload: nothing is in use that was not before"
                );
            }
        }
        reload
    }

    /// Looks whether a file holds something else by now.
    async fn look(&self) {
        let _alone = self.reloading.alone.lock().await;
        if self.reloading.origin.is_file() && !self.draining.load(Ordering::Relaxed) {
            self.look_at_the_file().await;
        }
        self.look_at_certificates().await;
    }

    /// Puts certificate files to use that changed, and says which names they have lost.
    async fn look_at_certificates(&self) -> Vec<state::Reloaded> {
        let reports = self.parts().sides.look(&self.metrics, &self.registry).await;
        let is_renewed = |listener: &str| {
            let mut renewed = reports.iter().filter(|report| report.renewed);
            renewed.any(|report| report.listener.as_deref() == Some(listener))
        };
        uncovered::say(&self.parts(), is_renewed);
        reports
    }

    async fn look_at_the_file(&self) {
        let (first, _) = self.read().await;
        let text = |found: &Found| match found {
            Found::Same(_) => None,
            Found::Other(_, changes) => Some(format!("{changes:?}")),
            Found::Wrong(error) => Some(chain(error)),
        };
        let known = match &first {
            Found::Same(_) => true,
            Found::Wrong(error) => self.is_known(&chain(error)),
            Found::Other(..) => false,
        };
        let found = if known {
            first
        } else {
            sleep(SETTLES).await;
            let (second, _) = self.read().await;
            if text(&first) != text(&second) {
                return;
            }
            second
        };
        let refused_before = self.reloading.known().fault.as_ref().map(|fault| fault.text.clone());
        let reload = self.outcome(found, Asked::ByTheClock).await;
        // What stays refused for the same reason, such as a port that is taken, is counted once.
        let again = reload.error.is_some() && reload.error == refused_before;
        if reload.config != Configured::Unchanged && !again {
            self.count(&reload);
        }
    }

    /// What the file says now, against what is in use; with its warnings.
    async fn read(&self) -> (Found, Option<Diagnostics>) {
        let (mut config, warnings) = match self.reloading.load().await {
            Ok(loaded) => loaded,
            Err(error) => return (Found::Wrong(error), None),
        };
        let parts = self.parts();
        let changes = difference::difference(&parts.config, &config);
        config.keep_what_needs_a_restart(&parts.config);
        let found = match changes.wait_for_a_restart() {
            true => Found::Same(changes),
            false => Found::Other(Box::new(config), changes),
        };
        (found, Some(warnings))
    }

    /// Does what is to be done about it.
    async fn outcome(&self, found: Found, asked: Asked) -> state::Reload {
        match found {
            Found::Same(changes) => {
                if asked != Asked::ToTell {
                    self.is_right_again(&changes);
                }
                reload(Configured::Unchanged, &changes, 0)
            }
            Found::Wrong(error @ file::Error::NoFile(_)) => state::Reload {
                error: Some(chain(&error)),
                ..reload(Configured::NoFile, &Changes::default(), 0)
            },
            Found::Wrong(error) => {
                self.refused(&chain(&error), asked);
                let (diagnostics, explained) = match &error {
                    file::Error::Wrong { diagnostics, .. } => (diagnostics.list(), diagnostics.to_string()),
                    _ => Default::default(),
                };
                let error = Some(chain(&error));
                let refused = reload(Configured::Refused, &Changes::default(), 0);
                state::Reload { error, diagnostics, explained, ..refused }
            }
            Found::Other(config, changes) => {
                match self.apply(*config, &changes, asked == Asked::ToTell).await {
                    Ok(draining) => reload(Configured::Applied, &changes, draining),
                    Err(error) => {
                        let error = chain(&error);
                        self.refused(&error, asked);
                        let refused = reload(Configured::Refused, &changes, 0);
                        state::Reload { error: Some(error), ..refused }
                    }
                }
            }
        }
    }

    /// Puts another configuration to use, and tells how many connections drain for it.
    async fn apply(&self, config: Config, changes: &Changes, dry_run: bool) -> Result<usize, Error> {
        if self.draining.load(Ordering::Relaxed) {
            return Err(Error::Stopping);
        }
        if dry_run {
            self.could_prepare(&config, changes).await?;
            return Ok(self.parts().draining(&config, changes));
        }
        let draining = self.parts().draining(&config, changes);
        let prepared = self.prepare(config, changes).await?;
        // A stop does not wait for a disk that does not answer.
        if self.draining.load(Ordering::Relaxed) {
            return Err(Error::Stopping);
        }
        self.commit(prepared, changes).await;
        for change in changes.list.iter().take(TOLD_MAX) {
            let (setting, effect) = (change.path(), change.effect.to_string());
            tracing::info!(setting, change = change.what(), effect, "a setting changed");
        }
        tracing::info!(changes = changes.list.len(), draining, "the configuration was reloaded");
        uncovered::say(&self.parts(), |listener| changes.touch(&Subject::Listener(listener.to_owned()), ""));
        // Last, so that a log that is to say less has said so.
        if changes.touch(&Subject::Process, "log.level") {
            change_level(&self.parts().config.log.options);
        }
        self.metrics.config_changed();
        {
            let mut known = self.reloading.known();
            known.since = SystemTime::now();
            known.fault = None;
            known.waiting = waiting(changes);
        }
        self.reloading.applied.notify_one();
        Ok(draining)
    }

    /// The file says what is in use.
    fn is_right_again(&self, changes: &Changes) {
        self.metrics.set_config_successful(true);
        let mut known = self.reloading.known();
        if known.fault.take().is_some() {
            tracing::info!("the configuration is right again: it says what is in use");
        }
        let waiting = waiting(changes);
        if known.waiting != waiting {
            for change in &waiting {
                let setting = change.path();
                tracing::warn!(
                    setting,
                    change = change.what(),
                    "a setting waits for a restart of the process"
                );
            }
        }
        known.waiting = waiting;
    }

    fn refused(&self, text: &str, asked: Asked) {
        if asked == Asked::ToTell {
            return;
        }
        self.metrics.set_config_successful(false);
        let (now, mut known) = (Instant::now(), self.reloading.known());
        let is_same = |fault: &&mut Fault| fault.text == text;
        if let Some(fault) = known.fault.as_mut().filter(is_same) {
            if asked == Asked::ByTheClock && now - fault.said < SAY_AGAIN {
                return;
            }
            fault.said = now;
        } else {
            known.fault = Some(Fault { text: text.to_owned(), since: SystemTime::now(), said: now });
        }
        tracing::error!(error = text, "the configuration is refused: what was in use before stays in use");
    }

    fn is_known(&self, text: &str) -> bool {
        self.reloading.known().fault.as_ref().is_some_and(|fault| fault.text == text)
    }

    fn count(&self, reload: &state::Reload) {
        match reload.config {
            Configured::Unchanged => self.metrics.config_read(Count::Unchanged),
            Configured::Applied => self.metrics.config_read(Count::Applied),
            Configured::Refused => self.metrics.config_read(Count::Refused),
            Configured::NoFile => {}
        }
    }
}

/// What was valid as a part of a configuration cannot fail as a filter.
fn change_level(options: &logging::Options) {
    match level::change(options) {
        Ok(None) => tracing::info!(level = options.level, "the log goes by another level from now on"),
        Ok(Some(from)) => {
            tracing::warn!(setting = "log.level", "{from} wins: the level of the log stays as it is");
        }
        Err(error) => tracing::error!(error = chain(&error), "the level of the log stays as it is"),
    }
}

/// What waits for a restart.
fn waiting(changes: &Changes) -> Vec<Change> {
    changes.list.iter().filter(|change| change.effect == Effect::Restart).cloned().collect()
}

fn reload(config: Configured, changes: &Changes, draining: usize) -> state::Reload {
    let show = |change: &Change| state::Change {
        path: change.path(),
        subject: change.subject.to_string(),
        change: change.what(),
        before: change.before.clone(),
        after: change.after.clone(),
        hidden: change.is_secret,
        effect: change.effect.to_string(),
        needs_restart: change.effect == Effect::Restart,
    };
    state::Reload {
        config,
        changes: changes.list.iter().map(show).collect(),
        draining,
        may_drain_more: changes.list.iter().any(|change| change.effect == Effect::Discovery),
        ..state::Reload::default()
    }
}
