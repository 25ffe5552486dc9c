//! A backend that says exactly what the test tells it to.

use std::net::SocketAddr;

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

use super::within;

/// A listening backend.
pub struct Backend {
    listener: TcpListener,
    pub address: SocketAddr,
}

impl Backend {
    pub async fn start() -> Backend {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        Backend { listener, address }
    }

    /// The next connection of the gateway.
    pub async fn accept(&self) -> Conn {
        let (stream, _) = within(self.listener.accept()).await.unwrap();
        stream.set_nodelay(true).unwrap();
        Conn {
            stream,
            read: Vec::new(),
        }
    }

    /// The next connection and the head of its first request.
    pub async fn request(&self) -> (Conn, String) {
        let mut conn = self.accept().await;
        let head = conn.head().await;
        (conn, head)
    }

    /// Nobody connects for a moment.
    pub async fn is_left_alone(&self) -> bool {
        tokio::time::timeout(
            std::time::Duration::from_millis(150),
            self.listener.accept(),
        )
        .await
        .is_err()
    }

    /// Answers every request on every connection with `answer`, for as long as the test runs.
    pub fn always(self, answer: impl Into<Vec<u8>>) -> SocketAddr {
        let answer = answer.into();
        self.answering(move |_| Some(answer.clone()))
    }

    /// Answers every request on every connection with what `answer` makes of its head, if it makes anything of it.
    pub fn answering(
        self,
        answer: impl Fn(&str) -> Option<Vec<u8>> + Clone + Send + 'static,
    ) -> SocketAddr {
        let address = self.address;
        tokio::spawn(async move {
            while let Ok((stream, _)) = self.listener.accept().await {
                let answer = answer.clone();
                tokio::spawn(async move {
                    let mut conn = Conn {
                        stream,
                        read: Vec::new(),
                    };
                    while let Some(head) = conn.try_head().await {
                        let Some(answer) = answer(&head) else {
                            continue;
                        };
                        if conn.stream.write_all(&answer).await.is_err() {
                            break;
                        }
                    }
                });
            }
        });
        address
    }
}

/// A connection from the gateway.
pub struct Conn {
    pub stream: TcpStream,
    read: Vec<u8>,
}

impl Conn {
    /// The head of the next request, with its empty line.
    pub async fn head(&mut self) -> String {
        within(self.try_head())
            .await
            .expect("the gateway closed the connection")
    }

    async fn try_head(&mut self) -> Option<String> {
        loop {
            if let Some(end) = self
                .read
                .windows(4)
                .position(|window| window == b"\r\n\r\n")
            {
                let head: Vec<u8> = self.read.drain(..end + 4).collect();
                return Some(String::from_utf8(head).unwrap());
            }
            if self.stream.read_buf(&mut self.read).await.ok()? == 0 {
                return None;
            }
        }
    }

    /// The next `count` bytes behind the head.
    pub async fn take(&mut self, count: usize) -> Vec<u8> {
        while self.read.len() < count {
            let read = within(self.stream.read_buf(&mut self.read)).await.unwrap();
            assert!(
                read > 0,
                "the gateway closed the connection after {:?}",
                String::from_utf8_lossy(&self.read)
            );
        }
        self.read.drain(..count).collect()
    }

    /// What comes until the gateway closes the connection.
    pub async fn rest(&mut self) -> Vec<u8> {
        while matches!(within(self.stream.read_buf(&mut self.read)).await, Ok(count) if count > 0) {
        }
        std::mem::take(&mut self.read)
    }

    pub async fn write(&mut self, bytes: impl AsRef<[u8]>) {
        within(self.stream.write_all(bytes.as_ref())).await.unwrap();
    }

    /// Waits until the gateway has closed the connection.
    pub async fn is_closed(&mut self) {
        let mut rest = [0; 4096];
        while matches!(within(self.stream.read(&mut rest)).await, Ok(count) if count > 0) {}
    }

    /// The gateway says nothing for a moment, and stays.
    pub async fn is_kept(&mut self) -> bool {
        let moment = std::time::Duration::from_millis(150);
        tokio::time::timeout(moment, self.stream.read(&mut [0; 1]))
            .await
            .is_err()
    }

    /// Closes the connection with a reset.
    pub fn reset(self) {
        self.stream.set_zero_linger().unwrap();
    }
}
