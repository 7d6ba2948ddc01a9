//! Clients of a TLS listener on tokio-rustls: what they show, and what becomes of them.

use std::net::SocketAddr;
use std::sync::Arc;

use gatehouse::tls::provider;
use kafka_protocol::messages::ListGroupsRequest;
use rustls::client::Resumption;
use rustls::pki_types::ServerName;
use rustls::sign::SingleCertAndKey;
use rustls::{AlertDescription, ClientConfig, HandshakeKind, RootCertStore, SupportedProtocolVersion};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::pki::{Authority, Pair};
use crate::client::{Client, frame};
use crate::poll::in_time;

/// Both versions, for what must hold in each.
pub(crate) const VERSIONS: [&SupportedProtocolVersion; 2] =
    [&rustls::version::TLS12, &rustls::version::TLS13];

/// A client on a TLS connection.
pub(crate) type TlsClient = Client<TlsStream<TcpStream>>;

/// What became of a client that shook hands, asked for something and read.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Outcome {
    /// It was answered.
    Answered(HandshakeKind),
    /// It was told why it is not let in.
    Alert(AlertDescription),
    /// It was closed without a word: in order, or by a reset.
    Closed,
    /// It does not take what the gateway shows.
    Refuses,
}

/// A client that trusts an authority and shows what it is given, fit or not, in one version of TLS.
pub(crate) fn config(
    servers: &Authority,
    shows: Option<&Pair>,
    version: &'static SupportedProtocolVersion,
) -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    roots.add(servers.der()).expect("an authority");
    let builder = ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[version])
        .expect("a version")
        .with_root_certificates(roots);
    let mut config = match shows {
        None => builder.with_no_client_auth(),
        Some(pair) => builder.with_client_cert_resolver(Arc::new(SingleCertAndKey::from(pair.certified()))),
    };
    config.resumption = Resumption::in_memory_sessions(8);
    Arc::new(config)
}

/// Shakes hands.
pub(crate) async fn connect(
    address: SocketAddr,
    name: &str,
    config: &Arc<ClientConfig>,
) -> std::io::Result<TlsClient> {
    let socket = TcpStream::connect(address).await?;
    socket.set_nodelay(true)?;
    let name = ServerName::try_from(name.to_owned()).expect("a name");
    let connector = TlsConnector::from(Arc::clone(config));
    in_time("a handshake", connector.connect(name, socket)).await.map(Client::over)
}

/// Shakes hands, asks for something and reads, whatever comes.
pub(crate) async fn outcome(address: SocketAddr, name: &str, config: &Arc<ClientConfig>) -> Outcome {
    let mut client = match connect(address, name, config).await {
        Ok(client) => client,
        Err(error) => return told(&error),
    };
    asked(&mut client).await
}

/// Asks for something and reads, whatever comes.
pub(crate) async fn asked(client: &mut TlsClient) -> Outcome {
    let request = frame(&ListGroupsRequest::default(), 3, 1);
    // The gateway may have closed already; what it said is still there to be read.
    let _ = client.stream.write_all(&request).await;
    let _ = client.stream.flush().await;
    let mut answer = [0; 4];
    match in_time("an answer or an end", client.stream.read_exact(&mut answer)).await {
        Ok(_) => {
            let mut rest = vec![0; u32::from_be_bytes(answer) as usize];
            client.stream.read_exact(&mut rest).await.expect("the rest of an answer");
            Outcome::Answered(client.stream.get_ref().1.handshake_kind().expect("a handshake"))
        }
        Err(error) => told(&error),
    }
}

/// What an error of the stream says.
fn told(error: &std::io::Error) -> Outcome {
    let fault = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
    match fault {
        Some(rustls::Error::AlertReceived(alert)) => Outcome::Alert(*alert),
        Some(_) => Outcome::Refuses,
        None => Outcome::Closed,
    }
}
