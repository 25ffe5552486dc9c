//! What a client's certificate says, in API Gateway's words (`$context.identity.clientCert`).

use base64::{Engine as _, engine::general_purpose::STANDARD};
use jiff::{Timestamp, tz::TimeZone};
use x509_parser::{
    objects::{oid_registry, oid2abbrev},
    time::ASN1Time,
    x509::X509Name,
};

/// A client's own certificate, verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientCertificate {
    /// The certificate in PEM form.
    pub pem: Box<str>,
    /// The subject's distinguished name (RFC 4514).
    pub subject: Box<str>,
    /// The issuer's.
    pub issuer: Box<str>,
    /// The serial number in pairs of hexadecimal digits, with colons between.
    pub serial: Box<str>,
    /// The beginning of its validity, such as `May 28 12:30:02 2019 GMT`.
    pub not_before: Box<str>,
    /// The end of its validity.
    pub not_after: Box<str>,
}

impl ClientCertificate {
    /// Reads a certificate from its DER form; `None` if it can't be read.
    pub fn read(der: &[u8]) -> Option<ClientCertificate> {
        let (_, parsed) = x509_parser::parse_x509_certificate(der).ok()?;
        let validity = parsed.validity();
        Some(ClientCertificate {
            pem: pem(der).into(),
            subject: distinguished_name(parsed.subject()).into(),
            issuer: distinguished_name(parsed.issuer()).into(),
            serial: serial(parsed.raw_serial()).into(),
            not_before: date(validity.not_before)?.into(),
            not_after: date(validity.not_after)?.into(),
        })
    }
}

fn pem(der: &[u8]) -> String {
    let text = STANDARD.encode(der);
    let mut pem = String::with_capacity(text.len() + 80);
    pem.push_str("-----BEGIN CERTIFICATE-----\n");
    for line in text.as_bytes().chunks(64) {
        pem.push_str(&String::from_utf8_lossy(line));
        pem.push('\n');
    }
    pem.push_str("-----END CERTIFICATE-----\n");
    pem
}

/// The most specific part comes first (RFC 4514, section 2.1).
fn distinguished_name(name: &X509Name<'_>) -> String {
    let mut parts: Vec<String> = name
        .iter_rdn()
        .map(|set| {
            let pairs = set.iter().map(|attribute| {
                let oid = attribute.attr_type();
                let kind = oid2abbrev(oid, oid_registry())
                    .map_or_else(|_| oid.to_id_string(), ToOwned::to_owned);
                format!("{kind}={}", escaped(attribute.as_str().unwrap_or("?")))
            });
            pairs.collect::<Vec<_>>().join("+")
        })
        .collect();
    parts.reverse();
    parts.join(",")
}

fn escaped(value: &str) -> String {
    let mut text = String::with_capacity(value.len());
    for (at, character) in value.chars().enumerate() {
        let is_special = matches!(character, ',' | '+' | '"' | '\\' | '<' | '>' | ';');
        let is_leading = at == 0 && matches!(character, '#' | ' ');
        if is_special || is_leading {
            text.push('\\');
        }
        text.push(character);
    }
    text
}

fn serial(bytes: &[u8]) -> String {
    let pairs: Vec<String> = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    pairs.join(":")
}

fn date(time: ASN1Time) -> Option<String> {
    let zoned = Timestamp::from_second(time.timestamp())
        .ok()?
        .to_zoned(TimeZone::UTC);
    Some(zoned.strftime("%b %e %H:%M:%S %Y GMT").to_string())
}

#[cfg(test)]
mod tests {
    use rcgen::{
        CertificateParams, DistinguishedName, DnType, KeyPair, SerialNumber, date_time_ymd,
    };

    use super::*;

    #[test]
    fn a_certificate_is_told_in_api_gateways_words() {
        let mut params = CertificateParams::default();
        let mut name = DistinguishedName::new();
        name.push(DnType::CountryName, "US");
        name.push(DnType::OrganizationName, "Acme, Inc.");
        name.push(DnType::CommonName, "client");
        params.distinguished_name = name;
        params.serial_number = Some(SerialNumber::from(vec![0x01, 0xa2, 0xff]));
        params.not_before = date_time_ymd(2019, 5, 8);
        params.not_after = date_time_ymd(2029, 12, 28);
        let key = KeyPair::generate().unwrap();
        let made = params.self_signed(&key).unwrap();
        let read = ClientCertificate::read(made.der()).unwrap();
        assert_eq!(&*read.subject, "CN=client,O=Acme\\, Inc.,C=US");
        assert_eq!(read.issuer, read.subject);
        assert_eq!(&*read.serial, "01:a2:ff");
        assert_eq!(&*read.not_before, "May  8 00:00:00 2019 GMT");
        assert_eq!(&*read.not_after, "Dec 28 00:00:00 2029 GMT");
        assert_eq!(
            read.pem.replace("\r\n", "\n"),
            made.pem().replace("\r\n", "\n")
        );
        assert!(ClientCertificate::read(b"no certificate").is_none());
    }
}
