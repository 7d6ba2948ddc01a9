//! Moves bytes between one client and one broker: the core plans, the shell carries out.
//!
//! ```text
//! client ──► requests: Flow ──► broker
//!                │  Core: what is in flight
//! client ◄── responses: Flow ◄── broker
//! ```

mod clocks;
mod closing;
pub mod core;
mod flow;
pub mod in_flight;
pub mod observer;
mod pipe;
pub mod violation;

use std::cell::RefCell;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::{Instant, Sleep};
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

use self::core::{Core, Found, Plan};
use self::flow::{Direction, Flow, READ_BYTES, Standing, Work};
use self::in_flight::Stamp;
use self::observer::{Moved, Observer};
use self::violation::Violation;
use crate::limits::held::HeldBytes;
use crate::limits::spread;
use crate::tls::stream::Transport;

/// How long requests that may be abandoned are waited for once a connection drains.
const ABANDON_AFTER: Duration = Duration::from_secs(1);

/// How long a client that closed its sending side is still answered.
const HALF_CLOSED: Duration = Duration::from_secs(1);

/// The kernel copies to a page's start at twice the speed of elsewhere, which decides what a relay costs.
const PAGE_BYTES: usize = 4096;

/// Turns between the two directions before other connections of the worker get theirs.
const TURNS_MAX: usize = 16;

/// Pipes of the process in which the rest of a large frame waits for a peer; the others are empty.
pub fn pipes_in_use() -> usize {
    pipe::in_use()
}

/// A stream to a client or a broker.
pub trait Peer: AsyncRead + AsyncWrite + Unpin {
    /// The socket whose bytes are the stream's own; `None` where they are encrypted on the way.
    fn plain(&self) -> Option<&TcpStream>;
}

impl Peer for Transport {
    fn plain(&self) -> Option<&TcpStream> {
        match self {
            Self::Plain(socket) => Some(socket),
            Self::Tls(_) => None,
        }
    }
}

/// Waiting that a connection allows.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// A connection on which nothing moves and nothing is owed is closed after this time.
    pub idle_timeout: Duration,
    /// A draining connection is closed after this time, whatever it still owes.
    pub drain_timeout: Duration,
    /// A connection drains once it is this old, give or take a tenth: clients that came together must not
    /// come back together. `None` lets it live.
    pub max_age: Option<Duration>,
}

/// Why a relay ended.
#[derive(Debug)]
pub enum Cause {
    /// The client closed.
    ClientClosed,
    /// The client's socket failed.
    ClientFailed(std::io::Error),
    /// The broker closed, in the middle of a frame or not.
    BrokerClosed {
        /// Whether a response had begun and not ended.
        mid_frame: bool,
    },
    /// The broker's socket failed.
    BrokerFailed(std::io::Error),
    /// A peer broke the protocol.
    Violated(Violation),
    /// Nothing moved for `idle_timeout`.
    Idle,
    /// A request came slower than 1 KiB/s.
    Slow,
    /// The gateway drains.
    Drained {
        /// Whether the deadline passed before all was answered.
        forced: bool,
    },
    /// The connection reached its age.
    Aged {
        /// Whether the deadline passed before all was answered.
        forced: bool,
    },
    /// The client's certificate is trusted no more.
    Distrusted {
        /// Whether the deadline passed before all was answered.
        forced: bool,
    },
    /// The broker behind the connection has moved.
    Moved {
        /// Whether the deadline passed before all was answered.
        forced: bool,
    },
}

/// What a relay needs beside its two streams.
#[derive(Debug)]
pub struct Parts {
    /// The core that has seen `first`.
    pub core: Core,
    /// What was read of the client already.
    pub first: Vec<u8>,
    /// The core's plan for it.
    pub plan: Plan,
    /// Waiting that is allowed.
    pub options: Options,
    /// The budget of held bytes.
    pub held: Arc<HeldBytes>,
    /// Counters of the connection.
    pub observer: Observer,
    /// Cancelled when the gateway or its listener drains.
    pub drain: CancellationToken,
    /// Cancelled when the broker is somewhere else from now on.
    pub moved: CancellationToken,
    /// Cancelled when the client's certificate is trusted no more; `None` for a client without one.
    pub distrusted: Option<CancellationToken>,
}

/// Why no new request is read.
#[derive(Debug)]
struct Stop {
    cause: Cause,
    since: Instant,
    patience: Duration,
    /// How long what may be abandoned is waited for.
    abandon_after: Duration,
}

/// Both directions of one connection.
pub struct Relay<C, B> {
    client: C,
    broker: B,
    core: Core,
    requests: Flow,
    responses: Flow,
    options: Options,
    held: Arc<HeldBytes>,
    observer: Observer,
    started: Instant,
    active: Instant,
    /// Since when a request is under way, and how many bytes had come then.
    slow: Option<(Instant, u64)>,
    received: u64,
    blocked: [Option<Instant>; 2],
    timer: Pin<Box<Sleep>>,
    drain: Pin<Box<WaitForCancellationFutureOwned>>,
    moved: Pin<Box<WaitForCancellationFutureOwned>>,
    distrusted: Option<Pin<Box<WaitForCancellationFutureOwned>>>,
    /// When the connection reaches its age.
    aged: Option<Instant>,
    stop: Option<Stop>,
}

thread_local! {
    /// The read buffer of the worker: borrowed while a connection is polled, never across a wait.
    static SCRATCH: RefCell<Vec<u8>> = RefCell::new(vec![0; READ_BYTES + PAGE_BYTES]);
}

impl<C, B> Relay<C, B>
where
    C: Peer,
    B: Peer,
{
    /// A relay between two streams.
    pub fn new(client: C, broker: B, parts: Parts) -> Self {
        let Parts { mut core, first, plan, options, held, mut observer, drain, moved, distrusted } = parts;
        // The event of the first plan: the next plan would take its place.
        observer.observe(&mut core, Stamp::default());
        let now = Instant::now();
        let read = Moved { read: first.len() as u64, written: 0 };
        observer.moved(read, Moved::default(), Duration::ZERO);
        Self {
            client,
            broker,
            core,
            requests: Flow::new(Direction::Requests, first, Some(plan), held.add(0)),
            responses: Flow::new(Direction::Responses, Vec::new(), None, held.add(0)),
            options,
            held,
            observer,
            started: now,
            active: now,
            slow: None,
            received: 0,
            blocked: [None; 2],
            timer: Box::pin(tokio::time::sleep_until(now + options.idle_timeout)),
            drain: Box::pin(drain.cancelled_owned()),
            moved: Box::pin(moved.cancelled_owned()),
            distrusted: distrusted.map(|token| Box::pin(token.cancelled_owned())),
            aged: options.max_age.map(|age| now + spread::within(age.mul_f64(0.9)..age.mul_f64(1.1))),
            stop: None,
        }
    }

    /// Relays until one side ends, then closes both in order. `learn` is told what responses said about
    /// the cluster. Not cancel safe: dropped, it closes both sides at once.
    pub async fn run(mut self, mut learn: impl FnMut(&Found)) -> Cause {
        let cause = poll_fn(|cx| self.poll(cx, &mut learn)).await;
        self.close(&cause).await;
        cause
    }

    fn poll(&mut self, cx: &mut Context<'_>, learn: &mut impl FnMut(&Found)) -> Poll<Cause> {
        let now = Instant::now();
        let ended = SCRATCH.with_borrow_mut(|scratch| {
            let start = scratch.as_ptr().align_offset(PAGE_BYTES).min(PAGE_BYTES);
            let scratch = scratch.get_mut(start..start + READ_BYTES).unwrap_or_default();
            self.turns(cx, now, scratch)
        });
        for found in self.observer.take_found() {
            learn(&found);
        }
        self.count(now);
        if let Some(cause) = ended {
            return Poll::Ready(cause);
        }
        if self.core.in_flight().is_empty() {
            self.core.shrink();
        }
        self.watch_signals(cx, now);
        self.poll_clocks(cx, now)
    }

    /// Lets both directions move until neither can.
    fn turns(&mut self, cx: &mut Context<'_>, now: Instant, scratch: &mut [u8]) -> Option<Cause> {
        let stamp = Stamp(u64::try_from((now - self.started).as_micros()).unwrap_or(u64::MAX));
        let scarce = self.held.is_exhausted();
        for _ in 0..TURNS_MAX {
            let may_start = self.stop.is_none();
            let standing = self.requests.poll(
                cx,
                &mut Work {
                    reader: &mut self.client,
                    writer: &mut self.broker,
                    core: &mut self.core,
                    now: stamp,
                    scratch: &mut *scratch,
                    may_start,
                    scarce,
                    observer: &mut self.observer,
                },
            );
            let mut busy = matches!(standing, Standing::Busy);
            if let Some(cause) = self.requests_stand(standing, now) {
                return Some(cause);
            }
            if self.core.answer_is_next() {
                self.responses.ask_again();
            }
            let standing = self.responses.poll(
                cx,
                &mut Work {
                    reader: &mut self.broker,
                    writer: &mut self.client,
                    core: &mut self.core,
                    now: stamp,
                    scratch: &mut *scratch,
                    may_start: true,
                    scarce,
                    observer: &mut self.observer,
                },
            );
            busy |= matches!(standing, Standing::Busy);
            if let Some(cause) = self.responses_stand(standing) {
                return Some(cause);
            }
            if busy {
                cx.waker().wake_by_ref();
                return None;
            }
            if self.requests.is_waiting() && self.core.may_start() {
                self.requests.ask_again();
            } else {
                return None;
            }
        }
        cx.waker().wake_by_ref();
        None
    }

    /// What the standing of the requests means for the connection.
    fn requests_stand(&mut self, standing: Standing, now: Instant) -> Option<Cause> {
        let stop = |cause, patience, abandon_after| Some(Stop { cause, since: now, patience, abandon_after });
        match standing {
            Standing::Pending | Standing::Busy => {}
            Standing::ReadFailed(error) => return Some(Cause::ClientFailed(error)),
            Standing::WriteFailed(error) => return Some(Cause::BrokerFailed(error)),
            // A client that only half-closed still gets the answers that it could not ask for again.
            Standing::Ended if !matches!(self.stop, Some(Stop { cause: Cause::ClientClosed, .. })) => {
                self.stop = stop(Cause::ClientClosed, HALF_CLOSED, Duration::ZERO);
            }
            Standing::Ended => {}
            // As a broker does: what came before is answered, then the connection ends.
            Standing::Violated(violation) => {
                let patience = self.options.drain_timeout;
                self.stop = stop(Cause::Violated(violation), patience, patience);
            }
        }
        None
    }

    /// What the standing of the responses means for the connection.
    fn responses_stand(&mut self, standing: Standing) -> Option<Cause> {
        match standing {
            Standing::Pending | Standing::Busy => None,
            Standing::Ended => match self.stop.take().map(|stop| stop.cause) {
                Some(cause @ (Cause::ClientClosed | Cause::Violated(_))) => Some(cause),
                Some(_) | None => Some(Cause::BrokerClosed { mid_frame: self.response_is_under_way() }),
            },
            Standing::ReadFailed(error) => Some(Cause::BrokerFailed(error)),
            Standing::WriteFailed(error) => Some(Cause::ClientFailed(error)),
            Standing::Violated(violation) => Some(Cause::Violated(violation)),
        }
    }

    fn response_is_under_way(&self) -> bool {
        self.responses.is_mid_frame() || self.core.is_streaming()
    }

    /// Flushes what was counted since the last wake-up.
    fn count(&mut self, now: Instant) {
        let (requests, responses) = (self.requests.take_moved(), self.responses.take_moved());
        if (requests, responses) != Default::default() {
            self.active = now;
            self.received += requests.read;
            self.observer.moved(requests, responses, now.elapsed());
        }
        let listener = self.observer.listener();
        let legs = [(&listener.client, &self.requests), (&listener.broker, &self.responses)];
        for (since, (leg, flow)) in self.blocked.iter_mut().zip(legs) {
            match (flow.is_blocked(), *since) {
                (true, None) => *since = Some(now),
                (false, Some(then)) => {
                    leg.held_back(now - then);
                    *since = None;
                }
                (true, Some(_)) | (false, None) => {}
            }
        }
    }

    /// Notes that the connection has to leave in order.
    fn watch_signals(&mut self, cx: &mut Context<'_>, now: Instant) {
        if self.stop.is_some() {
            return;
        }
        let cause = if self.drain.as_mut().poll(cx).is_ready() {
            Cause::Drained { forced: false }
        } else if self.moved.as_mut().poll(cx).is_ready() {
            Cause::Moved { forced: false }
        } else if self.distrusted.as_mut().is_some_and(|token| token.as_mut().poll(cx).is_ready()) {
            Cause::Distrusted { forced: false }
        } else if self.aged.is_some_and(|aged| aged <= now) {
            Cause::Aged { forced: false }
        } else {
            return;
        };
        let patience = self.options.drain_timeout;
        self.stop = Some(Stop { cause, since: now, patience, abandon_after: ABANDON_AFTER });
    }
}

#[cfg(test)]
mod tests;
