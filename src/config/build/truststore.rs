//! The truststore of a listener that asks clients for certificates, within API Gateway's limits (page "Mutual TLS").

use std::{fs, path::Path, path::PathBuf, sync::Arc};

use rustls::{
    RootCertStore,
    pki_types::{CertificateDer, CertificateRevocationListDer, pem::PemObject},
    server::{WebPkiClientVerifier, danger::ClientCertVerifier},
};

use super::tls::Fault;
use crate::types::crypto::provider;

const MOST_CERTIFICATES: usize = 1000;
const MOST_BYTES: u64 = 1024 * 1024;

/// The end of a list's validity, in seconds since the Unix epoch: the earliest of those in a file. `None` if none says one.
pub(super) fn next_update(path: &Path) -> Option<i64> {
    let lists = CertificateRevocationListDer::pem_file_iter(path).ok()?;
    let updates = lists.flatten().filter_map(|list| {
        let (_, parsed) = x509_parser::parse_x509_crl(&list).ok()?;
        Some(parsed.next_update()?.timestamp())
    });
    updates.min()
}

/// Verifies clients' certificates by those of `truststore`, and refuses what `lists` revoke.
pub(super) fn verifier(
    truststore: &Path,
    lists: &[PathBuf],
) -> Result<Arc<dyn ClientCertVerifier>, Fault> {
    let roots = roots(truststore)?;
    let mut builder = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider());
    if !lists.is_empty() {
        let mut revoked = Vec::new();
        for path in lists {
            let read =
                CertificateRevocationListDer::pem_file_iter(path).and_then(Iterator::collect);
            let read: Vec<_> = read.map_err(|error| {
                let message = format!("can't read `{}`: {error}", path.display());
                fault(
                    "certificateRevocationLists",
                    message,
                    "expected PEM with `-----BEGIN X509 CRL-----`",
                )
            })?;
            revoked.extend(read);
        }
        builder = builder.with_crls(revoked).allow_unknown_revocation_status();
    }
    builder
        .build()
        .map(|verifier| verifier as Arc<dyn ClientCertVerifier>)
        .map_err(|error| {
            let message = format!(
                "`{}` can't be used as a truststore: {error}",
                truststore.display()
            );
            fault(
                "truststore",
                message,
                "expected the certificates of those who issue the clients'",
            )
        })
}

fn roots(path: &Path) -> Result<RootCertStore, Fault> {
    const HINT: &str = "expected certificates in PEM form, with `-----BEGIN CERTIFICATE-----`";
    let name = path.display();
    let size = fs::metadata(path).map_err(|error| {
        fault(
            "truststore",
            format!("can't read `{name}`: {error}"),
            "paths in a configuration are relative to the configuration file",
        )
    })?;
    if size.len() > MOST_BYTES {
        let message = format!("the truststore `{name}` has {} bytes", size.len());
        return Err(fault(
            "truststore",
            message,
            "a truststore has at most 1 MB, as on AWS",
        ));
    }
    let read = CertificateDer::pem_file_iter(path).and_then(Iterator::collect);
    let certificates: Vec<CertificateDer<'_>> = read.map_err(|error| {
        fault(
            "truststore",
            format!("`{name}` isn't valid PEM: {error}"),
            HINT,
        )
    })?;
    if certificates.is_empty() {
        return Err(fault(
            "truststore",
            format!("`{name}` has no certificate"),
            HINT,
        ));
    }
    if certificates.len() > MOST_CERTIFICATES {
        let message = format!(
            "the truststore `{name}` has {} certificates",
            certificates.len()
        );
        return Err(fault(
            "truststore",
            message,
            "a truststore has at most 1,000 certificates, as on AWS",
        ));
    }
    let mut roots = RootCertStore::empty();
    for (at, certificate) in certificates.into_iter().enumerate() {
        roots.add(certificate).map_err(|error| {
            let message = format!("certificate {} of `{name}` can't be used: {error}", at + 1);
            fault("truststore", message, HINT)
        })?;
    }
    Ok(roots)
}

fn fault(key: &'static str, message: String, hint: &'static str) -> Fault {
    Fault { key, message, hint }
}
