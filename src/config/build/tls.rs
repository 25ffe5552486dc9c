//! A listener's certificates and keys, read and checked against each other.

use std::{borrow::Cow, path::Path, sync::Arc};

use rustls::{
    pki_types::{
        CertificateDer, PrivateKeyDer,
        pem::{self, PemObject},
    },
    sign::CertifiedKey,
};
use x509_parser::{
    extensions::GeneralName,
    prelude::{X509Certificate, X509Version},
};

use crate::{
    config::{
        files,
        model::{Certificate, CertificateFiles},
    },
    types::crypto::provider,
};

/// Bytes of a file with a chain or a key.
const MOST_BYTES: u64 = 1024 * 1024;

/// A pair that can't be used.
pub(super) struct Fault {
    /// The key of the settings whose file is at fault.
    pub(super) key: Cow<'static, str>,
    pub(super) message: String,
    pub(super) hint: &'static str,
}

impl Fault {
    pub(super) fn new(
        key: impl Into<Cow<'static, str>>,
        message: String,
        hint: &'static str,
    ) -> Fault {
        Fault {
            key: key.into(),
            message,
            hint,
        }
    }
}

/// Reads a chain and its private key from their PEM files.
pub(super) fn load(certificate: &Path, private_key: &Path) -> Result<Certificate, Vec<Fault>> {
    let private = bytes("privateKey", private_key).and_then(|bytes| {
        PrivateKeyDer::from_pem_slice(&bytes)
            .map_err(|error| unusable("privateKey", private_key, &error))
    });
    let (chain, private) = match (chain(certificate), private) {
        (Ok(chain), Ok(private)) => (chain, private),
        (chain, private) => return Err(chain.err().into_iter().chain(private.err()).collect()),
    };
    let of_chain = |message, hint| vec![Fault::new("certificate", message, hint)];
    let parsed = chain
        .first()
        .and_then(|own| x509_parser::parse_x509_certificate(own).ok());
    let Some((_, parsed)) = parsed else {
        let message = format!("`{}` isn't a valid certificate", certificate.display());
        let hint = "expected an X.509 certificate in PEM form, the server's own first";
        return Err(of_chain(message, hint));
    };
    if parsed.version() != X509Version::V3 {
        let message = format!(
            "`{}` is an X.509 certificate of version {}",
            certificate.display(),
            parsed.version().0 + 1
        );
        let hint = "make one of version 3, which has extensions such as subjectAltName: `openssl x509 -req` does with -extfile";
        return Err(of_chain(message, hint));
    }
    let names = dns_names(&parsed);
    let valid = parsed.validity().not_before.timestamp()..=parsed.validity().not_after.timestamp();
    let key = CertifiedKey::from_der(chain, private, &provider()).map_err(|error| {
        let (key, chain) = (private_key.display(), certificate.display());
        let message = format!("the key `{key}` can't be used with `{chain}`: {error}");
        let hint = "give the private key that the certificate was made for";
        vec![Fault::new("privateKey", message, hint)]
    })?;
    Ok(Certificate {
        names,
        valid,
        key: Arc::new(key),
        files: CertificateFiles {
            certificate: certificate.to_path_buf(),
            private_key: private_key.to_path_buf(),
        },
    })
}

fn chain(path: &Path) -> Result<Vec<CertificateDer<'static>>, Fault> {
    let bytes = bytes("certificate", path)?;
    let read: Result<Vec<_>, pem::Error> = CertificateDer::pem_slice_iter(&bytes).collect();
    let chain = read.map_err(|error| unusable("certificate", path, &error))?;
    if chain.is_empty() {
        return Err(unusable("certificate", path, &pem::Error::NoItemsFound));
    }
    Ok(chain)
}

fn bytes(key: &'static str, path: &Path) -> Result<Vec<u8>, Fault> {
    files::read(path, MOST_BYTES).map_err(|error| {
        let message = format!("can't read `{}`: {error}", path.display());
        let hint = "paths in a configuration are relative to the configuration file";
        Fault::new(key, message, hint)
    })
}

fn unusable(key: &'static str, path: &Path, error: &pem::Error) -> Fault {
    let path = path.display();
    let (message, hint) = match error {
        pem::Error::NoItemsFound if key == "certificate" => (
            format!("`{path}` has no certificate"),
            "expected PEM with `-----BEGIN CERTIFICATE-----`",
        ),
        pem::Error::NoItemsFound => (
            format!("`{path}` has no private key that can be read"),
            "expected an unencrypted key in PEM form (PKCS#8, PKCS#1 or SEC1)",
        ),
        error => (
            format!("`{path}` isn't valid PEM: {}", told(error)),
            "export it again in PEM form",
        ),
    };
    Fault::new(key, message, hint)
}

/// What is wrong with a text that should be PEM.
pub(super) fn told(error: &pem::Error) -> String {
    match error {
        pem::Error::MissingSectionEnd { end_marker } => {
            let label = String::from_utf8_lossy(end_marker);
            format!("`-----END {label}-----` is missing")
        }
        pem::Error::IllegalSectionStart { .. } => "a section's first line isn't whole".to_owned(),
        pem::Error::Base64Decode(_) => "a section isn't base64".to_owned(),
        error => error.to_string(),
    }
}

/// The DNS names a certificate is for, in lower case.
fn dns_names(certificate: &X509Certificate<'_>) -> Vec<Box<str>> {
    let extension = certificate.subject_alternative_name().ok().flatten();
    let names = extension
        .iter()
        .flat_map(|extension| &extension.value.general_names);
    let dns = names.filter_map(|name| match name {
        GeneralName::DNSName(name) => Some(name.to_ascii_lowercase().into()),
        _ => None,
    });
    dns.collect()
}
