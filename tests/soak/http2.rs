//! Deeds over HTTP/2: many streams on a connection, some of which are reset.

use bytes::Bytes;
use h2::{Reason, RecvStream, client::SendRequest};
use http::Request;
use tokio::task::JoinSet;

use crate::{
    backend::payload, deeds::within as number_within, ledger::Ledger, stage::Stage, support::within,
};

async fn connect(stage: &Stage) -> SendRequest<Bytes> {
    let tcp = stage.client().await.stream;
    let (send, connection) = within(h2::client::handshake(tcp)).await.unwrap();
    tokio::spawn(async move { drop(connection.await) });
    send
}

/// A GET, up to the head of its answer.
async fn get(send: &SendRequest<Bytes>, path: &str) -> (RecvStream, h2::SendStream<Bytes>) {
    let request = Request::get(format!("http://localhost/{path}"))
        .body(())
        .unwrap();
    let mut send = within(send.clone().ready()).await.unwrap();
    let (response, own) = send.send_request(request, true).unwrap();
    let response = within(response).await.unwrap();
    assert_eq!(response.status(), 200);
    (response.into_body(), own)
}

async fn data(body: &mut RecvStream) -> Option<Result<Bytes, h2::Error>> {
    let data = within(body.data()).await?;
    if let Ok(data) = &data {
        let _ = body.flow_control().release_capacity(data.len());
    }
    Some(data)
}

/// Streams side by side, each whole.
pub async fn streams(stage: &Stage, ledger: &Ledger) {
    let send = connect(stage).await;
    let mut all = JoinSet::new();
    for _ in 0..number_within(1..12) {
        let send = send.clone();
        all.spawn(async move {
            let length = number_within(0..60_000);
            let (mut body, _own) = get(&send, &format!("stream/{length}")).await;
            let mut read = Vec::new();
            while let Some(data) = data(&mut body).await {
                read.extend_from_slice(&data.unwrap());
            }
            assert!(
                read == payload(length),
                "{} of {length} bytes came, or others",
                read.len()
            );
        });
    }
    let count = all.len() as u64;
    all.join_all().await;
    ledger.note("stream", "complete", count);
}

/// Streams side by side, of which some are reset by the client and others break off.
pub async fn resets(stage: &Stage, ledger: &Ledger) {
    let send = connect(stage).await;
    for _ in 0..number_within(1..6) {
        let (mut body, mut own) = get(&send, "endless").await;
        data(&mut body).await.unwrap().unwrap();
        own.send_reset(Reason::CANCEL);
        ledger.note("endless", "client_left", 1);
    }
    let (mut body, _own) = get(&send, "cut-length").await;
    let mut ended = None;
    while ended.is_none() {
        ended = match data(&mut body).await {
            Some(Ok(_)) => None,
            Some(Err(_)) => Some(true),
            None => Some(false),
        };
    }
    assert_eq!(ended, Some(true), "an early end looks complete");
    ledger.note("cut-length", "integration_truncated", 1);
}
