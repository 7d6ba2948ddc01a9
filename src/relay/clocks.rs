//! What a connection waits for, and for how long.

use std::future::Future;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::Instant;

use super::in_flight::Stamp;
use super::{Cause, Peer, Relay, pipe};

/// A request must make progress at 1 KiB/s, averaged over this time.
const PROGRESS_WINDOW: Duration = Duration::from_secs(30);
const PROGRESS_BYTES: u64 = 30 * 1024;

impl<C, B> Relay<C, B>
where
    C: Peer,
    B: Peer,
{
    /// Ends what has waited long enough, and sleeps until the next thing that may.
    pub(super) fn poll_clocks(&mut self, cx: &mut Context<'_>, now: Instant) -> Poll<Cause> {
        loop {
            let deadline = match self.stopped(now) {
                Some(Poll::Ready(cause)) => return Poll::Ready(cause),
                Some(Poll::Pending) | None => match self.deadline(now) {
                    Ok(deadline) => deadline,
                    Err(cause) => return Poll::Ready(cause),
                },
            };
            let deadline = self.leave_pipes(now).into_iter().fold(deadline, Instant::min);
            // An earlier wake-up than needed is cheaper than moving the timer with every frame.
            if deadline < self.timer.deadline() || self.timer.is_elapsed() {
                self.timer.as_mut().reset(deadline);
            }
            if self.timer.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }
            if Instant::now() < deadline {
                continue;
            }
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
    }

    /// Takes from a peer the pipe that it did not empty in time, and tells when that may be so again.
    fn leave_pipes(&mut self, now: Instant) -> Option<Instant> {
        let mut next: Option<Instant> = None;
        for flow in [&mut self.requests, &mut self.responses] {
            let Some(Stamp(since)) = flow.pipe_since() else { continue };
            let until = self.started + Duration::from_micros(since) + pipe::PATIENCE;
            if until <= now {
                flow.leave_pipe();
            } else {
                next = Some(next.map_or(until, |next| next.min(until)));
            }
        }
        next
    }

    /// Whether a connection that begins nothing new has done what it must.
    fn stopped(&mut self, now: Instant) -> Option<Poll<Cause>> {
        let stop = self.stop.as_ref()?;
        let waited = now - stop.since;
        let forced = waited >= stop.patience;
        let between_frames = self.requests.at_boundary()
            && !self.requests.is_blocked()
            && !self.responses.is_blocked()
            && !self.response_is_under_way();
        let in_flight = self.core.in_flight();
        let answered = in_flight.is_empty() || (waited >= stop.abandon_after && !in_flight.must_finish());
        let finished = between_frames && answered;
        if !(forced || finished) {
            return Some(Poll::Pending);
        }
        let cause = match self.stop.take()?.cause {
            Cause::Drained { .. } => Cause::Drained { forced: !finished },
            Cause::Moved { .. } => Cause::Moved { forced: !finished },
            Cause::Aged { .. } => Cause::Aged { forced: !finished },
            Cause::Distrusted { .. } => Cause::Distrusted { forced: !finished },
            cause => cause,
        };
        Some(Poll::Ready(cause))
    }

    /// The next moment at which something may have waited too long.
    fn deadline(&mut self, now: Instant) -> Result<Instant, Cause> {
        if let Some(stop) = &self.stop {
            let abandon = stop.since + stop.abandon_after;
            let patience = stop.since + stop.patience;
            return Ok(if abandon > now { abandon.min(patience) } else { patience });
        }
        let owed = !self.core.in_flight().is_empty();
        let blocked = self.requests.is_blocked() || self.responses.is_blocked();
        if owed || blocked {
            // Neither a pending response nor a slow reader is idleness.
            self.active = now;
        }
        let idle = self.active + self.options.idle_timeout;
        if idle <= now {
            return Err(Cause::Idle);
        }
        let next = self.progress(now)?.into_iter().chain(self.aged).fold(idle, Instant::min);
        Ok(next)
    }

    /// A request that is under way must come at 1 KiB/s. The clock stops while the gateway does not read.
    fn progress(&mut self, now: Instant) -> Result<Option<Instant>, Cause> {
        let reading = !self.requests.is_blocked() && !self.requests.is_waiting();
        if !(reading && self.requests.is_mid_frame()) {
            self.slow = None;
            return Ok(None);
        }
        let (since, bytes) = *self.slow.get_or_insert((now, self.received));
        if now < since + PROGRESS_WINDOW {
            return Ok(Some(since + PROGRESS_WINDOW));
        }
        if self.received - bytes < PROGRESS_BYTES {
            return Err(Cause::Slow);
        }
        self.slow = Some((now, self.received));
        Ok(Some(now + PROGRESS_WINDOW))
    }
}
