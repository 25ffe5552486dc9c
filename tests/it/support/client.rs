//! A client that says exactly what the test tells it to.

use std::net::SocketAddr;

use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::{TcpSocket, TcpStream},
};

use super::within;

/// How the gateway ended a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// In good order.
    Fin,
    /// With a reset.
    Reset,
}

/// A connection to the gateway.
pub struct Client<S = TcpStream> {
    pub stream: S,
    read: Vec<u8>,
}

impl Client {
    pub async fn connect(address: SocketAddr) -> Client {
        let stream = TcpStream::connect(address).await.unwrap();
        stream.set_nodelay(true).unwrap();
        Client {
            stream,
            read: Vec::new(),
        }
    }

    /// A client whose kernel holds little of what it doesn't read.
    pub async fn narrow(address: SocketAddr) -> Client {
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_recv_buffer_size(4096).unwrap();
        Client {
            stream: socket.connect(address).await.unwrap(),
            read: Vec::new(),
        }
    }

    /// Sends `request` on a connection of its own and returns the head and body of the answer.
    pub async fn ask(address: SocketAddr, request: &str) -> (String, String) {
        let mut client = Client::connect(address).await;
        client.send(request).await;
        client.answer().await
    }

    /// GETs `path` on a connection of its own.
    pub async fn get(address: SocketAddr, path: &str) -> (String, String) {
        Client::ask(
            address,
            &format!("GET {path} HTTP/1.1\r\nHost: test\r\n\r\n"),
        )
        .await
    }

    /// Goes away with a reset.
    pub fn vanish(self) {
        self.stream.set_zero_linger().unwrap();
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Client<S> {
    pub fn over(stream: S) -> Client<S> {
        Client {
            stream,
            read: Vec::new(),
        }
    }

    pub async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        within(self.stream.write_all(bytes.as_ref())).await.unwrap();
        within(self.stream.flush()).await.unwrap();
    }

    /// The head of the next response, with its empty line.
    pub async fn head(&mut self) -> String {
        loop {
            if let Some(end) = self
                .read
                .windows(4)
                .position(|window| window == b"\r\n\r\n")
            {
                let head: Vec<u8> = self.read.drain(..end + 4).collect();
                return String::from_utf8(head).unwrap();
            }
            let read = within(self.stream.read_buf(&mut self.read)).await.unwrap();
            assert!(
                read > 0,
                "the gateway closed the connection after {:?}",
                String::from_utf8_lossy(&self.read)
            );
        }
    }

    /// Exactly these bytes come next.
    pub async fn expect(&mut self, bytes: &str) {
        assert_eq!(
            String::from_utf8_lossy(&self.take(bytes.len()).await),
            bytes
        );
    }

    /// The next `count` bytes.
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

    /// The head of the next response and its body, of whatever length it says.
    pub async fn answer(&mut self) -> (String, String) {
        let head = self.head().await;
        let body = if let Some(length) = super::header(&head, "Content-Length") {
            self.take(length.parse().unwrap()).await
        } else if super::header(&head, "Transfer-Encoding").is_some() {
            self.chunks().await
        } else {
            Vec::new()
        };
        (head, String::from_utf8_lossy(&body).into_owned())
    }

    async fn chunks(&mut self) -> Vec<u8> {
        let mut body = Vec::new();
        loop {
            let chunk = self.chunk().await;
            if chunk.is_empty() {
                self.expect("\r\n").await;
                return body;
            }
            body.extend_from_slice(&chunk);
        }
    }

    /// The payload of the next chunk; of the last one, nothing, and what follows its size isn't read.
    pub async fn chunk(&mut self) -> Vec<u8> {
        let mut size = Vec::new();
        while !size.ends_with(b"\r\n") {
            size.extend(self.take(1).await);
        }
        let size = usize::from_str_radix(std::str::from_utf8(&size).unwrap().trim(), 16).unwrap();
        if size == 0 {
            return Vec::new();
        }
        let chunk = self.take(size).await;
        self.expect("\r\n").await;
        chunk
    }

    /// Everything up to the end of the connection, and how it ended.
    pub async fn rest(&mut self) -> (Vec<u8>, End) {
        loop {
            match within(self.stream.read_buf(&mut self.read)).await {
                Ok(0) => return (std::mem::take(&mut self.read), End::Fin),
                Ok(_) => {}
                Err(_) => return (std::mem::take(&mut self.read), End::Reset),
            }
        }
    }

    /// The connection ends here, without another byte.
    pub async fn is_closed(&mut self) -> End {
        let (rest, end) = self.rest().await;
        assert_eq!(String::from_utf8_lossy(&rest), "");
        end
    }

    /// The gateway says nothing for a moment, and stays.
    pub async fn is_kept(&mut self) -> bool {
        let moment = std::time::Duration::from_millis(150);
        self.read.is_empty()
            && tokio::time::timeout(moment, self.stream.read(&mut [0; 1]))
                .await
                .is_err()
    }
}
