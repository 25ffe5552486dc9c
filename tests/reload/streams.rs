//! Streams in lock-step, many at a time.

use std::net::SocketAddr;

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    sync::{mpsc, watch},
    task::JoinHandle,
};

use crate::support::{Client, within};

/// A backend whose streams all send chunk `n` when it is told to.
pub struct Streams {
    pub address: SocketAddr,
    /// The number of the chunk that is due; the last one is followed by the end.
    due: watch::Sender<Due>,
}

#[derive(Clone, Copy)]
struct Due {
    chunk: u64,
    is_last: bool,
}

/// Clients that read the streams, and say so.
pub struct Clients {
    seen: tokio::sync::Mutex<mpsc::UnboundedReceiver<u64>>,
    reading: Vec<JoinHandle<u64>>,
}

fn chunk(number: u64) -> String {
    format!("chunk {number:06} {}", "x".repeat(100))
}

impl Streams {
    pub async fn backend() -> Streams {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let due = watch::Sender::new(Due {
            chunk: 0,
            is_last: false,
        });
        let told = due.subscribe();
        tokio::spawn(async move {
            while let Ok((tcp, _)) = listener.accept().await {
                tokio::spawn(serve(tcp, told.clone()));
            }
        });
        Streams { address, due }
    }

    /// Opens streams, each up to its first chunk.
    pub async fn open(&self, gateway: SocketAddr, path: &str, count: usize) -> Clients {
        let (tell, seen) = mpsc::unbounded_channel();
        let request = format!("GET {path} HTTP/1.1\r\nHost: test\r\n\r\n");
        let mut reading = Vec::new();
        for _ in 0..count {
            reading.push(tokio::spawn(read(gateway, request.clone(), tell.clone())));
        }
        let clients = Clients {
            seen: tokio::sync::Mutex::new(seen),
            reading,
        };
        self.await_all(&clients).await;
        clients
    }

    /// Has every stream send its next chunk, and waits until every client has it.
    pub async fn step(&self, clients: &Clients) {
        self.due.send_modify(|due| due.chunk += 1);
        self.await_all(clients).await;
    }

    async fn await_all(&self, clients: &Clients) {
        let due = self.due.borrow().chunk;
        let mut seen = clients.seen.lock().await;
        for _ in 0..clients.reading.len() {
            let number = within(seen.recv()).await;
            assert_eq!(number, Some(due));
        }
    }

    /// Ends every stream, and looks whether every client got all of it.
    pub async fn finish(self, clients: Clients) {
        self.due.send_modify(|due| {
            due.chunk += 1;
            due.is_last = true;
        });
        let last = self.due.borrow().chunk;
        for reading in clients.reading {
            assert_eq!(within(reading).await.unwrap(), last);
        }
    }
}

async fn serve(mut tcp: TcpStream, mut told: watch::Receiver<Due>) -> std::io::Result<()> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        if tcp.read_buf(&mut head).await? == 0 {
            return Ok(());
        }
    }
    tcp.write_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        .await?;
    loop {
        let due = *told.borrow_and_update();
        let text = chunk(due.chunk);
        tcp.write_all(format!("{:x}\r\n{text}\r\n", text.len()).as_bytes())
            .await?;
        if due.is_last {
            return tcp.write_all(b"0\r\n\r\n").await;
        }
        if told.changed().await.is_err() {
            return Ok(());
        }
    }
}

/// Reads a stream to its end; every chunk must come once and in order. The number of the last.
async fn read(gateway: SocketAddr, request: String, tell: mpsc::UnboundedSender<u64>) -> u64 {
    let mut client = Client::connect(gateway).await;
    client.send(request).await;
    client.head().await;
    let mut number = 0;
    loop {
        let bytes = client.chunk().await;
        if bytes.is_empty() {
            client.expect("\r\n").await;
            return number - 1;
        }
        assert_eq!(String::from_utf8_lossy(&bytes), chunk(number));
        let _ = tell.send(number);
        number += 1;
    }
}
