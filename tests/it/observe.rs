//! What an operator sees and can do: metrics, live streams, configuration, routes, health.
//!
//! Counts are the process's own, and tests run side by side in one: each test's API has a title of its own.

use std::{net::SocketAddr, time::Duration};

use serde_json::{Value, json};
use sluicegate::types::lifecycle::Phase;

use crate::support::{Backend, Client, Gateway, header, proxy, status, within};

const CHUNKED: &str = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
const STREAM: &str = "responseTransferMode: STREAM\ntimeoutInMillis: 60000";

/// The answer to a call of the admin address.
async fn call(admin: SocketAddr, request: &str, fields: &str, body: &str) -> (String, String) {
    let mut client = Client::connect(admin).await;
    let length = body.len();
    client
        .send(format!(
            "{request} HTTP/1.1\r\nHost: {admin}\r\nContent-Length: {length}\r\n{fields}\r\n{body}"
        ))
        .await;
    client.answer().await
}

async fn get(admin: SocketAddr, path: &str) -> (String, String) {
    call(admin, &format!("GET {path}"), "", "").await
}

async fn get_json(admin: SocketAddr, path: &str) -> Value {
    let (head, body) = call(
        admin,
        &format!("GET {path}"),
        "Accept: application/json\r\n",
        "",
    )
    .await;
    assert_eq!(header(&head, "content-type"), Some("application/json"));
    serde_json::from_str(&body).unwrap()
}

/// The sum of all series of a metric that have these labels.
fn real_sum(page: &str, name: &str, labels: &[&str]) -> f64 {
    page.lines()
        .filter_map(|line| {
            let (series, value) = line.rsplit_once(' ')?;
            let own = series.split_once('{').map_or(series, |(name, _)| name);
            let fits = own == name && labels.iter().all(|label| series.contains(label));
            fits.then(|| value.parse::<f64>().unwrap())
        })
        .sum()
}

/// The same of whole numbers.
fn sum(page: &str, name: &str, labels: &[&str]) -> u64 {
    real_sum(page, name, labels) as u64
}

/// Waits until a metric has a value; the page a moment later, so that what is counted together is all there.
async fn page_with(admin: SocketAddr, name: &str, labels: &[&str], value: u64) -> String {
    let mut page = String::new();
    for _ in 0..250 {
        page = get(admin, "/metrics").await.1;
        if sum(&page, name, labels) == value {
            return get(admin, "/metrics").await.1;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("{name} {labels:?} never was {value}:\n{page}");
}

fn titled(title: &str, paths: &str) -> String {
    format!("openapi: 3.0.1\ninfo: {{title: {title}}}\npaths:\n{paths}")
}

/// The live streams of an API, once there are so many.
async fn live(admin: SocketAddr, api: &str, count: usize) -> Vec<Value> {
    for _ in 0..250 {
        let told = get_json(admin, "/streams").await;
        let own: Vec<Value> = told["streams"]
            .as_array()
            .unwrap()
            .iter()
            .filter(|stream| stream["api"] == api)
            .cloned()
            .collect();
        if own.len() == count {
            return own;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("never {count} live streams of {api}");
}

#[tokio::test]
async fn every_record_is_one_request_under_the_template_of_its_route() {
    let backend = Backend::start()
        .await
        .always("HTTP/1.1 201 Created\r\nContent-Length: 2\r\n\r\nok");
    let document = titled("Counted", &proxy("/things/{id+}", backend, ""));
    let gateway = Gateway::start("", &document);
    let admin = gateway.admin();
    for path in ["/things/1", "/things/2/x", "/things/%7Bid%7D", "/nowhere"] {
        Client::get(gateway.address, path).await;
    }
    let mut malformed = Client::connect(gateway.address).await;
    malformed.send("GET / HTTP/1.1\r\nHost : a\r\n\r\n").await;
    assert_eq!(status(&malformed.answer().await.0), 400);
    gateway.records(5).await;
    let api = r#"api="Counted""#;
    let page = page_with(admin, "sluicegate_requests_total", &[api], 4).await;
    let template = r#"resource="/things/{id+}""#;
    let served = [api, template, r#"method="ANY""#, r#"status="201""#];
    assert_eq!(sum(&page, "sluicegate_requests_total", &served), 3);
    let missed = [api, r#"resource="none""#, r#"status="403""#];
    assert_eq!(sum(&page, "sluicegate_requests_total", &missed), 1);
    assert!(!page.contains("things/1") && !page.contains("nowhere"));
    for (name, value) in [
        ("sluicegate_request_duration_seconds_count", 4),
        ("sluicegate_time_to_headers_seconds_count", 3),
        ("sluicegate_integration_duration_seconds_count", 3),
        ("sluicegate_stream_duration_seconds_count", 0),
        ("sluicegate_billed_units_total", 4),
        ("sluicegate_streams_open", 0),
    ] {
        assert_eq!(sum(&page, name, &[api]), value, "{name}");
    }
    let bytes = sum(&page, "sluicegate_response_bytes_total", &[api, template]);
    assert_eq!(bytes, 6);
    assert!(
        sum(
            &page,
            "sluicegate_rejected_total",
            &[r#"reason="no_route""#]
        ) >= 1
    );
    let bad = [r#"side="client""#];
    assert!(sum(&page, "sluicegate_faults_total", &bad) >= 2);
    assert!(sum(&page, "sluicegate_connections_accepted_total", &[]) >= 5);
}

#[tokio::test]
async fn a_stream_is_open_until_it_ends_and_its_duration_is_no_requests() {
    let backend = Backend::start().await;
    let document = titled("Streamed", &proxy("/s", backend.address, STREAM));
    let gateway = Gateway::start("", &document);
    let admin = gateway.admin();
    let api = r#"api="Streamed""#;
    let mut client = Client::connect(gateway.address).await;
    client.send("GET /s HTTP/1.1\r\nHost: a\r\n\r\n").await;
    let (mut conn, _) = backend.request().await;
    let waiting = live(admin, "Streamed", 1).await.remove(0);
    assert_eq!(waiting["waitingFor"], "integration");
    assert_eq!(waiting["secondsSinceLastSent"], Value::Null);
    page_with(admin, "sluicegate_streams_open", &[api], 1).await;
    conn.write(format!("{CHUNKED}2\r\nhi\r\n")).await;
    client.head().await;
    client.chunk().await;
    // The bytes are counted a moment after the client has them.
    let stream = within(async {
        loop {
            let stream = live(admin, "Streamed", 1).await.remove(0);
            if stream["bytes"] != 0 {
                break stream;
            }
        }
    })
    .await;
    assert_eq!(
        (&stream["resource"], &stream["mode"], &stream["bytes"]),
        (&json!("/s"), &json!("STREAMED"), &json!(2))
    );
    assert!(stream["client"].as_str().unwrap().starts_with("127.0.0.1:"));
    assert!(stream["secondsSinceLastSent"].is_number());
    conn.write("3\r\nbye\r\n0\r\n\r\n").await;
    client.chunk().await;
    client.chunk().await;
    let page = page_with(admin, "sluicegate_streams_open", &[api], 0).await;
    live(admin, "Streamed", 0).await;
    for (name, value) in [
        ("sluicegate_stream_duration_seconds_count", 1),
        ("sluicegate_time_to_first_content_seconds_count", 1),
        ("sluicegate_longest_gap_seconds_count", 1),
        ("sluicegate_request_duration_seconds_count", 0),
        ("sluicegate_integration_duration_seconds_count", 0),
        ("sluicegate_response_bytes_total", 5),
    ] {
        assert_eq!(sum(&page, name, &[api]), value, "{name}");
    }
    let complete = [api, r#"outcome="complete""#, r#"side="none""#];
    assert_eq!(sum(&page, "sluicegate_outcomes_total", &complete), 1);
    let blocked = "sluicegate_blocked_on_integration_seconds_total";
    assert!(real_sum(&page, blocked, &[api]) > 0.0);
}

#[tokio::test]
async fn an_operator_can_end_a_stream_and_its_record_says_so() {
    let backend = Backend::start().await;
    let document = titled("Ended", &proxy("/s", backend.address, STREAM));
    let gateway = Gateway::start("", &document);
    let admin = gateway.admin();
    let mut client = Client::connect(gateway.address).await;
    client.send("GET /s HTTP/1.1\r\nHost: a\r\n\r\n").await;
    let (mut conn, _) = backend.request().await;
    conn.write(format!("{CHUNKED}2\r\nhi\r\n")).await;
    client.head().await;
    client.chunk().await;
    let id = live(admin, "Ended", 1).await[0]["id"].clone();
    let id = id.as_str().unwrap();
    // Its beginning will do, but not less of it than `sluicegate top` shows.
    let ask = format!("DELETE /streams/{}", &id[..7]);
    assert_eq!(status(&call(admin, &ask, "", "").await.0), 404);
    let ask = format!("DELETE /streams/{}", &id[..8]);
    assert_eq!(status(&call(admin, &ask, "", "").await.0), 202);
    client.is_closed().await;
    conn.is_closed().await;
    assert_eq!(gateway.record().await["outcome"], "terminated");
    live(admin, "Ended", 0).await;
    assert_eq!(status(&call(admin, &ask, "", "").await.0), 404);
    let labels = [
        r#"api="Ended""#,
        r#"outcome="terminated""#,
        r#"side="gateway""#,
    ];
    page_with(admin, "sluicegate_outcomes_total", &labels, 1).await;
}

#[tokio::test]
async fn a_request_that_is_ended_before_its_head_is_answered() {
    let backend = Backend::start().await;
    let document = titled("EndedEarly", &proxy("/s", backend.address, STREAM));
    let gateway = Gateway::start("", &document);
    let admin = gateway.admin();
    let mut client = Client::connect(gateway.address).await;
    client.send("GET /s HTTP/1.1\r\nHost: a\r\n\r\n").await;
    let (mut conn, _) = backend.request().await;
    let id = live(admin, "EndedEarly", 1).await[0]["id"].clone();
    let ask = format!("DELETE /streams/{}", id.as_str().unwrap());
    call(admin, &ask, "", "").await;
    let (head, body) = client.answer().await;
    assert_eq!(
        (status(&head), &*body),
        (503, r#"{"message":"Service Unavailable"}"#)
    );
    conn.is_closed().await;
    let record = gateway.record().await;
    assert_eq!(
        (&record["outcome"], &record["reason"]),
        (&json!("terminated"), &json!("terminated"))
    );
}

#[tokio::test]
async fn the_next_request_on_a_connection_is_not_ended_with_the_one_before() {
    let backend = Backend::start().await;
    let document = titled("KeptAlive", &proxy("/s", backend.address, STREAM));
    let gateway = Gateway::start("", &document);
    let admin = gateway.admin();
    let mut client = Client::connect(gateway.address).await;
    client.send("GET /s HTTP/1.1\r\nHost: a\r\n\r\n").await;
    let (mut conn, _) = backend.request().await;
    let first = live(admin, "KeptAlive", 1).await[0]["id"].clone();
    conn.write("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
        .await;
    client.answer().await;
    client.send("GET /s HTTP/1.1\r\nHost: a\r\n\r\n").await;
    assert!(conn.head().await.starts_with("GET /s"));
    let second = live(admin, "KeptAlive", 1).await[0]["id"].clone();
    assert_ne!(first, second);
    let ask = format!("DELETE /streams/{}", first.as_str().unwrap());
    assert_eq!(status(&call(admin, &ask, "", "").await.0), 404);
    conn.write("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
        .await;
    assert_eq!(client.answer().await.1, "ok");
}

#[tokio::test]
async fn what_is_told_of_the_configuration_holds_no_secret() {
    let secrets = "stageVariables: {host: s3cret-stage}";
    let settings = format!(
        "listeners: [{{address: 127.0.0.1:0}}]\nworkers: 1\naccessLog: {{path: access.log}}\n\
         apis:\n  - definition: api.yaml\n    {secrets}\n\
         functions: {{f: {{runtime: provided.al2023, codeUri: ., command: [/bin/true], environment: {{TOKEN: s3cret-env}}}}}}"
    );
    let integration = "      x-amazon-apigateway-integration:\n        type: http_proxy\n        \
        uri: http://127.0.0.1:9/a?key=s3cret-query\n        httpMethod: GET\n        \
        requestParameters: {integration.request.header.X-Key: \"'s3cret-header'\"}\n";
    let document = titled("Secrets", &format!("  /a:\n    get:\n{integration}"));
    let gateway = Gateway::from_files(&[("sluicegate.yaml", &settings), ("api.yaml", &document)]);
    let admin = gateway.admin();
    for path in ["/config", "/routes", "/routes?method=GET&path=/a"] {
        let (head, body) = get(admin, path).await;
        assert_eq!(status(&head), 200);
        assert!(!body.contains("s3cret"), "{path} tells {body}");
    }
    let config = get_json(admin, "/config").await;
    let api = &config["apis"][0];
    assert_eq!(
        (&api["name"], &api["stageVariables"]),
        (&json!("Secrets"), &json!(["host"]))
    );
    assert_eq!(api["routes"][0]["target"], "GET http://127.0.0.1:9/a?...");
    assert_eq!(api["routes"][0]["timeouts"]["idleInMillis"], 300_000);
    let environment = config["functions"]["f"]["target"]["environment"].clone();
    assert!(environment.as_array().unwrap().contains(&json!("TOKEN")));
}

#[tokio::test]
async fn routes_are_explained_as_on_the_command_line() {
    let backend = "127.0.0.1:9".parse().unwrap();
    let paths = proxy("/a/{id}", backend, "") + &proxy("/{proxy+}", backend, "");
    let gateway = Gateway::start("", &titled("Explained", &paths));
    let admin = gateway.admin();
    let told = get_json(admin, "/routes").await;
    assert_eq!(told["routes"].as_array().unwrap().len(), 2);
    let told = get_json(admin, "/routes?method=post&path=/a/7&host=x.example").await;
    assert_eq!(
        (&told["resource"], &told["resourceMethod"], &told["host"]),
        (&json!("/a/{id}"), &json!("ANY"), &json!("x.example"))
    );
    let verdicts: Vec<&Value> = told["candidates"]
        .as_array()
        .unwrap()
        .iter()
        .map(|it| &it["verdict"])
        .collect();
    assert_eq!(verdicts, ["wins", "beaten"]);
    let lines = told["explanation"].as_array().unwrap();
    assert!(
        lines.contains(&json!("  path parameter id = 7")),
        "{lines:?}"
    );
    for bad in [
        "/routes?method=GET",
        "/routes?path=a",
        "/routes?method=%20&path=/",
    ] {
        assert_eq!(status(&get(admin, bad).await.0), 400, "{bad}");
    }
}

#[tokio::test]
async fn health_is_told_to_anybody_and_the_rest_only_to_whoever_may_know() {
    let gateway = Gateway::streaming("127.0.0.1:9".parse().unwrap());
    let admin = gateway.admin();
    let rebound = "GET /config HTTP/1.1\r\nHost: rebound.example\r\n\r\n";
    let mut client = Client::connect(admin).await;
    client.send(rebound).await;
    assert_eq!(status(&client.answer().await.0), 403);
    client
        .send("GET /metrics HTTP/1.1\r\nHost: sluicegate:9901\r\n\r\n")
        .await;
    assert_eq!(status(&client.answer().await.0), 200);
    let origin = "Origin: http://evil.example\r\n";
    assert_eq!(status(&call(admin, "POST /drain", origin, "").await.0), 403);
    let (head, _) = call(admin, "POST /config", "", "").await;
    assert_eq!((status(&head), header(&head, "allow")), (405, Some("GET")));
    let (head, _) = get(admin, "/drain").await;
    assert_eq!((status(&head), header(&head, "allow")), (405, Some("POST")));
    assert_eq!(status(&get(admin, "/nothing").await.0), 404);
    let ready = get_json(admin, "/readyz").await;
    assert_eq!(
        (&ready["ready"], &ready["phase"]),
        (&json!(true), &json!("running"))
    );
    assert_eq!(get(admin, "/readyz").await.1, "ready\n");
    gateway.conductor().advance(Phase::Unready);
    assert_eq!(status(&get(admin, "/readyz").await.0), 503);
    assert_eq!(get_json(admin, "/readyz").await["phase"], "unready");
    let page = get(admin, "/metrics").await.1;
    assert_eq!(sum(&page, "sluicegate_ready", &[]), 0);
}

#[tokio::test]
async fn whoever_runs_the_gateway_is_asked_to_drain_it() {
    let gateway = Gateway::streaming("127.0.0.1:9".parse().unwrap());
    let admin = gateway.admin();
    assert_eq!(status(&call(admin, "POST /drain", "", "").await.0), 202);
    within(gateway.conductor().asked_to_stop()).await;
}

#[tokio::test]
async fn targets_and_pooled_connections_are_told() {
    let backend = Backend::start()
        .await
        .always("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
    let settings =
        format!("vpcLinks: {{seen: {{targets: [\"http://{backend}\", \"http://127.0.0.1:9\"]}}}}");
    let more = "connectionType: VPC_LINK\nconnectionId: seen";
    let document = titled("Targets", &proxy("/{proxy+}", backend, more));
    let gateway = Gateway::start(&settings, &document);
    let admin = gateway.admin();
    Client::get(gateway.address, "/x").await;
    let page = get(admin, "/metrics").await.1;
    let link = r#"vpc_link="seen""#;
    assert_eq!(sum(&page, "sluicegate_target_available", &[link]), 2);
    let own = format!("target=\"http://{backend}\"");
    assert_eq!(sum(&page, "sluicegate_target_healthy", &[link, &own]), 1);
    assert!(sum(&page, "sluicegate_upstream_connections_opened_total", &[]) >= 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_of_functions_without_an_api_are_counted_as_theirs() {
    let url = ", functionUrlConfig: {invokeMode: RESPONSE_STREAM}";
    let gateway = Gateway::with_functions(&["counted"], url);
    let admin = gateway.admin();
    let ask = |path: &str| {
        let body =
            json!({"do": [["stream", "text/plain"], ["chunk", "a"], ["wait", "go"], ["end"]]});
        let body = body.to_string();
        let length = body.len();
        format!("POST {path} HTTP/1.1\r\nHost: test\r\nContent-Length: {length}\r\n\r\n{body}")
    };
    let mut client = Client::connect(gateway.address).await;
    client.send(ask("/lambda-url/counted/any/path")).await;
    client.head().await;
    let by_url = [r#"resource="/lambda-url/counted",method="ANY""#];
    let open = "sluicegate_streams_open";
    let page = get(admin, "/metrics").await.1;
    assert_eq!(sum(&page, open, &by_url), 1);
    let live = get_json(admin, "/streams").await;
    let path = "/lambda-url/counted/any/path";
    let streams = live["streams"].as_array().unwrap();
    let own = streams.iter().find(|stream| stream["path"] == path);
    assert_eq!(own.unwrap()["mode"], "STREAMED");
    gateway.let_go("go");
    assert_eq!(client.chunk().await, b"a");
    assert_eq!(client.chunk().await, b"");
    let invoke = ask("/2015-03-31/functions/counted/invocations");
    let (head, _) = Client::ask(gateway.functions(), &invoke).await;
    assert_eq!(status(&head), 200);
    gateway.records(2).await;
    let page = get(admin, "/metrics").await.1;
    let by_invoke = [r#"resource="/functions/counted/invocations",method="POST""#];
    assert_eq!(sum(&page, open, &by_url), 0);
    for labels in [by_url, by_invoke] {
        assert_eq!(
            sum(&page, "sluicegate_requests_total", &labels),
            1,
            "{labels:?}"
        );
    }
}
