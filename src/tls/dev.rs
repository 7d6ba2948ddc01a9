//! Throw-away certificates for trying things: an authority, a pair for the gateway, a pair for a client.

use std::fs::OpenOptions;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf, absolute};
use std::time::{Duration, SystemTime};
use std::{fs, io};

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    KeyUsagePurpose,
};
use zeroize::Zeroizing;

use crate::net::Host;

/// How long what is made is valid, where nobody says otherwise.
pub const VALID: Duration = Duration::from_secs(30 * 24 * 3600);

/// What to make.
#[derive(Clone, Debug)]
pub struct Options {
    /// The DNS names, wildcards and addresses that the gateway's certificate is for; at least one.
    pub names: Vec<String>,
    /// The common name of the client, which is its principal by a rule such as `RULE:^CN=([^,]*).*$/$1/`.
    pub client: String,
    /// How long all of it is valid, from a minute ago.
    pub valid: Duration,
}

/// An authority and two pairs. The authority's key is thrown away.
pub struct Material {
    /// The authority's certificate, in PEM.
    pub ca: String,
    /// The gateway's certificate, in PEM.
    pub server_cert: String,
    /// The gateway's key, in PEM (PKCS#8).
    pub server_key: Zeroizing<String>,
    /// The client's certificate, in PEM.
    pub client_cert: String,
    /// The client's key, in PEM (PKCS#8).
    pub client_key: Zeroizing<String>,
}

/// Where material was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Files {
    /// The authority's certificate: `ca.crt`.
    pub ca: PathBuf,
    /// The gateway's certificate: `tls.crt`.
    pub server_cert: PathBuf,
    /// The gateway's key: `tls.key`.
    pub server_key: PathBuf,
    /// The client's certificate: `client.crt`.
    pub client_cert: PathBuf,
    /// The client's key: `client.key`.
    pub client_key: PathBuf,
    /// The client's key and certificate in one file, as Java wants a PEM key store: `client.pem`.
    pub client_both: PathBuf,
    /// The settings of a Java client that shows no certificate: `client.properties`.
    pub java: PathBuf,
    /// The settings of a Java client that shows one: `client-mtls.properties`. Kafka 2.8 wants such a key encrypted,
    /// 3.9 takes it as it is.
    pub java_mtls: PathBuf,
}

/// Why nothing was made or written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A name is neither a DNS name nor an address.
    #[error("`{0}` is no host name, no wildcard such as *.kafka.example.com and no IP address")]
    Name(String),
    /// The library refuses.
    #[error("no certificate can be made")]
    Make(#[source] rcgen::Error),
    /// The directory or a file in it.
    #[error("`{}` cannot be written", .0.display())]
    Write(PathBuf, #[source] io::Error),
    /// There is something already.
    #[error("`{}` is there already and is left as it is", .0.display())]
    Exists(PathBuf),
}

/// Makes an authority and two pairs, ECDSA on P-256.
pub fn make(options: &Options) -> Result<Material, Error> {
    if let Some(wrong) = options.names.iter().find(|name| !is_name(name)) {
        return Err(Error::Name(wrong.clone()));
    }
    let params = |names, common_name: &str| params(names, common_name, options.valid);
    let ca_key = KeyPair::generate().map_err(Error::Make)?;
    let mut ca = params(Vec::new(), "Gatehouse throw-away CA")?;
    ca.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    ca.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let ca = CertifiedIssuer::self_signed(ca, ca_key).map_err(Error::Make)?;

    let first = options.names.first().map(String::as_str).filter(|name| name.len() <= COMMON_NAME_BYTES_MAX);
    let mut server = params(options.names.clone(), first.unwrap_or("gatehouse"))?;
    server.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    let mut client = params(Vec::new(), &options.client)?;
    client.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];

    let pair = |params: CertificateParams| -> Result<(String, Zeroizing<String>), Error> {
        let key = KeyPair::generate().map_err(Error::Make)?;
        let certificate = params.signed_by(&key, &ca).map_err(Error::Make)?;
        Ok((certificate.pem(), Zeroizing::new(key.serialize_pem())))
    };
    let (server_cert, server_key) = pair(server)?;
    let (client_cert, client_key) = pair(client)?;
    Ok(Material { ca: ca.pem(), server_cert, server_key, client_cert, client_key })
}

/// [Makes](make) material and writes it into a directory, which is made when it is not there, together with the
/// settings of a Java client. Keys are readable by their owner alone. Files that exist are only written over with
/// `overwrite`; without it nothing is touched. The paths that come back are absolute.
pub fn write(directory: &Path, options: &Options, overwrite: bool) -> Result<Files, Error> {
    let directory = absolute(directory).map_err(|error| Error::Write(directory.to_path_buf(), error))?;
    let files = Files {
        ca: directory.join("ca.crt"),
        server_cert: directory.join("tls.crt"),
        server_key: directory.join("tls.key"),
        client_cert: directory.join("client.crt"),
        client_key: directory.join("client.key"),
        client_both: directory.join("client.pem"),
        java: directory.join("client.properties"),
        java_mtls: directory.join("client-mtls.properties"),
    };
    let Files { ca, server_cert, server_key, client_cert, client_key, client_both, java, java_mtls } = &files;
    let all = [ca, server_cert, server_key, client_cert, client_key, client_both, java, java_mtls];
    if let Some(there) = all.into_iter().find(|file| !overwrite && file.symlink_metadata().is_ok()) {
        return Err(Error::Exists(there.clone()));
    }
    let made = make(options)?;
    fs::create_dir_all(&directory).map_err(|error| Error::Write(directory.clone(), error))?;
    let put = |file: &Path, text: &str, mode| {
        put(file, text, mode, overwrite).map_err(|error| Error::Write(file.to_path_buf(), error))
    };
    put(ca, &made.ca, 0o644)?;
    put(server_cert, &made.server_cert, 0o644)?;
    put(server_key, &made.server_key, 0o600)?;
    put(client_cert, &made.client_cert, 0o644)?;
    put(client_key, &made.client_key, 0o600)?;
    put(client_both, &Zeroizing::new(made.client_key.to_string() + &made.client_cert), 0o600)?;
    let trusting = files.trusting();
    put(java, &trusting, 0o644)?;
    put(java_mtls, &(trusting + &files.showing()), 0o644)?;
    Ok(files)
}

impl Files {
    fn trusting(&self) -> String {
        let ca = self.ca.display();
        format!("security.protocol=SSL\nssl.truststore.type=PEM\nssl.truststore.location={ca}\n")
    }

    fn showing(&self) -> String {
        format!("ssl.keystore.type=PEM\nssl.keystore.location={}\n", self.client_both.display())
    }
}

/// A file that is removed first keeps neither an old mode nor a link to elsewhere.
fn put(file: &Path, text: &str, mode: u32, overwrite: bool) -> io::Result<()> {
    if overwrite && file.symlink_metadata().is_ok() {
        fs::remove_file(file)?;
    }
    OpenOptions::new().write(true).create_new(true).mode(mode).open(file)?.write_all(text.as_bytes())
}

/// The longest common name (RFC 5280, ub-common-name).
const COMMON_NAME_BYTES_MAX: usize = 64;

fn is_name(name: &str) -> bool {
    Host::parse(name.strip_prefix("*.").unwrap_or(name).as_bytes()).is_ok()
}

fn params(names: Vec<String>, common_name: &str, valid: Duration) -> Result<CertificateParams, Error> {
    let mut params = CertificateParams::new(names).map_err(Error::Make)?;
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, common_name);
    let now = SystemTime::now();
    params.not_before = (now - Duration::from_secs(60)).into();
    params.not_after = (now + valid).into();
    params.use_authority_key_identifier_extension = true;
    Ok(params)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};
    use std::sync::Arc;

    use super::*;
    use crate::tls::client::{self, Connector, Roots};
    use crate::tls::identity::Source;
    use crate::tls::rules::Rules;
    use crate::tls::server::{self, Terminator};
    use crate::tls::testing::{Folder, shake};
    use crate::tls::{Version, trust};

    fn options(names: &[&str]) -> Options {
        let names = names.iter().map(|name| (*name).to_owned()).collect();
        Options { names, client: "alice".to_owned(), valid: VALID }
    }

    /// The files are what the settings of a listener and of its clients take.
    #[test]
    fn what_is_written_works_at_both_ends() {
        let folder = Folder::new();
        let names = ["kafka.example.com", "*.kafka.example.com", "127.0.0.1", "::1"];
        let files = write(&folder.path("pki"), &options(&names), false).unwrap();
        let trust = trust::Options { ca: vec![files.ca.clone()], crl: Vec::new() };
        let server = server::Options {
            certificates: vec![Source::Pem {
                cert: files.server_cert,
                key: files.server_key,
                password: None,
            }],
            min_version: Version::Tls12,
            clients: Some(server::Clients {
                required: true,
                trust,
                rules: Rules::default(),
                resumption: false,
            }),
            by_name_only: false,
        };
        let terminator = Terminator::load(server).unwrap();
        assert_eq!(terminator.status().warnings, Vec::<String>::new());
        assert_eq!(terminator.status().certificates[0].names, names);
        let both = files.client_both;
        for (cert, key) in [(files.client_cert, files.client_key), (both.clone(), both)] {
            let identity = Some(Source::Pem { cert, key, password: None });
            let roots = Roots::Files(vec![files.ca.clone()]);
            let connector =
                Connector::load(client::Options { roots, identity, ..client::Options::default() }).unwrap();
            assert_eq!(connector.status().warnings, Vec::<String>::new());
            for name in ["kafka.example.com", "b0.kafka.example.com", "127.0.0.1", "::1"] {
                let shaken = shake(&connector.config(), name, &terminator.config()).unwrap();
                let chain = shaken.server.peer_certificates().unwrap();
                assert_eq!(terminator.principal(chain).unwrap().unwrap(), "CN=alice");
            }
        }
        let days = Arc::new(terminator.status().certificates[0].clone());
        assert_eq!(days.not_after.duration_since(days.not_before).unwrap(), VALID + Duration::from_secs(60));
    }

    #[test]
    fn keys_are_for_their_owner_and_nothing_is_written_over_unasked() {
        let folder = Folder::new();
        let files = write(&folder.path(""), &options(&["a.example.com"]), false).unwrap();
        let mode = |file: &Path| fs::metadata(file).unwrap().permissions().mode() & 0o777;
        assert_eq!(
            [&files.server_key, &files.client_key, &files.client_both].map(|file| mode(file)),
            [0o600; 3]
        );
        let before = fs::read(&files.ca).unwrap();
        fs::remove_file(&files.server_key).unwrap();
        let again = write(&folder.path(""), &options(&["a.example.com"]), false).unwrap_err();
        assert!(again.to_string().contains("is there already and is left as it is"), "{again}");
        assert!(fs::read(&files.ca).unwrap() == before && !files.server_key.exists());

        // A link is replaced, not followed.
        let elsewhere = folder.put("elsewhere", "mine");
        symlink(&elsewhere, &files.server_key).unwrap();
        write(&folder.path(""), &options(&["a.example.com"]), true).unwrap();
        assert_eq!(fs::read(&elsewhere).unwrap(), b"mine");
        assert!(!files.server_key.is_symlink() && mode(&files.server_key) == 0o600);
    }

    #[test]
    fn what_is_no_name_is_refused() {
        for name in ["", "a b", "*.*.example.com", "a.*.example.com", "a..example.com"] {
            assert!(matches!(make(&options(&[name])), Err(Error::Name(_))), "{name:?}");
        }
    }
}
