//! A backend that does what the path asks for, good or bad.

use std::{collections::BTreeSet, net::SocketAddr, sync::Mutex, time::Duration};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    time::sleep,
};

/// What every body is a part of, from its beginning.
pub fn payload(length: usize) -> Vec<u8> {
    (0..length).map(|at| b'a' + (at % 23) as u8).collect()
}

/// The numbers of the answers whose beginning has reached its client.
static SEEN: Mutex<BTreeSet<usize>> = Mutex::new(BTreeSet::new());

/// The beginning of the answer with this number has reached its client.
pub fn seen(number: usize) {
    SEEN.lock().unwrap().insert(number);
}

/// Serves for as long as the test runs.
pub async fn start() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((tcp, _)) = listener.accept().await {
            tcp.set_nodelay(true).unwrap();
            let read = Vec::new();
            tokio::spawn(serve(Conn { tcp, read }));
        }
    });
    address
}

struct Conn {
    tcp: TcpStream,
    read: Vec<u8>,
}

/// Nothing more can be done on the connection.
struct Gone;

type Done<T = ()> = Result<T, Gone>;

async fn serve(mut conn: Conn) {
    while let Ok(head) = conn.head().await {
        let path = head.split(' ').nth(1).unwrap_or_default().to_owned();
        let mut words = path.split('/').skip(1);
        let kind = words.next().unwrap_or_default().to_owned();
        let number = words.next().and_then(|word| word.parse().ok()).unwrap_or(0);
        if conn.act(&kind, number, &head).await.is_err() {
            break;
        }
    }
}

const CHUNKED: &[u8] =
    b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n";
const LENGTH: &[u8] =
    b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 1000\r\n\r\n";
const HINTS: &[u8] = b"HTTP/1.1 103 Early Hints\r\nLink: </a>; rel=preload\r\n\r\n";

impl Conn {
    async fn act(&mut self, kind: &str, number: usize, head: &str) -> Done {
        match kind {
            "whole" | "buffered" | "limited" => self.whole(number).await,
            "empty" => self.write(b"HTTP/1.1 204 No Content\r\n\r\n").await,
            "head" => self.write(b"HTTP/1.1 200 OK\r\nContent-Length: 77\r\n\r\n").await,
            "stream" => self.stream(number).await,
            "hints" => {
                self.write(HINTS).await?;
                self.stream(number).await
            }
            "cut-chunk" => self.and_close(&[CHUNKED, b"4\r\nabcd\r\n8\r\nef"]).await,
            "cut-length" => self.and_close(&[LENGTH, b"abcd"]).await,
            "reset" => {
                self.write(&[CHUNKED, b"4\r\nabcd\r\n"].concat()).await?;
                // A reset overtakes what was said before it.
                while !SEEN.lock().unwrap().remove(&number) {
                    sleep(Duration::from_millis(2)).await;
                }
                self.reset()
            }
            "bad-chunk" => self.and_close(&[CHUNKED, b"4\r\nabcd\r\nxyz\r\n"]).await,
            "reset-early" => self.reset(),
            "close-early" => self.and_close(&[]).await,
            "garbage" => self.and_close(&[b"\x00\x01SSH-2.0 what is this\r\n\r\n"]).await,
            "late" => self.silent(&[]).await,
            "quiet" => self.silent(&[CHUNKED, b"4\r\nabcd\r\n"]).await,
            "endless" | "unread" => self.endless(kind == "unread").await,
            "upload" => self.upload(head).await,
            "refusing" => self.and_close(&[b"HTTP/1.1 413 Content Too Large\r\nContent-Length: 2\r\nConnection: close\r\n\r\nno"]).await,
            _ => Err(Gone),
        }
    }

    async fn whole(&mut self, length: usize) -> Done {
        let head = format!(
            "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: {length}\r\n\r\n"
        );
        self.write(head.as_bytes()).await?;
        self.write(&payload(length)).await
    }

    /// Bytes in chunks of many sizes, with pauses.
    async fn stream(&mut self, length: usize) -> Done {
        self.write(CHUNKED).await?;
        let body = payload(length);
        let (mut rest, mut size) = (body.as_slice(), 1);
        while !rest.is_empty() {
            let (chunk, after) = rest.split_at(size.min(rest.len()));
            self.write(format!("{:x}\r\n", chunk.len()).as_bytes())
                .await?;
            self.write(chunk).await?;
            self.write(b"\r\n").await?;
            rest = after;
            size *= 3;
            sleep(Duration::from_millis(3)).await;
        }
        self.write(b"0\r\n\r\n").await
    }

    /// Chunks until the gateway has enough: slowly, or as fast as they go.
    async fn endless(&mut self, is_fast: bool) -> Done {
        self.write(CHUNKED).await?;
        let chunk = [b"1000\r\n", payload(4096).as_slice(), b"\r\n"].concat();
        loop {
            self.write(&chunk).await?;
            if !is_fast {
                sleep(Duration::from_millis(5)).await;
            }
        }
    }

    /// Takes the body and says how much it was.
    async fn upload(&mut self, head: &str) -> Done {
        let head = head.to_ascii_lowercase();
        let mut length = 0;
        if let Some(text) = head.split("content-length: ").nth(1) {
            length = text
                .lines()
                .next()
                .and_then(|text| text.parse().ok())
                .ok_or(Gone)?;
            self.take(length).await?;
        } else {
            loop {
                let size = self.line().await?;
                let size = usize::from_str_radix(size.trim(), 16).map_err(|_| Gone)?;
                self.take(size + 2).await?;
                length += size;
                if size == 0 {
                    break;
                }
            }
        }
        let text = length.to_string();
        let answer = format!(
            "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{text}",
            text.len()
        );
        self.write(answer.as_bytes()).await
    }

    /// Says this and then nothing, until the gateway leaves.
    async fn silent(&mut self, parts: &[&[u8]]) -> Done {
        self.write(&parts.concat()).await?;
        while self.fill().await.is_ok() {}
        Err(Gone)
    }

    async fn and_close(&mut self, parts: &[&[u8]]) -> Done {
        self.write(&parts.concat()).await?;
        let _ = self.tcp.shutdown().await;
        // What still comes would turn the end into a reset.
        while self.fill().await.is_ok() {
            self.read.clear();
        }
        Err(Gone)
    }

    fn reset(&self) -> Done {
        let _ = self.tcp.set_zero_linger();
        Err(Gone)
    }

    async fn write(&mut self, bytes: &[u8]) -> Done {
        self.tcp.write_all(bytes).await.map_err(|_| Gone)
    }

    async fn fill(&mut self) -> Done {
        match self.tcp.read_buf(&mut self.read).await {
            Ok(count) if count > 0 => Ok(()),
            _ => Err(Gone),
        }
    }

    async fn until(&mut self, mark: &[u8]) -> Done<String> {
        loop {
            if let Some(at) = self
                .read
                .windows(mark.len())
                .position(|window| window == mark)
            {
                let taken: Vec<u8> = self.read.drain(..at + mark.len()).collect();
                return String::from_utf8(taken).map_err(|_| Gone);
            }
            self.fill().await?;
        }
    }

    async fn head(&mut self) -> Done<String> {
        self.until(b"\r\n\r\n").await
    }

    async fn line(&mut self) -> Done<String> {
        self.until(b"\r\n").await
    }

    async fn take(&mut self, count: usize) -> Done {
        while self.read.len() < count {
            self.fill().await?;
        }
        self.read.drain(..count);
        Ok(())
    }
}
