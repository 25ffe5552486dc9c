//! MOCK, Lambda's placeholder, and private integrations.

use crate::support::{Backend, Client, Gateway, document, header, proxy, status};

#[tokio::test]
async fn a_cors_mock_answers_as_people_write_it() {
    let gateway = Gateway::start(
        "",
        &document(
            r#"  /pets:
    options:
      x-amazon-apigateway-integration:
        type: mock
        requestTemplates: {application/json: '{"statusCode": 200}'}
        responses:
          default:
            statusCode: "200"
            responseParameters:
              method.response.header.Access-Control-Allow-Origin: "'*'"
              method.response.header.Access-Control-Allow-Methods: "'GET,OPTIONS'"
            responseTemplates: {application/json: ''}
"#,
        ),
    );
    let preflight = "OPTIONS /pets HTTP/1.1\r\nHost: test\r\nOrigin: https://a\r\nContent-Type: application/json\r\n\r\n";
    let (head, body) = Client::ask(gateway.address, preflight).await;
    assert_eq!((status(&head), body.as_str()), (200, ""));
    assert_eq!(header(&head, "access-control-allow-origin"), Some("*"));
    assert_eq!(
        header(&head, "access-control-allow-methods"),
        Some("GET,OPTIONS")
    );
    assert_eq!(
        (
            header(&head, "content-type"),
            header(&head, "x-amzn-trace-id")
        ),
        (Some("application/json"), None)
    );
    let record = gateway.record().await;
    assert_eq!(
        (&record["outcome"], &record["status"]),
        (&"complete".into(), &"200".into())
    );
}

#[tokio::test]
async fn a_mocks_status_chooses_its_response() {
    let gateway = Gateway::start(
        "",
        &document(
            r#"  /teapot/{kind}:
    get:
      x-amazon-apigateway-integration:
        type: MOCK
        requestTemplates: {application/json: '{"statusCode": 418}'}
        passthroughBehavior: when_no_templates
        responses:
          "4\\d{2}":
            statusCode: 418
            responseTemplates:
              application/json: '{"id": "$context.requestId", "path": "$context.path", "kind": "$method.request.path.kind"}'
          default: {statusCode: 200}
  /through:
    post:
      x-amazon-apigateway-integration:
        type: mock
        responses:
          204: {statusCode: 204}
          default: {statusCode: 200}
"#,
        ),
    );
    let (head, body) = Client::get(gateway.address, "/teapot/a%22b").await;
    assert_eq!(status(&head), 418);
    let body: serde_json::Value = serde_json::from_str(&body).unwrap();
    assert_eq!(
        (&body["path"], &body["kind"]),
        (&"/teapot/a%22b".into(), &"a%22b".into())
    );
    let other = "GET /teapot/a HTTP/1.1\r\nHost: test\r\nContent-Type: text/plain\r\n\r\n";
    assert_eq!(status(&Client::ask(gateway.address, other).await.0), 415);
    // Without a template the body passes through and chooses.
    for (body, code) in [
        (r#"{"statusCode": 204}"#, 204),
        (r#"{"statusCode": 500}"#, 200),
        ("x", 500),
        ("", 500),
    ] {
        let request = format!(
            "POST /through HTTP/1.1\r\nHost: test\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        assert_eq!(
            status(&Client::ask(gateway.address, &request).await.0),
            code,
            "{body}"
        );
    }
}

#[tokio::test]
async fn templates_that_need_vtl_are_never_emitted_as_text() {
    let gateway = Gateway::start(
        "",
        &document(
            r#"  /vtl:
    get:
      x-amazon-apigateway-integration:
        type: mock
        requestTemplates: {application/json: '{"statusCode": 200}'}
        responses: {default: {statusCode: 200, responseTemplates: {application/json: '{"a": $input.json("$")}'}}}
"#,
        ),
    );
    let (head, body) = Client::get(gateway.address, "/vtl").await;
    assert_eq!(
        (status(&head), body.as_str()),
        (500, r#"{"message": "Internal server error"}"#)
    );
}

#[tokio::test]
async fn a_vpc_link_spreads_requests_and_leaves_a_dead_target_out() {
    let alive = Backend::start()
        .await
        .always("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
    let dead = {
        let socket = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        socket.local_addr().unwrap()
    };
    let more = "connectionType: VPC_LINK\nconnectionId: link";
    let api = document(&proxy("/{proxy+}", alive, more))
        .replace(&alive.to_string(), "internal.example:81");
    let settings = format!("vpcLinks: {{link: {{targets: ['http://{dead}', 'http://{alive}']}}}}");
    let gateway = Gateway::start(&settings, &api);
    // Connecting to the dead one sends nothing, so the other one is tried: nobody notices.
    for _ in 0..20 {
        assert_eq!(status(&Client::get(gateway.address, "/x").await.0), 200);
    }
    let ended = gateway.records(20).await;
    assert!(ended.iter().all(|record| record["outcome"] == "complete"));
}

#[tokio::test]
async fn a_vpc_links_requests_keep_the_uris_host() {
    let backend = Backend::start().await;
    let more = "connectionType: VPC_LINK\nconnectionId: link";
    let api = document(&proxy("/{proxy+}", backend.address, more))
        .replace(&backend.address.to_string(), "internal.example:81");
    let settings = format!(
        "vpcLinks: {{link: {{targets: ['http://{}']}}}}",
        backend.address
    );
    let gateway = Gateway::start(&settings, &api);
    let mut client = Client::connect(gateway.address).await;
    client.send("GET /x HTTP/1.1\r\nHost: test\r\n\r\n").await;
    let (_conn, head) = backend.request().await;
    assert_eq!(header(&head, "host"), Some("internal.example:81"));
}
