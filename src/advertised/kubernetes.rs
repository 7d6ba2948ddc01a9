//! Asks the Kubernetes API for one Service, and watches it.

use std::error::Error as StdError;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt as _;
use http_body_util::{LengthLimitError, Limited};
use hyper::Response;
use k8s_openapi::api::core::v1::Service as Object;
use kube::api::{Api, ListParams, WatchParams};
use kube::client::{ClientBuilder, DynBody};
use kube::core::Status;
use kube::runtime::watcher::{self, DefaultBackoff, Event, watcher};
use kube::{Config, ResourceExt as _};
use tokio::time::{Instant, sleep, timeout};
use tower::util::MapResponseLayer;

use super::address::{Absence, Entry, choose};
use super::{Error, Follower, Found, Service, said};

/// The server ends a watch after this time, and the next one begins: so it is known each minute that it holds.
const WATCH_SECONDS: u32 = 60;
/// A connection on which nothing is read for so long is given up: more than a watch may be silent.
const READ_TIMEOUT: Duration = Duration::from_secs(75);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// A list that takes longer is given up.
const LIST_TIMEOUT: Duration = Duration::from_secs(30);
/// The longest pause before the next try.
const PAUSE_MAX: Duration = Duration::from_secs(30);
/// The longest answer, and the most that one watch may bring, in bytes. A Service of a thousand ports has 200 KiB.
const ANSWER_BYTES_MAX: usize = 8 << 20;

/// Follows the Service for as long as it is polled. Whatever fails begins anew with a list, so that what is known was
/// said after the failure, and with a new client, which reads the token again.
pub(super) async fn follow(follower: &Arc<Follower>) {
    let mut pauses = DefaultBackoff::default();
    loop {
        let begun = Instant::now();
        let error = match Asking::begin(follower.service(), Some(follower)).await {
            Ok(asking) => asking.watch(follower).await,
            Err(error) => error,
        };
        follower.failed(&error);
        let mut pause = pauses.next().unwrap_or(PAUSE_MAX);
        // What held for longer than that did hold.
        if begun.elapsed() > pause {
            pauses = DefaultBackoff::default();
            pause = pauses.next().unwrap_or(PAUSE_MAX);
        }
        sleep(pause).await;
    }
}

pub(super) async fn look(service: &Service) -> Result<Found, Error> {
    let asking = Asking::begin(service, None).await?;
    let wrong = |error| asking.fault(&error);
    let list = asking.api.list(&ListParams::default().fields(&asking.selector())).await.map_err(wrong)?;
    let version = list.metadata.resource_version.clone().unwrap_or_default();
    let watch = WatchParams::default().fields(&asking.selector()).timeout(1);
    let _begun = asking.api.watch(&watch, &version).await.map_err(wrong)?;
    let own = list.items.iter().find(|object| asking.is_own(object));
    Ok(own.map_or(Err(Absence::NoService), found))
}

/// Whom to ask, as whom, and what for.
struct Asking {
    api: Api<Object>,
    /// With its namespace.
    service: Service,
}

impl Asking {
    /// Reads where the API is and as whom to ask: the mounted service account, or a kubeconfig.
    async fn begin(service: &Service, follower: Option<&Arc<Follower>>) -> Result<Self, Error> {
        let mut config = Config::infer().await.map_err(|error| Error::NoCluster(said(&error.to_string())))?;
        config.connect_timeout = Some(CONNECT_TIMEOUT);
        config.read_timeout = Some(READ_TIMEOUT);
        config.reset_reader_on_write = true;
        // The watcher pauses by itself, and each failure is to be seen.
        config.default_retry = false;
        let namespace = service.namespace.clone().unwrap_or_else(|| config.default_namespace.as_str().into());
        let service = Service { name: service.name.clone(), namespace: Some(namespace.clone()) };
        let follower = follower.cloned();
        let bound = MapResponseLayer::new(move |response: Response<Box<DynBody>>| {
            if let Some(follower) = follower.as_ref().filter(|_| response.status().is_success()) {
                follower.heard();
            }
            response.map(|body| Limited::new(body, ANSWER_BYTES_MAX))
        });
        let builder = ClientBuilder::try_from(config).map_err(|error| fault(&service, &error))?;
        let api = Api::namespaced(builder.with_layer(&bound).build::<Limited<Box<DynBody>>>(), &namespace);
        Ok(Self { api, service })
    }

    /// Watches until something fails.
    async fn watch(&self, follower: &Arc<Follower>) -> Error {
        let config = watcher::Config::default().fields(&self.selector()).timeout(WATCH_SECONDS);
        let mut events = pin!(watcher(self.api.clone(), config));
        let (mut listing, mut there) = (true, false);
        loop {
            let next = if listing {
                timeout(LIST_TIMEOUT, events.next()).await.unwrap_or(None)
            } else {
                events.next().await
            };
            match next {
                None => return Error::Silent,
                Some(Ok(Event::Init)) => (listing, there) = (true, false),
                Some(Ok(Event::InitDone)) => {
                    listing = false;
                    if !there {
                        follower.observed(Err(Absence::NoService));
                    }
                }
                Some(Ok(Event::InitApply(object) | Event::Apply(object))) if self.is_own(&object) => {
                    there = true;
                    follower.observed(found(&object));
                }
                Some(Ok(Event::Delete(object))) if self.is_own(&object) => {
                    follower.observed(Err(Absence::NoService));
                }
                // A server that does not heed the selector.
                Some(Ok(Event::InitApply(_) | Event::Apply(_) | Event::Delete(_))) => {}
                Some(Err(error)) => return self.watch_fault(&error),
            }
        }
    }

    /// The Role allows to list and watch what has this name.
    fn selector(&self) -> String {
        format!("metadata.name={}", self.service.name)
    }

    fn is_own(&self, object: &Object) -> bool {
        object.name_any() == *self.service.name
    }

    fn fault(&self, error: &kube::Error) -> Error {
        fault(&self.service, error)
    }

    fn watch_fault(&self, error: &watcher::Error) -> Error {
        match error {
            watcher::Error::InitialListFailed(error)
            | watcher::Error::WatchStartFailed(error)
            | watcher::Error::WatchFailed(error) => self.fault(error),
            watcher::Error::WatchError(status) => refused(&self.service, status),
            watcher::Error::NoResourceVersion => Error::Answer("it has no resource version".to_owned()),
        }
    }
}

/// What the Service has.
fn found(object: &Object) -> Found {
    let kind = object.spec.as_ref().and_then(|spec| spec.type_.as_deref()).unwrap_or("ClusterIP");
    let balancer = object.status.as_ref().and_then(|status| status.load_balancer.as_ref());
    let entries = balancer.and_then(|balancer| balancer.ingress.as_deref()).unwrap_or_default();
    choose(
        kind,
        entries.iter().map(|entry| Entry { name: entry.hostname.as_deref(), ip: entry.ip.as_deref() }),
    )
}

fn fault(service: &Service, error: &kube::Error) -> Error {
    // Each of these texts holds that of its cause; the last one says what happened.
    let mut cause: &dyn StdError = error;
    while let Some(deeper) = cause.source() {
        cause = deeper;
    }
    let text = said(&cause.to_string());
    if cause.is::<LengthLimitError>() {
        return Error::Answer(format!("it is longer than {ANSWER_BYTES_MAX} bytes"));
    }
    match error {
        kube::Error::Api(status) => refused(service, status),
        kube::Error::SerdeError(_)
        | kube::Error::FromUtf8(_)
        | kube::Error::LinesCodecMaxLineLengthExceeded => Error::Answer(text),
        kube::Error::InferConfig(_) | kube::Error::InferKubeconfig(_) => Error::NoCluster(text),
        _ => Error::Unreachable(text),
    }
}

fn refused(service: &Service, status: &Status) -> Error {
    let said = said(&status.message);
    match status.code {
        401 => Error::Unauthorized(said),
        403 => Error::Forbidden { service: service.clone(), said },
        410 => Error::Expired,
        code => Error::Status { code, said },
    }
}
