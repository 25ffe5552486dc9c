//! The PROXY protocol, version 2: a load balancer's word about whose connection it passes on (its specification,
//! section 2.2).

use std::{io, net::SocketAddr};

use ppp::v2::{Addresses, Command, Header};
use tokio::io::{AsyncRead, AsyncReadExt as _};

/// Signature, version, command, family and length.
const FIXED: usize = 16;
/// Addresses and type-length-values that are read; more is refused.
const MOST: usize = 4096;

/// Reads the header at the beginning of a connection, and not a byte more: source and destination, or `None` for a
/// connection of the load balancer's own, such as a health check.
pub async fn read(
    stream: &mut (impl AsyncRead + Unpin),
) -> io::Result<Option<(SocketAddr, SocketAddr)>> {
    let invalid = |text: String| io::Error::new(io::ErrorKind::InvalidData, text);
    let mut header = vec![0; FIXED];
    stream.read_exact(&mut header).await?;
    if !header.starts_with(ppp::v2::PROTOCOL_PREFIX) {
        return Err(invalid(
            "it doesn't begin with the protocol's signature".to_owned(),
        ));
    }
    let length = match header.get(14..FIXED) {
        Some([high, low]) => usize::from(u16::from_be_bytes([*high, *low])),
        _ => 0,
    };
    if length > MOST {
        return Err(invalid(format!("its header announces {length} bytes")));
    }
    header.resize(FIXED + length, 0);
    if let Some(rest) = header.get_mut(FIXED..) {
        stream.read_exact(rest).await?;
    }
    let header = Header::try_from(header.as_slice())
        .map_err(|error| invalid(format!("its header is malformed: {error}")))?;
    if header.command == Command::Local {
        return Ok(None);
    }
    Ok(match header.addresses {
        Addresses::IPv4(it) => Some((
            SocketAddr::from((it.source_address, it.source_port)),
            SocketAddr::from((it.destination_address, it.destination_port)),
        )),
        Addresses::IPv6(it) => Some((
            SocketAddr::from((it.source_address, it.source_port)),
            SocketAddr::from((it.destination_address, it.destination_port)),
        )),
        Addresses::Unix(_) | Addresses::Unspecified => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";

    fn header(command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
        let length = (rest.len() as u16).to_be_bytes();
        [SIGNATURE, &[command, family], &length, rest].concat()
    }

    #[tokio::test]
    async fn the_addresses_are_taken_and_the_rest_is_left() {
        let addresses = [192, 0, 2, 1, 198, 51, 100, 2, 0x0f, 0xa0, 0x01, 0xbb];
        let bytes = [header(0x21, 0x11, &addresses), b"GET /".to_vec()].concat();
        let mut stream = bytes.as_slice();
        let read = read(&mut stream).await.unwrap().unwrap();
        assert_eq!(read.0, "192.0.2.1:4000".parse().unwrap());
        assert_eq!(read.1, "198.51.100.2:443".parse().unwrap());
        assert_eq!(stream, b"GET /");
    }

    #[tokio::test]
    async fn health_checks_have_no_addresses_and_noise_is_refused() {
        let local = header(0x20, 0x00, &[]);
        assert_eq!(read(&mut local.as_slice()).await.unwrap(), None);
        for noise in [
            b"GET / HTTP/1.1\r\nHost: a\r\n\r\n".to_vec(),
            header(0x31, 0x11, &[0; 12]),
            header(0x21, 0x11, &[0; 4]),
            header(0x21, 0x11, &[0; 5000]),
            header(0x21, 0x11, &[0; 12])[..20].to_vec(),
        ] {
            assert!(read(&mut noise.as_slice()).await.is_err(), "{noise:?}");
        }
    }
}
