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
    /// The settings of a Java client that uses all of it: `client.properties`.
    pub java: PathBuf,
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
    };
    let Files { ca, server_cert, server_key, client_cert, client_key, client_both, java } = &files;
    let all = [ca, server_cert, server_key, client_cert, client_key, client_both, java];
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
    put(java, &files.java_settings(), 0o644)?;
    Ok(files)
}

impl Files {
    fn java_settings(&self) -> String {
        format!(
            "security.protocol=SSL\n\
             ssl.truststore.type=PEM\n\
             ssl.truststore.location={}\n\
             # For a listener that asks clients for certificates.\n\
             ssl.keystore.type=PEM\n\
             ssl.keystore.location={}\n",
            self.ca.display(),
            self.client_both.display(),
        )
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
