//! The certificates of one run: three authorities that trust nothing of each other, and what each side presents.

use std::{
    fs,
    io::Write as _,
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::{Duration, SystemTime},
};

use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, DistinguishedName, DnType,
    ExtendedKeyUsagePurpose, IsCa, Issuer, KeyIdMethod, KeyPair, KeyUsagePurpose, RevokedCertParams,
    SerialNumber, date_time_ymd,
};

use crate::{
    Result,
    lab::{BOOTSTRAP_NAME, BROKER_NAMES, DOOR, DOOR_NAME},
};

/// The password of every PKCS#12 store.
pub(crate) const PASSWORD: &str = "changeit";

/// The authorities of one run and the files that all its scenarios use, under one directory.
pub(crate) struct Certificates {
    directory: PathBuf,
    /// Signs what brokers present.
    pub(crate) brokers: Authority,
    /// Signs what the gateway presents to clients.
    pub(crate) doors: Authority,
    /// Signs what clients, and the gateway as a client, present.
    pub(crate) clients: Authority,
}

impl Certificates {
    /// Makes the authorities, the brokers' stores, the gateway's pair (`door`) and one client (`alice`) in `directory`.
    pub(crate) fn new(directory: PathBuf) -> Result<Self> {
        fs::create_dir_all(&directory)?;
        let [brokers, doors, clients] = ["Brokers", "Doors", "Clients"].map(Authority::new);
        let all = Self { directory, brokers: brokers?, doors: doors?, clients: clients? };
        for (authority, name) in [(&all.brokers, "brokers"), (&all.doors, "doors"), (&all.clients, "clients")]
        {
            fs::write(all.path(&format!("{name}-ca.pem")), authority.pem())?;
        }
        let broker = all.brokers.server(&["10.77.0.1", "10.77.0.2", "10.77.0.3"])?;
        store(&broker.write(&all.directory, "broker")?)?;
        trust_store(&all.path("clients-ca.pem"), &all.path("clients-ca.p12"))?;
        all.doors.server(&door_names())?.write(&all.directory, "door")?;
        all.client("alice")?;
        Ok(all)
    }

    /// The path of a file of that name.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }

    /// Issues a client certificate with the subject `CN=name,OU=Clients,O=Gatehouse` and writes its files.
    pub(crate) fn client(&self, name: &str) -> Result<Files> {
        self.clients.client(&subject(name), Life::Now)?.write(&self.directory, name)
    }

    /// The files of a pair that was written under that name.
    pub(crate) fn files(&self, name: &str) -> Files {
        Files::new(&self.directory, name)
    }
}

/// The names by which clients reach the gateway: by port, at the bootstrap, at each broker.
pub(crate) fn door_names() -> Vec<&'static str> {
    vec![DOOR_NAME, DOOR, BOOTSTRAP_NAME, BROKER_NAMES]
}

/// The subject of a usual client, in the order of the certificate.
pub(crate) fn subject(name: &str) -> [(DnType, &str); 3] {
    [
        (DnType::OrganizationName, "Gatehouse"),
        (DnType::OrganizationalUnitName, "Clients"),
        (DnType::CommonName, name),
    ]
}

/// The name of a usual client as a broker says it.
pub(crate) fn principal(name: &str) -> String {
    format!("CN={name},OU=Clients,O=Gatehouse")
}

/// How long a certificate is valid.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Life {
    /// From years ago for years.
    Now,
    /// It ended years ago.
    Over,
}

/// One authority.
pub(crate) struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
}

impl Authority {
    /// An authority with the subject `CN=name`.
    pub(crate) fn new(name: &str) -> Result<Self> {
        let mut params = CertificateParams::default();
        params.distinguished_name = distinguished(&[(DnType::CommonName, name)]);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        Self::of(params, KeyPair::generate()?)
    }

    /// One of that shape and key.
    pub(crate) fn of(params: CertificateParams, key: KeyPair) -> Result<Self> {
        let pem = params.self_signed(&key)?.pem();
        Ok(Self { issuer: Issuer::new(params, key), pem })
    }

    /// Its certificate.
    pub(crate) fn pem(&self) -> &str {
        &self.pem
    }

    /// Its private key.
    pub(crate) fn key_pem(&self) -> String {
        self.issuer.key().serialize_pem()
    }

    /// A server's pair for host names and addresses.
    pub(crate) fn server(&self, names: &[&str]) -> Result<Pair> {
        self.server_for(names, Life::Now)
    }

    /// The same with a life of its own.
    pub(crate) fn server_for(&self, names: &[&str], life: Life) -> Result<Pair> {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let mut params = CertificateParams::new(names)?;
        params.distinguished_name = distinguished(&[(DnType::CommonName, "server")]);
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        self.issue(params, life)
    }

    /// A client's pair with that subject, in the order of the certificate.
    pub(crate) fn client(&self, subject: &[(DnType, &str)], life: Life) -> Result<Pair> {
        let mut params = CertificateParams::default();
        params.distinguished_name = distinguished(subject);
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        self.issue(params, life)
    }

    fn issue(&self, mut params: CertificateParams, life: Life) -> Result<Pair> {
        let (from, to) = match life {
            Life::Now => (2020, 2040),
            Life::Over => (2020, 2021),
        };
        params.not_before = date_time_ymd(from, 1, 1);
        params.not_after = date_time_ymd(to, 1, 1);
        params.use_authority_key_identifier_extension = true;
        self.sign(params, &KeyPair::generate()?)
    }

    /// A pair of that shape and key.
    pub(crate) fn sign(&self, mut params: CertificateParams, key: &KeyPair) -> Result<Pair> {
        // A serial of our own: the list of revoked certificates needs it.
        let serial = SerialNumber::from(key.public_key_raw()[1..17].to_vec());
        params.serial_number = Some(serial.clone());
        let certificate = params.signed_by(key, &self.issuer)?.pem();
        Ok(Pair { certificate, key: key.serialize_pem(), serial })
    }

    /// A list of revoked certificates that is due again in an hour.
    pub(crate) fn revocations(&self, revoked: &[&Pair]) -> Result<String> {
        let now = SystemTime::now();
        let revoked = revoked.iter().map(|pair| RevokedCertParams {
            serial_number: pair.serial.clone(),
            revocation_time: now.into(),
            reason_code: None,
            invalidity_date: None,
        });
        let list = CertificateRevocationListParams {
            this_update: (now - Duration::from_secs(3600)).into(),
            next_update: (now + Duration::from_secs(3600)).into(),
            crl_number: SerialNumber::from(1),
            issuing_distribution_point: None,
            revoked_certs: revoked.collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        Ok(list.signed_by(&self.issuer)?.pem()?)
    }
}

/// A certificate and its key, in PEM.
pub(crate) struct Pair {
    /// The certificate.
    pub(crate) certificate: String,
    /// The key, PKCS#8.
    pub(crate) key: String,
    serial: SerialNumber,
}

impl Pair {
    /// Writes `NAME.crt`, `NAME.key` and both as `NAME.pem` into `directory`.
    pub(crate) fn write(&self, directory: &Path, name: &str) -> Result<Files> {
        let files = Files::new(directory, name);
        fs::write(&files.certificate, &self.certificate)?;
        private(&files.key, &self.key)?;
        private(&files.both, &format!("{}{}", self.key, self.certificate))?;
        Ok(files)
    }
}

/// Where a written pair lies.
pub(crate) struct Files {
    /// The certificate in PEM.
    pub(crate) certificate: PathBuf,
    /// The key in PEM.
    pub(crate) key: PathBuf,
    /// Key and certificate in PEM, as Java reads them.
    pub(crate) both: PathBuf,
    /// The same in PKCS#12 once [`store`] made it.
    pub(crate) store: PathBuf,
}

impl Files {
    /// The files of that name in `directory`.
    pub(crate) fn new(directory: &Path, name: &str) -> Self {
        let file = |kind: &str| directory.join(format!("{name}.{kind}"));
        Self { certificate: file("crt"), key: file("key"), both: file("pem"), store: file("p12") }
    }
}

/// Writes a file that its owner alone may read.
fn private(file: &Path, text: &str) -> Result<()> {
    let mut open = fs::OpenOptions::new();
    let mut file = open.write(true).create(true).truncate(true).mode(0o600).open(file)?;
    Ok(file.write_all(text.as_bytes())?)
}

/// Makes the PKCS#12 store of a pair.
pub(crate) fn store(files: &Files) -> Result<()> {
    let mut openssl = Command::new("openssl");
    openssl.args(["pkcs12", "-export", "-name", "pair", "-passout", &format!("pass:{PASSWORD}"), "-inkey"]);
    openssl.arg(&files.key).arg("-in").arg(&files.certificate).arg("-out").arg(&files.store);
    run(&mut openssl)
}

/// Makes a PKCS#12 store that trusts the certificate in `pem`; Java wants a mark there that only its own tool sets.
pub(crate) fn trust_store(pem: &Path, store: &Path) -> Result<()> {
    drop(fs::remove_file(store));
    let mut keytool = Command::new("keytool");
    keytool.args([
        "-J-XX:TieredStopAtLevel=1",
        "-J-XX:+UseSerialGC",
        "-importcert",
        "-noprompt",
        "-alias",
        "ca",
    ]);
    keytool.args(["-storetype", "PKCS12", "-storepass", PASSWORD]);
    run(keytool.arg("-file").arg(pem).arg("-keystore").arg(store))
}

/// Runs a tool to its successful end.
pub(crate) fn run(command: &mut Command) -> Result<()> {
    let output = command.stdin(Stdio::null()).output().map_err(|error| format!("{command:?}: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    let said = [output.stdout, output.stderr].concat();
    Err(format!("{command:?}: {}", String::from_utf8_lossy(&said).trim()).into())
}

/// A distinguished name of those parts, in the order of the certificate.
pub(crate) fn distinguished(subject: &[(DnType, &str)]) -> DistinguishedName {
    let mut name = DistinguishedName::new();
    subject.iter().for_each(|(kind, value)| name.push(kind.clone(), *value));
    name
}
