//! The address that clients are told, where it is that of a Kubernetes Service: asked for, followed, kept.

pub mod address;
#[cfg(feature = "kubernetes")]
#[path = "kubernetes.rs"]
mod api;
#[cfg(not(feature = "kubernetes"))]
#[path = "absent.rs"]
mod api;
mod follower;

use std::fmt;

pub use follower::{Follower, Following, Standing};

use crate::metrics::advertised::Trouble;
use crate::net::Host;
use address::Absence;

/// Whether this build can ask the Kubernetes API.
pub const IS_BUILT_IN: bool = cfg!(feature = "kubernetes");

/// The longest text of the API that becomes part of a message, in characters.
const SAID_CHARS_MAX: usize = 300;

/// A Service whose load balancer has the address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Service {
    /// Its name, a DNS label.
    pub name: Box<str>,
    /// Its namespace, a DNS label; `None` is that of the gateway's own service account.
    pub namespace: Option<Box<str>>,
}

/// `service prod/gateway`.
impl fmt::Display for Service {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.namespace {
            Some(namespace) => write!(f, "service {namespace}/{}", self.name),
            None => write!(f, "service {}", self.name),
        }
    }
}

impl Service {
    /// What stands for the host where nobody knows it: `<service/prod/gateway>`. No host has this form.
    pub fn placeholder(&self) -> String {
        format!("<{}>", self.to_string().replace(' ', "/"))
    }
}

/// Why the API did not say what a Service has.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// This build cannot ask.
    #[error("this build of the gateway has no Kubernetes client (feature `kubernetes`)")]
    NotBuilt,
    /// Nothing says where the API is, or as whom to ask.
    #[error(
        "there is no Kubernetes API to ask: {0}. In a pod it takes a mounted service-account token, elsewhere a kubeconfig"
    )]
    NoCluster(String),
    /// No connection, no TLS, or it broke.
    #[error("the Kubernetes API cannot be reached: {0}")]
    Unreachable(String),
    /// It answered nothing in time.
    #[error("the Kubernetes API does not answer")]
    Silent,
    /// 401.
    #[error(
        "the Kubernetes API does not take the token of the service account (401): {0}. It may have ended, or belong to \
         another cluster"
    )]
    Unauthorized(String),
    /// 403.
    #[error(
        "the service account may not read {service} (403): {said}. Its Role in that namespace needs \
         `{{ apiGroups: [\"\"], resources: [services], resourceNames: [{}], verbs: [get, list, watch] }}`", service.name
    )]
    Forbidden {
        /// Which Service, its namespace resolved.
        service: Service,
        /// The API's own words.
        said: String,
    },
    /// 410: it has to be asked anew, which is done at once.
    #[error("the Kubernetes API no longer knows where the watch was (410)")]
    Expired,
    /// Another status.
    #[error("the Kubernetes API answers {code}: {said}")]
    Status {
        /// The HTTP status.
        code: u16,
        /// The API's own words.
        said: String,
    },
    /// No answer that could be understood.
    #[error("what the Kubernetes API answers cannot be used: {0}")]
    Answer(String),
}

impl Error {
    /// The word for metrics and log.
    pub fn trouble(&self) -> Trouble {
        match self {
            Self::NotBuilt | Self::NoCluster(_) => Trouble::NoCluster,
            Self::Unreachable(_) => Trouble::Unreachable,
            Self::Silent => Trouble::Silent,
            Self::Unauthorized(_) => Trouble::Unauthorized,
            Self::Forbidden { .. } => Trouble::Forbidden,
            Self::Expired => Trouble::Expired,
            Self::Status { .. } => Trouble::Status,
            Self::Answer(_) => Trouble::Answer,
        }
    }
}

/// What a Service has now: the host that clients are to be told, or why there is none.
pub type Found = Result<Host, Absence>;

/// Asks once, with everything that following takes: the Service is listed, and a watch begun.
///
/// # Errors
/// [`Error`]. A server that does not answer is given up after some 75 seconds; put a deadline above it.
pub async fn look(service: &Service) -> Result<Found, Error> {
    api::look(service).await
}

/// Text of the API as part of a message: short, and without what could break a line.
fn said(text: &str) -> String {
    let short: String = text.chars().take(SAID_CHARS_MAX).collect();
    crate::logging::printable::signed_name(&short)
}
