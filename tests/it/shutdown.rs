//! How a gateway ends (acceptance item 183).

use sluicegate::types::lifecycle::Phase;

use crate::support::{Backend, Client, End, Gateway, header, status, within};

const GET: &str = "GET /x HTTP/1.1\r\nHost: test\r\n\r\n";
const CHUNKED: &str = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";

#[tokio::test]
async fn while_unready_everything_is_still_served() {
    let backend = Backend::start()
        .await
        .always("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
    let gateway = Gateway::streaming(backend);
    let mut idle = Client::connect(gateway.address).await;
    idle.send(GET).await;
    assert_eq!(idle.answer().await.1, "ok");
    gateway.conductor().advance(Phase::Unready);
    assert!(idle.is_kept().await);
    idle.send(GET).await;
    let (head, body) = idle.answer().await;
    assert_eq!((header(&head, "connection"), &*body), (Some("close"), "ok"));
    assert_eq!(Client::get(gateway.address, "/x").await.1, "ok");
}

#[tokio::test]
async fn a_draining_gateway_finishes_its_streams_and_takes_no_more() {
    let backend = Backend::start().await;
    let gateway = Gateway::streaming(backend.address);
    let mut idle = Client::connect(gateway.address).await;
    let mut client = Client::connect(gateway.address).await;
    client.send(GET).await;
    let (mut conn, _) = backend.request().await;
    conn.write(format!("{CHUNKED}2\r\nhi\r\n")).await;
    client.head().await;
    client.chunk().await;
    let mut waiting = Client::connect(gateway.address).await;
    waiting.send(GET).await;
    let (mut slow, _) = backend.request().await;
    gateway.conductor().advance(Phase::Draining);
    assert_eq!(idle.is_closed().await, End::Fin);
    within(async {
        while tokio::net::TcpStream::connect(gateway.address)
            .await
            .is_ok()
        {}
    })
    .await;
    slow.write("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
        .await;
    let (head, _) = waiting.answer().await;
    assert_eq!(header(&head, "connection"), Some("close"));
    conn.write("3\r\nbye\r\n0\r\n\r\n").await;
    assert_eq!(client.chunk().await, b"bye");
    client.expect("0\r\n\r\n").await;
    client.is_closed().await;
    waiting.is_closed().await;
    gateway.ended().await;
}

#[tokio::test]
async fn at_the_limit_what_is_open_is_cut() {
    let backend = Backend::start().await;
    let gateway = Gateway::streaming(backend.address);
    let mut client = Client::connect(gateway.address).await;
    client.send(GET).await;
    let (mut conn, _) = backend.request().await;
    conn.write(format!("{CHUNKED}2\r\nhi\r\n")).await;
    client.head().await;
    client.chunk().await;
    let mut waiting = Client::connect(gateway.address).await;
    waiting.send(GET).await;
    let _kept = backend.request().await;
    gateway.conductor().advance(Phase::Draining);
    gateway.conductor().advance(Phase::Cut);
    assert_eq!(client.is_closed().await, End::Fin);
    assert_eq!(status(&waiting.answer().await.0), 503);
    conn.is_closed().await;
    for record in gateway.records(2).await {
        assert_eq!(record["outcome"], "drained");
    }
    gateway.ended().await;
}

#[tokio::test]
async fn a_client_that_has_just_connected_may_still_ask_and_has_not_long() {
    let backend = Backend::start()
        .await
        .always("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
    let gateway = Gateway::streaming(backend);
    let mut asks = Client::connect(gateway.address).await;
    let mut silent = Client::connect(gateway.address).await;
    gateway.conductor().advance(Phase::Draining);
    assert!(asks.is_kept().await);
    asks.send(GET).await;
    let (head, body) = asks.answer().await;
    assert_eq!((header(&head, "connection"), &*body), (Some("close"), "ok"));
    assert_eq!(silent.is_closed().await, End::Fin);
    gateway.ended().await;
}

#[tokio::test]
async fn calls_that_go_on_without_their_clients_are_waited_for() {
    let backend = Backend::start().await;
    let finish = "responseTransferMode: STREAM\ntimeoutInMillis: 60000\nx-sluicegate-on-client-disconnect: finish";
    let gateway = Gateway::with_integration(backend.address, finish);
    let mut early = Client::connect(gateway.address).await;
    early.send(GET).await;
    let (mut before, _) = backend.request().await;
    let mut late = Client::connect(gateway.address).await;
    late.send(GET).await;
    let (mut after, _) = backend.request().await;
    after.write(format!("{CHUNKED}2\r\nhi\r\n")).await;
    late.head().await;
    assert_eq!(gateway.exchanges().await, 2);
    drop((early, late));
    gateway.records(2).await;
    gateway.conductor().advance(Phase::Draining);
    assert!(before.is_kept().await && after.is_kept().await);
    assert_eq!(gateway.exchanges().await, 2);
    before
        .write("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
        .await;
    within(async { while gateway.exchanges().await > 1 {} }).await;
    after.write("0\r\n\r\n").await;
    gateway.ended().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn functions_that_go_on_without_their_clients_are_waited_for() {
    let gateway = Gateway::with_function_api();
    let steps = r#"{"do": [["stream", "text/plain"], ["touch", "begun"], ["wait", "go"], ["end"], ["touch", "done"]]}"#;
    let mut client = Client::connect(gateway.address).await;
    let length = steps.len();
    let post = format!("POST /kept HTTP/1.1\r\nHost: test\r\nContent-Length: {length}\r\n\r\n");
    client.send(post + steps).await;
    gateway.touched("begun").await;
    drop(client);
    assert_eq!(gateway.record().await["outcome"], "client_left");
    gateway.conductor().advance(Phase::Draining);
    within(async { while gateway.exchanges().await != 1 {} }).await;
    tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    assert_eq!(gateway.exchanges().await, 1);
    gateway.let_go("go");
    gateway.touched("done").await;
    gateway.ended().await;
}
