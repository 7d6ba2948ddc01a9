//! TLS in front of toy brokers, which remembers who came and what they showed.

use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};

use gatehouse::kafka::NodeId;
use gatehouse::tls::provider;
use gatehouse::toy::Cluster;
use rustls::pki_types::CertificateDer;
use rustls::server::WebPkiClientVerifier;
use rustls::sign::SingleCertAndKey;
use rustls::{HandshakeKind, RootCertStore, ServerConfig, SupportedProtocolVersion};
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_util::task::AbortOnDropHandle;

use super::pki::{Authority, Pair};

/// What a broker wants of whoever connects.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wants {
    /// A certificate, if there is one.
    Anybody,
    /// A certificate.
    Known,
}

/// A connection whose handshake was done and that asked for something.
#[derive(Clone, Debug)]
pub(crate) struct Visit {
    pub(crate) node: NodeId,
    /// The name in its hello.
    pub(crate) name: Option<String>,
    /// The client id of its first request: the gateway's own, or its client's.
    pub(crate) client_id: String,
    /// Its certificate.
    pub(crate) shown: Option<CertificateDer<'static>>,
    pub(crate) resumed: bool,
}

/// TLS before every broker of a cluster; the brokers tell of these ports as their own.
pub(crate) struct Front {
    pub(crate) addresses: Vec<SocketAddr>,
    visits: Arc<Mutex<Vec<Visit>>>,
    failures: Arc<Mutex<Vec<String>>>,
    _tasks: Vec<AbortOnDropHandle<()>>,
}

/// How the brokers do TLS: what they show, whom they know, what they speak.
pub(crate) fn config(
    shows: &Pair,
    knows: &Authority,
    wants: Wants,
    versions: &[&'static SupportedProtocolVersion],
) -> Arc<ServerConfig> {
    let mut roots = RootCertStore::empty();
    roots.add(knows.der()).expect("an authority");
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider());
    let verifier = match wants {
        Wants::Anybody => verifier.allow_unauthenticated(),
        Wants::Known => verifier,
    };
    let config = ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(versions)
        .expect("versions")
        .with_client_cert_verifier(verifier.build().expect("a verifier"))
        .with_cert_resolver(Arc::new(SingleCertAndKey::from(shows.certified())));
    Arc::new(config)
}

impl Front {
    /// Before every broker, on an address. Their clients are told of `host`.
    pub(crate) async fn start(cluster: &Cluster, ip: IpAddr, host: &str, config: &Arc<ServerConfig>) -> Self {
        let (visits, failures) = (Arc::default(), Arc::default());
        let (mut addresses, mut tasks) = (Vec::new(), Vec::new());
        for (node, broker) in cluster.addresses() {
            let listener = TcpListener::bind((ip, 0)).await.expect("a port");
            let address = listener.local_addr().expect("an address");
            cluster.advertise(node, host, address.port().into());
            addresses.push(address);
            let door = Door {
                node,
                broker,
                acceptor: TlsAcceptor::from(Arc::clone(config)),
                visits: Arc::clone(&visits),
                failures: Arc::clone(&failures),
            };
            tasks.push(AbortOnDropHandle::new(tokio::spawn(door.accept(listener))));
        }
        Self { addresses, visits, failures, _tasks: tasks }
    }

    /// Who came.
    pub(crate) fn visits(&self) -> Vec<Visit> {
        self.visits.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The gateway itself, or the clients that it brought.
    pub(crate) fn visits_of(&self, client_id: &str) -> Vec<Visit> {
        self.visits().into_iter().filter(|visit| visit.client_id == client_id).collect()
    }

    /// Forgets those visits.
    pub(crate) fn forget_clients(&self, client_id: &str) {
        let mut visits = self.visits.lock().unwrap_or_else(PoisonError::into_inner);
        visits.retain(|visit| visit.client_id != client_id);
    }

    /// Why handshakes failed.
    pub(crate) fn failures(&self) -> Vec<String> {
        self.failures.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// One broker's.
#[derive(Clone)]
struct Door {
    node: NodeId,
    broker: SocketAddr,
    acceptor: TlsAcceptor,
    visits: Arc<Mutex<Vec<Visit>>>,
    failures: Arc<Mutex<Vec<String>>>,
}

impl Door {
    async fn accept(self, listener: TcpListener) {
        while let Ok((socket, _)) = listener.accept().await {
            let door = self.clone();
            tokio::spawn(async move {
                if let Err(error) = door.serve(socket).await {
                    door.failures.lock().unwrap_or_else(PoisonError::into_inner).push(error.to_string());
                }
            });
        }
    }

    /// Fails for what happens before the first request.
    async fn serve(&self, socket: TcpStream) -> std::io::Result<()> {
        let mut stream = self.acceptor.accept(socket).await?;
        let mut first = vec![0; 4096];
        let mut have = 0;
        // Length, key, version, correlation id, the length of the client id, the client id.
        let client_id = loop {
            if let Some(length) = first[..have].get(12..14) {
                let length = usize::from(u16::from_be_bytes([length[0], length[1]]));
                if let Some(client_id) = first[..have].get(14..14 + length) {
                    break String::from_utf8_lossy(client_id).into_owned();
                }
            }
            match stream.read(&mut first[have..]).await? {
                0 => return Err(std::io::ErrorKind::UnexpectedEof.into()),
                read => have += read,
            }
        };
        let tls = stream.get_ref().1;
        let visit = Visit {
            node: self.node,
            name: tls.server_name().map(str::to_owned),
            client_id,
            shown: tls.peer_certificates().and_then(|chain| chain.first()).map(|c| c.clone().into_owned()),
            resumed: tls.handshake_kind() == Some(HandshakeKind::Resumed),
        };
        self.visits.lock().unwrap_or_else(PoisonError::into_inner).push(visit);
        let mut broker = TcpStream::connect(self.broker).await?;
        broker.write_all(&first[..have]).await?;
        // How it ends is the gateway's and the broker's business.
        let _ = copy_bidirectional(&mut stream, &mut broker).await;
        Ok(())
    }
}
