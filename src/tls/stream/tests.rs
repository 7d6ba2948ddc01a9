//! Streams over duplex pipes: every byte arrives, whatever cuts it, and nothing is kept that need not be.

use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::pki_types::{PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, DuplexStream, duplex};

use super::{Stream, accept, connect};
use crate::tls::{Version, hello, provider};

const NAME: &str = "broker.test";

/// A server and a client that trusts it.
fn configs(version: Version) -> (Arc<ServerConfig>, Arc<ClientConfig>) {
    let mut ca = CertificateParams::default();
    ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let ca = CertifiedIssuer::self_signed(ca, KeyPair::generate().unwrap()).unwrap();
    let key = KeyPair::generate().unwrap();
    let certificate = CertificateParams::new([NAME.to_owned()]).unwrap().signed_by(&key, &ca).unwrap();
    let mut roots = RootCertStore::empty();
    roots.add(ca.der().clone()).unwrap();
    let only = match version {
        Version::Tls12 => &[&rustls::version::TLS12][..],
        Version::Tls13 => &[&rustls::version::TLS13],
    };
    let server = ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(only)
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(
            vec![certificate.der().clone()],
            PrivateKeyDer::try_from(key.serialize_der()).unwrap(),
        )
        .unwrap();
    let client = ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(only)
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    (Arc::new(server), Arc::new(client))
}

type Pair = (Stream<DuplexStream>, Stream<DuplexStream>);

/// A client's and a server's end over a pipe that holds `space` bytes each way.
async fn pair(space: usize, configs: &(Arc<ServerConfig>, Arc<ClientConfig>)) -> Pair {
    let (near, far) = duplex(space);
    let (client, server) = tokio::join!(
        connect(near, ServerName::try_from(NAME).unwrap(), configs.1.clone()),
        accepted(far, configs.0.clone()),
    );
    (client.unwrap(), server)
}

async fn accepted<S: AsyncRead + AsyncWrite + Unpin>(mut socket: S, config: Arc<ServerConfig>) -> Stream<S> {
    let hello = hello::read(&mut socket).await.unwrap();
    assert_eq!(hello.server_name.as_deref(), Some(NAME));
    accept(socket, hello, config, || ()).await.unwrap()
}

#[tokio::test]
async fn bytes_go_both_ways_in_both_versions() {
    for version in [Version::Tls12, Version::Tls13] {
        let (mut client, mut server) = pair(1 << 20, &configs(version)).await;
        assert_eq!((client.version(), server.version()), (version, version));
        client.write_all(b"ping").await.unwrap();
        let mut read = [0; 4];
        server.read_exact(&mut read).await.unwrap();
        assert_eq!(&read, b"ping");
        server.write_all(&[7; 300_000]).await.unwrap();
        server.shutdown().await.unwrap();
        let mut all = Vec::new();
        client.read_to_end(&mut all).await.unwrap();
        assert_eq!(all, [7; 300_000]);
    }
}
