//! Asks a gateway that runs, over its admin address.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::client::conn::http1;
use hyper::header::{AUTHORIZATION, CONNECTION, HOST, HeaderValue};
use hyper::{Method, Request, StatusCode, Uri};
use hyper_util::rt::TokioIo;
use secrecy::{ExposeSecret as _, SecretString};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::Exit;
use crate::admin::{self, BIND_DEFAULT};
use crate::logging::chain;

/// The longest answer that is read, in bytes.
const ANSWER_BYTES_MAX: usize = 16 << 20;

const TOKEN: &str = "GATEHOUSE_ADMIN_TOKEN";
const TOKEN_FILE: &str = "GATEHOUSE_ADMIN_TOKEN_FILE";

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    #[error("`{0}` is no admin address: write `http://HOST:PORT`")]
    Url(String),
    #[error("{}, which {TOKEN_FILE} names, cannot be read", .0.display())]
    TokenFile(PathBuf, #[source] std::io::Error),
    #[error("the admin token has characters that no header can have")]
    Token,
    #[error("the gateway at {0} cannot be reached")]
    Connect(String, #[source] std::io::Error),
    #[error("the gateway at {0} does not answer as one")]
    Http(String, #[source] Box<dyn std::error::Error + Send + Sync>),
    #[error("the gateway at {0} has not answered for {1:?}")]
    Timeout(String, Duration),
}

impl Error {
    /// What the process ends with.
    pub(super) fn exit(&self) -> Exit {
        match self {
            Self::Url(_) | Self::Token => Exit::Usage,
            Self::TokenFile(..) => Exit::NoInput,
            Self::Connect(..) | Self::Http(..) | Self::Timeout(..) => Exit::Unavailable,
        }
    }
}

/// What was answered.
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) body: Bytes,
}

impl Answer {
    /// What a problem document (RFC 9457) says, or the status where there is none.
    pub(super) fn problem(&self) -> String {
        let document: Option<serde_json::Value> = serde_json::from_slice(&self.body).ok();
        let detail = document.as_ref().and_then(|document| document.get("detail")?.as_str());
        detail.map_or_else(|| self.status.to_string(), str::to_owned)
    }
}

/// The gateway that is asked.
pub(super) struct Target {
    /// Where its admin address is.
    pub(super) url: String,
    /// What it wants to be shown, where the environment has no token.
    pub(super) token: Option<SecretString>,
}

impl Default for Target {
    fn default() -> Self {
        Self { url: format!("http://{BIND_DEFAULT}"), token: None }
    }
}

impl Target {
    /// The gateway of a configuration, on this machine; `None` where it cannot be asked.
    pub(super) fn of(options: admin::Options) -> Option<Self> {
        let mut bind = options.bind?;
        if bind.ip().is_unspecified() {
            bind.set_ip(match bind {
                SocketAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
                SocketAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
            });
        }
        Some(Self { url: format!("http://{bind}"), token: options.token })
    }
}

/// Sends a request without a body that changes something, and waits for the answer.
pub(super) async fn post(target: &Target, path: &str, patience: Duration) -> Result<Answer, Error> {
    let authority = authority(&target.url)?;
    let asking = async {
        let stream =
            TcpStream::connect(&authority).await.map_err(|e| Error::Connect(authority.clone(), e))?;
        ask(stream, request(&authority, path, target)?, &authority).await
    };
    let waited = timeout(patience, asking).await;
    waited.unwrap_or_else(|_| Err(Error::Timeout(authority.clone(), patience)))
}

async fn ask(stream: TcpStream, request: Request<Empty<Bytes>>, authority: &str) -> Result<Answer, Error> {
    let failed = |source| Error::Http(authority.to_owned(), source);
    let (mut sender, connection) =
        http1::handshake(TokioIo::new(stream)).await.map_err(|error| failed(error.into()))?;
    let answering = async {
        let response = sender.send_request(request).await?;
        let status = response.status();
        let body = Limited::new(response.into_body(), ANSWER_BYTES_MAX).collect().await?.to_bytes();
        Ok(Answer { status, body })
    };
    let mut connection = std::pin::pin!(connection);
    let mut answering = std::pin::pin!(answering);
    // What moves the bytes ends where the peer closes, which is before the answer was looked at.
    let answered = tokio::select! {
        answered = &mut answering => answered,
        ended = &mut connection => match ended {
            Ok(()) => answering.await,
            Err(error) => Err(error.into()),
        },
    };
    answered.map_err(failed)
}

fn request(authority: &str, path: &str, target: &Target) -> Result<Request<Empty<Bytes>>, Error> {
    let mut request = Request::new(Empty::new());
    *request.method_mut() = Method::POST;
    *request.uri_mut() = path.parse().map_err(|_| Error::Url(path.to_owned()))?;
    let host = HeaderValue::from_str(authority).map_err(|_| Error::Url(authority.to_owned()))?;
    request.headers_mut().insert(HOST, host);
    request.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    if let Some(token) = token()?.or_else(|| target.token.clone()) {
        let bearer = format!("Bearer {}", token.expose_secret());
        let mut bearer = HeaderValue::from_str(&bearer).map_err(|_| Error::Token)?;
        bearer.set_sensitive(true);
        request.headers_mut().insert(AUTHORIZATION, bearer);
    }
    Ok(request)
}

/// Host and port of an address such as `http://localhost:9910`; the scheme may be left out.
fn authority(url: &str) -> Result<String, Error> {
    let no_address = || Error::Url(url.to_owned());
    let full = if url.contains("://") { url.to_owned() } else { format!("http://{url}") };
    let uri: Uri = full.parse().map_err(|_| no_address())?;
    let authority = uri.authority().ok_or_else(no_address)?;
    if uri.scheme_str() != Some("http") || !matches!(uri.path(), "" | "/") || uri.query().is_some() {
        return Err(no_address());
    }
    let port = authority.port_u16().unwrap_or(BIND_DEFAULT.port());
    Ok(format!("{}:{port}", authority.host()))
}

/// The token of the environment. An empty variable says nothing.
fn token() -> Result<Option<SecretString>, Error> {
    let variable = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    if let Some(token) = variable(TOKEN) {
        return Ok(Some(token.into()));
    }
    let Some(path) = variable(TOKEN_FILE).map(PathBuf::from) else { return Ok(None) };
    let text = std::fs::read_to_string(&path).map_err(|error| Error::TokenFile(path, error))?;
    Ok(Some(text.trim_end().into()))
}

/// Says why there is no answer.
pub(super) fn explain(error: &Error) -> Exit {
    super::output::error(&format!("error: {}", chain(error)));
    error.exit()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_a_host_and_a_port() {
        for (url, expected) in [
            ("http://127.0.0.1:9910", "127.0.0.1:9910"),
            ("http://localhost:8080/", "localhost:8080"),
            ("gw-0.example.com", "gw-0.example.com:9910"),
            ("http://[::1]:9910", "[::1]:9910"),
        ] {
            assert_eq!(authority(url).unwrap(), expected);
        }
        for wrong in ["https://127.0.0.1:9910", "http://", "", "http://a b", "http://h:1/api", "unix:/run/x"]
        {
            assert!(authority(wrong).is_err(), "{wrong}");
        }
    }
}
