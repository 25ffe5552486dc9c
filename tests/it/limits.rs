//! Acceptance items 79 to 86: many clients, few places.

use crate::support::{Backend, Client, Gateway, document, header, proxy, status, within};

#[tokio::test]
async fn item_83_the_oldest_idle_connection_makes_room_and_then_new_ones_are_turned_away() {
    let backend = Backend::start().await;
    let api = document(&proxy("/{proxy+}", backend.address, ""));
    let gateway = Gateway::start("http: {maxConnections: 3}", &api);
    let mut idle = Client::connect(gateway.address).await;
    idle.send("GET / HTTP/1.1\r\nHost: test\r\n\r\n").await;
    assert_eq!(status(&idle.answer().await.0), 403);
    let mut busy = Vec::new();
    for _ in 0..3 {
        let mut client = Client::connect(gateway.address).await;
        client.send("GET /x HTTP/1.1\r\nHost: test\r\n\r\n").await;
        busy.push((client, backend.request().await.0));
    }
    // The third busy one took the idle one's place.
    idle.is_closed().await;
    let (head, body) = Client::get(gateway.address, "/x").await;
    assert_eq!(
        (status(&head), header(&head, "retry-after")),
        (503, Some("1"))
    );
    assert_eq!(body, r#"{"message":"Service Unavailable"}"#);
    // Those that are served go on, and a place that becomes free is used.
    let (mut client, mut conn) = busy.remove(0);
    conn.write("HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok")
        .await;
    assert_eq!(client.answer().await.1, "ok");
    drop(client);
    tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    let mut client = Client::connect(gateway.address).await;
    client.send("GET / HTTP/1.1\r\nHost: test\r\n\r\n").await;
    assert_eq!(status(&client.answer().await.0), 403);
}

#[tokio::test]
async fn a_burst_of_connections_gets_the_places_there_are_and_no_more() {
    const PLACES: usize = 20;
    const CLIENTS: usize = 200;
    let backend = Backend::start().await;
    let api = document(&proxy(
        "/{proxy+}",
        backend.address,
        "responseTransferMode: STREAM",
    ));
    let gateway = Gateway::start(&format!("http: {{maxConnections: {PLACES}}}"), &api);
    let address = gateway.address;
    let clients = (0..CLIENTS).map(|_| {
        tokio::spawn(async move {
            let mut client = Client::connect(address).await;
            client.send("GET /x HTTP/1.1\r\nHost: test\r\n\r\n").await;
            let head = client.head().await;
            (status(&head), client)
        })
    });
    let mut clients: Vec<_> = clients.collect();
    // Those that are served hold their places; all others have their answer before any of these has one.
    let mut served = Vec::new();
    for _ in 0..PLACES {
        served.push(backend.request().await.0);
    }
    while clients.iter().filter(|it| it.is_finished()).count() < CLIENTS - PLACES {
        assert!(
            backend.is_left_alone().await,
            "more than {PLACES} were served"
        );
    }
    for conn in &mut served {
        conn.write("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
            .await;
    }
    let mut codes = std::collections::BTreeMap::<u16, usize>::new();
    for client in clients.drain(..) {
        *codes.entry(within(client).await.unwrap().0).or_default() += 1;
    }
    let expected = [(200, PLACES), (503, CLIENTS - PLACES)];
    assert_eq!(codes.into_iter().collect::<Vec<_>>(), expected);
}

#[tokio::test]
async fn connections_and_streams_leave_nothing_behind() {
    let backend = Backend::start()
        .await
        .always("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n");
    let gateway = Gateway::streaming(backend);
    let descriptors = || std::fs::read_dir("/proc/self/fd").unwrap().count();
    let round = async || {
        for number in 0..100 {
            let mut client = Client::connect(gateway.address).await;
            client.send("GET /x HTTP/1.1\r\nHost: test\r\n\r\n").await;
            match number % 4 {
                0 => assert_eq!(client.answer().await.1, "ok"),
                1 => drop(client.head().await),
                2 => client.vanish(),
                _ => {}
            }
        }
        tokio::time::sleep(std::time::Duration::from_millis(300)).await;
    };
    round().await;
    let before = descriptors();
    for _ in 0..4 {
        round().await;
    }
    // Other tests of this process come and go; a leak would be four hundred.
    assert!(
        descriptors() < before + 150,
        "{before} became {}",
        descriptors()
    );
}

#[tokio::test]
async fn slow_heads_make_room_when_nothing_else_does() {
    let backend = Backend::start()
        .await
        .always("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
    let api = document(&proxy("/{proxy+}", backend, ""));
    let gateway = Gateway::start("http: {maxConnections: 2}", &api);
    let mut slow = Client::connect(gateway.address).await;
    slow.send("GET /x HTTP/1.1\r\nHost: test\r\n\r\n").await;
    assert_eq!(slow.answer().await.1, "ok");
    let mut idle = Client::connect(gateway.address).await;
    idle.send("GET /x HTTP/1.1\r\nHost: test\r\n\r\n").await;
    assert_eq!(idle.answer().await.1, "ok");
    // It has been there for longer, but is in the middle of a head.
    slow.send("GET /x HTTP/1.1\r\n").await;
    tokio::time::sleep(std::time::Duration::from_millis(2_100)).await;
    let get = "GET /x HTTP/1.1\r\nHost: test\r\n\r\n";
    let mut next = Client::connect(gateway.address).await;
    next.send(get).await;
    assert_eq!(next.answer().await.1, "ok");
    idle.is_closed().await;
    assert!(slow.is_kept().await);
    next.send("GET /x HTTP/1.1\r\n").await;
    let mut last = Client::connect(gateway.address).await;
    last.send(get).await;
    assert_eq!(last.answer().await.1, "ok");
    assert_eq!(status(&slow.answer().await.0), 408);
    let record = gateway.records(5).await.swap_remove(3);
    assert_eq!(record["reason"], "head_timeout");
    next.send("Host: test\r\n\r\n").await;
    assert_eq!(next.answer().await.1, "ok");
}

#[tokio::test]
async fn a_worker_without_idle_connections_makes_room_on_the_others() {
    const PLACES: usize = 4;
    let settings = format!(
        "listeners: [{{address: 127.0.0.1:0}}]\nworkers: 4\nhttp: {{maxConnections: {PLACES}}}\n\
         accessLog: {{path: access.log}}\napis: [{{definition: api.yaml}}]\n"
    );
    let backend = Backend::start()
        .await
        .always("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
    let api = document(&proxy("/{proxy+}", backend, ""));
    let gateway = Gateway::from_files(&[("sluicegate.yaml", &settings), ("api.yaml", &api)]);
    let mut clients = Vec::new();
    for _ in 0..PLACES * 10 {
        let mut client = Client::connect(gateway.address).await;
        client.send("GET /x HTTP/1.1\r\nHost: test\r\n\r\n").await;
        assert_eq!(status(&client.answer().await.0), 200);
        clients.push(client);
    }
}
