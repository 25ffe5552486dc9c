//! What is told of listeners. Of certificates and keys only the files' names.

use serde_json::{Value, json};

use crate::{
    config::model::{Certificate, CertificateFiles, Listener, MutualTls, Tls},
    types::peer::Serves,
};

pub(super) fn listener(listener: &Listener) -> Value {
    json!({
        "address": listener.address.to_string(),
        "tls": listener.tls.as_ref().map(tls),
        "h2c": listener.h2c,
        "proxyProtocol": listener.proxy_protocol,
        "serves": match listener.serves {
            Serves::Apis => "apis",
            Serves::Both => "apis and functions",
            Serves::Functions => "functions",
        },
    })
}

fn tls(tls: &Tls) -> Value {
    json!({
        "certificates": tls.certificates.iter().map(certificate).collect::<Vec<_>>(),
        "unknownServerName": if tls.refuse_unknown_names { "refuse" } else { "serveDefault" },
        "securityPolicy": if tls.only_tls13 { "TLS_1_3" } else { "TLS_1_2" },
        "mutualTlsAuthentication": tls.mutual.as_ref().map(mutual),
    })
}

fn certificate(certificate: &Certificate) -> Value {
    let mut told = files(&certificate.files);
    if let Value::Object(members) = &mut told {
        members.insert("names".to_owned(), json!(certificate.names));
    }
    told
}

/// The files of a certificate.
pub(super) fn files(files: &CertificateFiles) -> Value {
    json!({
        "certificate": files.certificate.display().to_string(),
        "privateKey": files.private_key.display().to_string(),
    })
}

fn mutual(mutual: &MutualTls) -> Value {
    let lists = mutual.revocation_lists.iter();
    json!({
        "truststore": mutual.truststore.display().to_string(),
        "certificateRevocationLists": lists.map(|it| it.display().to_string()).collect::<Vec<_>>(),
    })
}
