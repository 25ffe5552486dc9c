//! The PROXY protocol's header, in any pieces: the addresses that stand there, and not a byte read behind them.

#![no_main]

use std::{
    future::Future,
    net::SocketAddr,
    pin::pin,
    task::{Context, Poll, Waker},
};

use libfuzzer_sys::fuzz_target;
use sluicegate::server::proxy_protocol::read;
use sluicegate_fuzz::{Trickle, pieces};

type Addresses = Option<(SocketAddr, SocketAddr)>;

const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";

/// What is read, and what is left; `None` if the header is refused.
fn read_in_pieces(seed: u8, data: &[u8]) -> Option<(Addresses, Vec<u8>)> {
    let mut stream = Trickle::new(pieces(seed, data));
    let mut cx = Context::from_waker(Waker::noop());
    let read = {
        let mut reading = pin!(read(&mut stream));
        loop {
            if let Poll::Ready(read) = reading.as_mut().poll(&mut cx) {
                break read;
            }
        }
    };
    Some((read.ok()?, stream.unread()))
}

/// The same by the specification's table.
fn by_hand(data: &[u8]) -> Option<(Addresses, usize)> {
    let (fixed, rest) = data.split_at_checked(16)?;
    let length = usize::from(u16::from_be_bytes([fixed[14], fixed[15]]));
    let block = rest.get(..length).filter(|_| length <= 4096)?;
    let is_known = fixed.starts_with(SIGNATURE) && matches!(fixed[12], 0x20 | 0x21);
    if !is_known || fixed[13] >> 4 > 3 || fixed[13] & 15 > 2 {
        return None;
    }
    let port = |at: usize| Some(u16::from_be_bytes([*block.get(at)?, *block.get(at + 1)?]));
    let v4 = |at: usize| <[u8; 4]>::try_from(block.get(at..at + 4)?).ok();
    let v6 = |at: usize| <[u8; 16]>::try_from(block.get(at..at + 16)?).ok();
    let addresses = match fixed[13] >> 4 {
        1 => Some((
            SocketAddr::from((v4(0)?, port(8)?)),
            SocketAddr::from((v4(4)?, port(10)?)),
        )),
        2 => Some((
            SocketAddr::from((v6(0)?, port(32)?)),
            SocketAddr::from((v6(16)?, port(34)?)),
        )),
        3 => block.get(..216).map(|_| None)?,
        _ => None,
    };
    Some((addresses.filter(|_| fixed[12] == 0x21), 16 + length))
}

fuzz_target!(|input: (u8, &[u8])| {
    let (seed, data) = input;
    // Half of all headers are spared the guessing.
    let data = if seed & 1 == 1 {
        [SIGNATURE, data].concat()
    } else {
        data.to_vec()
    };
    let read = read_in_pieces(seed, &data);
    let expected = by_hand(&data).map(|(addresses, length)| (addresses, data[length..].to_vec()));
    assert_eq!(read, expected);
});
