//! Why a TLS handshake failed, as a closed list for logs and metrics.

use rustls::{AlertDescription, CertificateError, Error, PeerIncompatible};

/// Every reason there is.
pub const ALL: [&str; 18] = [
    "no_certificate",
    "certificate_refused",
    "unknown_ca",
    "expired",
    "not_yet_valid",
    "revoked",
    "crl_expired",
    "crl_missing",
    "wrong_name",
    "bad_certificate",
    "bad_signature",
    "no_common_version",
    "no_common_cipher",
    "unknown_name",
    "not_tls",
    "timeout",
    "closed",
    "protocol",
];

/// The reason behind a fault that rustls found or that the peer reported in an alert.
pub fn of(error: &Error) -> &'static str {
    match error {
        Error::NoCertificatesPresented => "no_certificate",
        Error::InvalidCertificate(error) => of_certificate(error),
        Error::PeerIncompatible(error) => of_incompatible(error),
        Error::AlertReceived(alert) => of_alert(*alert),
        _ => "protocol",
    }
}

/// The reason behind a socket that failed.
pub fn of_io(error: &std::io::Error) -> &'static str {
    match error.kind() {
        std::io::ErrorKind::TimedOut => "timeout",
        _ => "closed",
    }
}

fn of_certificate(error: &CertificateError) -> &'static str {
    match error {
        CertificateError::UnknownIssuer => "unknown_ca",
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => "expired",
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => "not_yet_valid",
        CertificateError::Revoked => "revoked",
        CertificateError::BadSignature => "bad_signature",
        CertificateError::ExpiredRevocationList | CertificateError::ExpiredRevocationListContext { .. } => {
            "crl_expired"
        }
        CertificateError::UnknownRevocationStatus => "crl_missing",
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => "wrong_name",
        _ => "bad_certificate",
    }
}

fn of_incompatible(error: &PeerIncompatible) -> &'static str {
    match error {
        PeerIncompatible::ServerDoesNotSupportTls12Or13
        | PeerIncompatible::ServerTlsVersionIsDisabledByOurConfig
        | PeerIncompatible::SupportedVersionsExtensionRequired
        // It came with TLS 1.2.
        | PeerIncompatible::SignatureAlgorithmsExtensionRequired
        | PeerIncompatible::Tls12NotOffered
        | PeerIncompatible::Tls12NotOfferedOrEnabled
        | PeerIncompatible::Tls13RequiredForQuic => "no_common_version",
        PeerIncompatible::NoCipherSuitesInCommon
        | PeerIncompatible::NoKxGroupsInCommon
        | PeerIncompatible::NoSignatureSchemesInCommon
        | PeerIncompatible::NoCertificateRequestSignatureSchemesInCommon
        | PeerIncompatible::NoEcPointFormatsInCommon => "no_common_cipher",
        _ => "protocol",
    }
}

fn of_alert(alert: AlertDescription) -> &'static str {
    match alert {
        AlertDescription::CertificateRequired | AlertDescription::NoCertificate => "no_certificate",
        // The peer speaks of our certificate; the text of the error says what it dislikes.
        AlertDescription::UnknownCA
        | AlertDescription::CertificateExpired
        | AlertDescription::CertificateRevoked
        | AlertDescription::BadCertificate
        | AlertDescription::CertificateUnknown
        | AlertDescription::UnsupportedCertificate
        | AlertDescription::AccessDenied => "certificate_refused",
        AlertDescription::DecryptError => "bad_signature",
        AlertDescription::ProtocolVersion => "no_common_version",
        AlertDescription::HandshakeFailure | AlertDescription::InsufficientSecurity => "no_common_cipher",
        AlertDescription::UnrecognisedName => "unknown_name",
        AlertDescription::CloseNotify | AlertDescription::UserCanceled => "closed",
        _ => "protocol",
    }
}
