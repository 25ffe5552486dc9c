//! The truststore of a listener that asks clients for certificates, within API Gateway's limits (page "Mutual TLS"), and the
//! lists of certificates that their issuers have revoked.
//!
//! A list that isn't understood must not pass for one that revokes nothing.

use std::{
    collections::hash_map::DefaultHasher,
    hash::{Hash as _, Hasher as _},
    path::{Path, PathBuf},
    sync::Arc,
};

use rustls::{
    RootCertStore,
    pki_types::{CertificateDer, CertificateRevocationListDer, pem, pem::PemObject},
    server::{VerifierBuilderError, WebPkiClientVerifier, danger::ClientCertVerifier},
};

use super::tls::{Fault, told};
use crate::{
    config::files::{self, Unread},
    types::crypto::provider,
};

const MOST_CERTIFICATES: usize = 1000;
const MOST_BYTES: u64 = 1024 * 1024;

/// A truststore and its lists, read.
pub(super) struct Truststore {
    /// Verifies clients' certificates by them.
    pub(super) verifier: Arc<dyn ClientCertVerifier>,
    /// Stands for the contents of the files.
    pub(super) contents: u64,
    /// Of each file of lists the end of its validity, in seconds since the Unix epoch: the earliest of its lists. `None` if
    /// none says one.
    pub(super) next_updates: Vec<Option<i64>>,
}

type List = CertificateRevocationListDer<'static>;

/// Verifies clients' certificates by those of `truststore`, and refuses what `lists` revoke.
pub(super) fn read(truststore: &Path, lists: &[PathBuf]) -> Result<Truststore, Vec<Fault>> {
    let mut hasher = DefaultHasher::new();
    let mut faults = Vec::new();
    let roots = roots(truststore, &mut hasher)
        .map_err(|fault| faults.push(fault))
        .ok();
    let (mut revoked, mut next_updates) = (Vec::new(), Vec::new());
    for (number, path) in lists.iter().enumerate() {
        let read = revocations(path, &mut hasher).and_then(|(own, next_update)| {
            if let Some(roots) = &roots {
                // With those of this file alone, so that it can be named.
                let checked = verifier(roots, own.clone());
                checked.map_err(|error| unusable_list(path, &error.to_string()))?;
            }
            Ok((own, next_update))
        });
        match read {
            Ok((own, next_update)) => {
                revoked.extend(own);
                next_updates.push(next_update);
            }
            Err((message, hint)) => {
                let key = format!("certificateRevocationLists/{number}");
                faults.push(Fault::new(key, message, hint));
            }
        }
    }
    let Some(roots) = roots.filter(|_| faults.is_empty()) else {
        return Err(faults);
    };
    match verifier(&roots, revoked) {
        Ok(verifier) => Ok(Truststore {
            verifier,
            contents: hasher.finish(),
            next_updates,
        }),
        Err(error) => {
            let name = truststore.display();
            let message = format!("`{name}` can't be used as a truststore: {error}");
            let hint = "expected the certificates of those who issue the clients'";
            Err(vec![Fault::new("truststore", message, hint)])
        }
    }
}

fn verifier(
    roots: &Arc<RootCertStore>,
    lists: Vec<List>,
) -> Result<Arc<dyn ClientCertVerifier>, VerifierBuilderError> {
    let mut builder = WebPkiClientVerifier::builder_with_provider(roots.clone(), provider());
    if !lists.is_empty() {
        builder = builder.with_crls(lists).allow_unknown_revocation_status();
    }
    builder
        .build()
        .map(|verifier| verifier as Arc<dyn ClientCertVerifier>)
}

/// What is wrong with a file of lists, and what to do about it.
type Complaint = (String, &'static str);

const LIST_HINT: &str = "expected PEM with `-----BEGIN X509 CRL-----`";

/// The lists of a file, of which there is at least one, and the end of their validity.
fn revocations(
    path: &Path,
    hasher: &mut DefaultHasher,
) -> Result<(Vec<List>, Option<i64>), Complaint> {
    let name = path.display();
    let bytes = files::read(path, files::MOST_BYTES).map_err(|error| {
        let hint = "paths in a configuration are relative to the configuration file";
        (format!("can't read `{name}`: {error}"), hint)
    })?;
    bytes.hash(hasher);
    let lists: Result<Vec<List>, pem::Error> = List::pem_slice_iter(&bytes).collect();
    let lists = lists.map_err(|error| {
        (
            format!("`{name}` isn't valid PEM: {}", told(&error)),
            LIST_HINT,
        )
    })?;
    if lists.is_empty() {
        // A SEQUENCE (X.690), which no text begins with.
        let is_der = matches!(*bytes, [0x30, length, ..] if length > 0x80);
        let hint = if is_der {
            "it is DER: `openssl crl -inform DER -in list.crl -out list.pem` makes PEM of it"
        } else {
            LIST_HINT
        };
        return Err((format!("`{name}` has no revocation list"), hint));
    }
    let mut next_update = None;
    for list in &lists {
        let (rest, parsed) = x509_parser::parse_x509_crl(list)
            .map_err(|error| unusable_list(path, &error.to_string()))?;
        if !rest.is_empty() {
            return Err(unusable_list(path, "there are bytes behind its end"));
        }
        let own = parsed.next_update().map(|time| time.timestamp());
        next_update = next_update.into_iter().chain(own).min();
    }
    Ok((lists, next_update))
}

fn unusable_list(path: &Path, error: &str) -> Complaint {
    let message = format!(
        "a revocation list of `{}` can't be used: {error}",
        path.display()
    );
    (message, "get it again from the authority")
}

fn roots(path: &Path, hasher: &mut DefaultHasher) -> Result<Arc<RootCertStore>, Fault> {
    const HINT: &str = "expected certificates in PEM form, with `-----BEGIN CERTIFICATE-----`";
    let name = path.display();
    let fault = |message, hint| Fault::new("truststore", message, hint);
    let bytes = files::read(path, MOST_BYTES).map_err(|error| {
        let hint = match error {
            Unread::TooLarge(_) => "a truststore has at most 1 MB, as on AWS",
            _ => "paths in a configuration are relative to the configuration file",
        };
        fault(format!("can't read `{name}`: {error}"), hint)
    })?;
    bytes.hash(hasher);
    let read: Result<Vec<_>, pem::Error> = CertificateDer::pem_slice_iter(&bytes).collect();
    let certificates =
        read.map_err(|error| fault(format!("`{name}` isn't valid PEM: {}", told(&error)), HINT))?;
    if certificates.is_empty() {
        return Err(fault(format!("`{name}` has no certificate"), HINT));
    }
    if certificates.len() > MOST_CERTIFICATES {
        let count = certificates.len();
        let message = format!("the truststore `{name}` has {count} certificates");
        let hint = "a truststore has at most 1,000 certificates, as on AWS";
        return Err(fault(message, hint));
    }
    let mut roots = RootCertStore::empty();
    for (at, certificate) in certificates.into_iter().enumerate() {
        roots.add(certificate).map_err(|error| {
            let number = at + 1;
            let message = format!("certificate {number} of `{name}` can't be used: {error}");
            fault(message, HINT)
        })?;
    }
    Ok(Arc::new(roots))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn fault_of(truststore: &Path) -> String {
        let faults = read(truststore, &[]).err().unwrap_or_default();
        faults.into_iter().map(|it| it.message).collect()
    }

    #[test]
    fn a_truststore_has_a_thousand_certificates_and_a_megabyte_at_most() {
        let made = rcgen::generate_simple_self_signed(["a".to_owned()]).unwrap();
        let name = format!("sluicegate-truststore-{}.pem", std::process::id());
        let path = std::env::temp_dir().join(name);
        fs::write(&path, made.cert.pem().repeat(MOST_CERTIFICATES)).unwrap();
        assert_eq!(fault_of(&path), "");
        fs::write(&path, made.cert.pem().repeat(MOST_CERTIFICATES + 1)).unwrap();
        let fault = fault_of(&path);
        assert!(fault.ends_with("has 1001 certificates"), "{fault}");
        let padding = "#".repeat(MOST_BYTES as usize - made.cert.pem().len());
        fs::write(&path, made.cert.pem() + &padding).unwrap();
        assert_eq!(fault_of(&path), "");
        fs::write(&path, made.cert.pem() + &padding + "#").unwrap();
        let fault = fault_of(&path);
        assert!(fault.ends_with("more than 1048576 bytes"), "{fault}");
        fs::remove_file(path).unwrap();
    }
}
