//! `reload`: has a gateway that runs read its file again, and shows what that changes.

use anstyle::{Effects, Style};
use hyper::StatusCode;
use tokio::runtime::Builder;

use super::admin::{self, Answer, Target};
use super::args::{Format, Global, Reload};
use super::output::Output;
use super::{Exit, file, output};
use crate::admin::state::{self, Change, Configured, Outcome};

pub(super) fn reload(global: &Global, reload: &Reload, output: Output) -> Exit {
    let target = match target(global, reload) {
        Ok(target) => target,
        Err(exit) => return exit,
    };
    let runtime = match Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            output::error(&format!("error: the system refuses threads: {error}"));
            return Exit::System;
        }
    };
    let path = if reload.dry_run { "/api/v1/reload?dry_run=true" } else { "/api/v1/reload" };
    match runtime.block_on(admin::post(&target, path, reload.admin.timeout)) {
        Ok(answer) => show(&answer, output),
        Err(error) => admin::explain(&error),
    }
}

/// The gateway that is asked: the one that the flag names, else the one of the file. Two may run on one machine, so
/// where there is a file nothing else is guessed.
fn target(global: &Global, reload: &Reload) -> Result<Target, Exit> {
    if let Some(url) = &reload.admin.admin {
        return Ok(Target { url: url.clone(), token: None });
    }
    if !file::is_there(global) {
        return Ok(Target::default());
    }
    let source = file::read(global)?;
    // Its warnings are the gateway's to tell.
    let (config, _) = source.load(&file::without_certificates()).map_err(|faults| {
        let exit = source.explain(&faults);
        output::error("nothing was asked: the address of the gateway is in that file, or in `--admin URL`");
        exit
    })?;
    Target::of(config.admin).ok_or_else(|| {
        output::error(&format!(
            "error: {} has no admin address (`admin.bind: null`), so the gateway cannot be asked: send it HUP",
            source.name
        ));
        Exit::Unavailable
    })
}

fn show(answer: &Answer, output: Output) -> Exit {
    let told = |exit: Exit| {
        output::error(&format!("error: {}", answer.problem()));
        exit
    };
    match answer.status {
        StatusCode::OK | StatusCode::UNPROCESSABLE_ENTITY => {}
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => return told(Exit::Denied),
        StatusCode::SERVICE_UNAVAILABLE => return told(Exit::Unavailable),
        _ => return told(Exit::Failed),
    }
    let Ok(reload) = serde_json::from_slice::<state::Reload>(&answer.body) else {
        output::error("error: the gateway answers what this version does not understand");
        return Exit::Failed;
    };
    let written = match output.format {
        Format::Json => output.json(&reload),
        Format::Text => text(&reload, output),
    };
    match (written, reload.config) {
        (Exit::Done, _) if reload.is_refused() => Exit::Config,
        (Exit::Done, Configured::NoFile) => Exit::Failed,
        (written, _) => written,
    }
}

fn text(reload: &state::Reload, output: Output) -> Exit {
    if !reload.explained.is_empty() {
        output::error(reload.explained.trim_end());
    }
    for certificates in reload.certificates.iter().filter(|side| side.outcome == Outcome::Refused) {
        let name = certificates.listener.as_ref().or(certificates.cluster.as_ref());
        let error = certificates.error.as_deref().unwrap_or_default();
        output::error(&format!("error: certificates of {}: {error}", name.map_or("", String::as_str)));
    }
    if let Some(error) = &reload.error {
        output::error(&format!("error: {error}"));
    }
    if reload.config == Configured::Refused {
        output::error("nothing was changed: what was in use before stays in use");
        return Exit::Done;
    }
    if output.quiet || reload.config == Configured::NoFile {
        return Exit::Done;
    }
    output.data(&format!("{}{}\n", table(&reload.changes), summary(reload)))
}

/// The last line: the eye lands there.
fn summary(reload: &state::Reload) -> String {
    let waiting = reload.changes.iter().filter(|change| change.needs_restart).count();
    let renewed = reload.certificates.iter().filter(|side| side.outcome == Outcome::Changed).count();
    let distrusted: usize = reload.certificates.iter().map(|side| side.distrusted).sum();
    let connections = match (reload.draining + distrusted, reload.may_drain_more) {
        (0, false) => "nothing is disconnected".to_owned(),
        (0, true) => "only connections to brokers that are elsewhere leave, in order".to_owned(),
        (some, false) => format!("{some} connections leave in order"),
        (some, true) => format!("{some} connections leave in order, and those to brokers that are elsewhere"),
    };
    let what = match (reload.config, reload.dry_run, renewed) {
        (Configured::Applied, true, _) => "could be reloaded".to_owned(),
        (Configured::Applied, false, _) => "reloaded".to_owned(),
        (_, _, 0) if waiting > 0 => "nothing changes before a restart".to_owned(),
        (_, _, 0) => "the file says what is in use".to_owned(),
        (_, _, 1) => "the certificates of one side were reloaded".to_owned(),
        (_, _, sides) => format!("the certificates of {sides} sides were reloaded"),
    };
    format!("{what}; {connections}")
}

/// Subject, change and effect, in columns.
fn table(changes: &[Change]) -> String {
    let width =
        |cell: fn(&Change) -> &str| changes.iter().map(|c| cell(c).chars().count()).max().unwrap_or(0);
    let (subjects, texts) = (width(|c| &c.subject), width(|c| &c.change));
    let bold = Style::new().effects(Effects::BOLD);
    let line = |Change { subject, change, effect, .. }: &Change| {
        format!("{bold}{subject:<subjects$}{bold:#}  {change:<texts$}  {effect}\n")
    };
    changes.iter().map(line).collect()
}
