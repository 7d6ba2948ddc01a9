//! From a request to the admin address to its response.

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Body;
use hyper::header::{
    ALLOW, CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderName, HeaderValue, WWW_AUTHENTICATE,
    X_CONTENT_TYPE_OPTIONS,
};
use hyper::{Method, Request, Response, StatusCode};
use serde::Serialize;
use serde_json::json;
use tokio::sync::oneshot;

use super::guard::Denied;
use super::state::{Command, Readiness, State, Verdict};
use super::{Access, page};
use crate::logging::printable::Printable;
use crate::metrics;
use crate::registry::Filter;

/// How many connections are listed unless `limit` says otherwise.
const LISTED_DEFAULT: usize = 100;

/// How many are listed at most.
const LISTED_MAX: usize = 1000;

const TEXT: &str = "text/plain; charset=utf-8";
const HTML: &str = "text/html; charset=utf-8";
const JSON: &str = "application/json";
const PROBLEM: &str = "application/problem+json";

/// Everything that a request may read, and who may.
pub(super) struct Pages {
    pub(super) state: State,
    pub(super) access: Access,
}

/// The path of a page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Path {
    Home,
    Live,
    Ready,
    Metrics,
    Status,
    Listeners,
    Clusters,
    Routes,
    Connections,
    Certificates,
    Reload,
}

impl Path {
    fn find(path: &str) -> Option<Self> {
        Some(match path {
            "/" => Self::Home,
            "/livez" => Self::Live,
            "/readyz" => Self::Ready,
            "/metrics" => Self::Metrics,
            "/api/v1/status" => Self::Status,
            "/api/v1/listeners" => Self::Listeners,
            "/api/v1/clusters" => Self::Clusters,
            "/api/v1/routes" => Self::Routes,
            "/api/v1/connections" => Self::Connections,
            "/api/v1/certificates" => Self::Certificates,
            "/api/v1/reload" => Self::Reload,
            _ => return None,
        })
    }

    /// Whether it shows nothing but whether, and how well, the process runs.
    fn is_open(self) -> bool {
        matches!(self, Self::Live | Self::Ready | Self::Metrics)
    }

    /// Whether it does something instead of showing something.
    fn changes(self) -> bool {
        self == Self::Reload
    }

    /// The methods that it takes.
    fn methods(self) -> &'static str {
        if self.changes() { "POST" } else { "GET, HEAD" }
    }

    fn takes(self, method: &Method) -> bool {
        if self.changes() { method == Method::POST } else { matches!(*method, Method::GET | Method::HEAD) }
    }
}

/// A response that is an error.
struct Problem {
    status: StatusCode,
    detail: String,
    header: Option<(HeaderName, &'static str)>,
}

impl Problem {
    fn new(status: StatusCode, detail: impl Into<String>) -> Self {
        Self { status, detail: detail.into(), header: None }
    }

    fn with(self, name: HeaderName, value: &'static str) -> Self {
        Self { header: Some((name, value)), ..self }
    }

    /// RFC 9457.
    fn response(self) -> Response<Full<Bytes>> {
        let title = self.status.canonical_reason().unwrap_or_default();
        let body = json!({
            "type": "about:blank", "title": title, "status": self.status.as_u16(), "detail": self.detail,
        });
        let mut response = response(self.status, PROBLEM, body.to_string());
        if let Some((name, value)) = self.header {
            response.headers_mut().insert(name, HeaderValue::from_static(value));
        }
        response
    }
}

impl From<Denied> for Problem {
    fn from(denied: Denied) -> Self {
        match denied {
            Denied::BadHost => Self::new(StatusCode::BAD_REQUEST, "the request needs one valid Host"),
            Denied::UnknownHost => Self::new(
                StatusCode::MISDIRECTED_REQUEST,
                "this server goes by localhost, loopback addresses and the names in admin.hosts",
            ),
            Denied::NoToken => Self::new(
                StatusCode::FORBIDDEN,
                "off loopback only /livez, /readyz and /metrics are open; set admin.token for the rest",
            ),
            Denied::NoTokenToChange => Self::new(
                StatusCode::FORBIDDEN,
                "what changes something needs admin.token, which is not set; HUP to the process reloads too",
            ),
            Denied::WrongToken => {
                Self::new(StatusCode::UNAUTHORIZED, "this page needs `Authorization: Bearer` and admin.token")
                    .with(WWW_AUTHENTICATE, "Bearer")
            }
        }
    }
}

impl Pages {
    /// Answers a request. A body is never read.
    pub(super) async fn respond<B: Body>(&self, request: &Request<B>) -> Response<Full<Bytes>> {
        let answer = match self.admit(request) {
            Ok((path, query)) => self.open(path, &query).await,
            Err(problem) => Err(problem),
        };
        answer.unwrap_or_else(Problem::response)
    }

    /// The page that a request may have.
    fn admit<B: Body>(&self, request: &Request<B>) -> Result<(Path, Query), Problem> {
        let guard = self.access.guard.load();
        guard.check_host(request)?;
        let path = Path::find(request.uri().path()).ok_or_else(|| {
            let path = Printable::from(request.uri().path());
            Problem::new(StatusCode::NOT_FOUND, format!("there is no page {path}"))
        })?;
        if !path.takes(request.method()) {
            let detail = format!("this page takes {}", path.methods());
            return Err(Problem::new(StatusCode::METHOD_NOT_ALLOWED, detail).with(ALLOW, path.methods()));
        }
        if !request.body().is_end_stream() {
            return Err(Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "a request here has no body"));
        }
        if path.changes() {
            guard.check_change(request)?;
        } else if !path.is_open() {
            guard.check_token(request)?;
        }
        let query = Query::parse(path, request.uri().query().unwrap_or_default())?;
        Ok((path, query))
    }

    /// Has the configuration and the certificate files read again, and tells what came of it: 422 where
    /// something was refused.
    async fn reload(&self, dry_run: bool) -> Result<Response<Full<Bytes>>, Problem> {
        let stopping = || Problem::new(StatusCode::SERVICE_UNAVAILABLE, "the process is stopping");
        let (answer, answered) = oneshot::channel();
        self.state.commands.send(Command::Reload { dry_run, answer }).await.map_err(|_| stopping())?;
        let reload = answered.await.map_err(|_| stopping())?;
        let mut response = document(&reload)?;
        if reload.is_refused() {
            *response.status_mut() = StatusCode::UNPROCESSABLE_ENTITY;
        }
        Ok(response)
    }

    async fn open(&self, path: Path, query: &Query) -> Result<Response<Full<Bytes>>, Problem> {
        let state = &self.state;
        match path {
            Path::Home => Ok(response(StatusCode::OK, HTML, page::render(state))),
            Path::Live => Ok(response(StatusCode::OK, TEXT, "alive\n")),
            Path::Ready => Ok(ready(&(state.readiness)(), query.verbose)),
            Path::Metrics => Ok(response(StatusCode::OK, metrics::CONTENT_TYPE, (state.metrics)())),
            Path::Status => {
                let readiness = (state.readiness)();
                document(&StatusPage {
                    ready: readiness.is_ready(),
                    status: (state.status)(),
                    checks: readiness.checks,
                })
            }
            Path::Listeners => document(&json!({ "listeners": (state.listeners)() })),
            Path::Clusters => document(&json!({ "clusters": (state.clusters)() })),
            Path::Routes => document(&json!({ "routes": (state.routes)() })),
            Path::Connections => document(&state.connections.list(&query.filter, query.limit)),
            Path::Certificates => document(&json!({ "certificates": (state.certificates)() })),
            Path::Reload => self.reload(query.dry_run).await,
        }
    }
}

/// `/api/v1/status`.
#[derive(Serialize)]
struct StatusPage {
    ready: bool,
    #[serde(flatten)]
    status: super::state::Status,
    checks: Vec<super::state::Check>,
}

/// What follows the question mark.
#[derive(Debug, Default)]
struct Query {
    verbose: bool,
    dry_run: bool,
    filter: Filter,
    limit: usize,
}

impl Query {
    fn parse(path: Path, text: &str) -> Result<Self, Problem> {
        let mut query = Self { limit: LISTED_DEFAULT, ..Self::default() };
        for (name, value) in form_urlencoded::parse(text.as_bytes()) {
            match (path, &*name) {
                (Path::Ready, "verbose") => query.verbose = true,
                (Path::Reload, "dry_run") => {
                    query.dry_run = match &*value {
                        "" | "true" => true,
                        "false" => false,
                        _ => {
                            let detail = "dry_run is true or false";
                            return Err(Problem::new(StatusCode::BAD_REQUEST, detail));
                        }
                    };
                }
                (Path::Connections, "listener") => query.filter.listener = Some(value.into_owned()),
                (Path::Connections, "principal") => query.filter.principal = Some(value.into_owned()),
                (Path::Connections, "limit") => {
                    let limit = value.parse().ok().filter(|limit| (1..=LISTED_MAX).contains(limit));
                    query.limit = limit.ok_or_else(|| {
                        Problem::new(
                            StatusCode::BAD_REQUEST,
                            format!("limit is a number from 1 to {LISTED_MAX}"),
                        )
                    })?;
                }
                // Probes like to add parameters against caches.
                (Path::Live | Path::Ready | Path::Metrics, _) => {}
                _ => {
                    let name = Printable::from(&*name);
                    let detail = format!("there is no parameter {name} here");
                    return Err(Problem::new(StatusCode::BAD_REQUEST, detail));
                }
            }
        }
        Ok(query)
    }
}

/// 503 with the failed checks, or 200; with every check when it is to be verbose.
fn ready(readiness: &Readiness, verbose: bool) -> Response<Full<Bytes>> {
    let mut body = String::new();
    for check in &readiness.checks {
        if verbose || check.verdict == Verdict::Fail {
            body += &format!("{:4} {}: {}\n", check.verdict.as_str(), check.name, check.detail);
        }
    }
    let (status, word) = if readiness.is_ready() {
        (StatusCode::OK, "ready\n")
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, "not ready\n")
    };
    response(status, TEXT, body + word)
}

fn document(value: &impl Serialize) -> Result<Response<Full<Bytes>>, Problem> {
    let text = serde_json::to_string_pretty(value)
        .map_err(|error| Problem::new(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()))?;
    Ok(response(StatusCode::OK, JSON, text + "\n"))
}

fn response(status: StatusCode, kind: &'static str, body: impl Into<Bytes>) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body.into()));
    *response.status_mut() = status;
    for (name, value) in [
        (CONTENT_TYPE, kind),
        (CACHE_CONTROL, "no-store"),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (CONTENT_SECURITY_POLICY, "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'"),
    ] {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    response
}
