//! Parameter mappings and URI templates: every source to every place, and what can't be mapped.

use crate::support::{Backend, Client, Gateway, document, header, headers, status};

/// A gateway with one POST on `/things/{id}` whose integration has these request parameters.
fn gateway(backend: &Backend, uri: &str, parameters: &[&str], more: &str) -> Gateway {
    let parameters: String = parameters
        .iter()
        .map(|line| format!("          integration.request.{line}\n"))
        .collect();
    let api = document(&format!(
        "  /things/{{id}}:\n    post:\n      parameters:\n        - {{name: q, in: query}}\n        - {{name: m, in: query}}\n        \
         - {{name: X-In, in: header}}\n      x-amazon-apigateway-integration:\n        type: http_proxy\n        \
         httpMethod: PUT\n        uri: http://{}{uri}\n        requestParameters:\n{parameters}{more}",
        backend.address
    ));
    let settings = "listeners: [{address: 127.0.0.1:0}]\naccessLog: {path: access.log}\n\
        apis: [{definition: api.yaml, stage: prod, stageVariables: {color: dark blue, host: h}}]\n";
    Gateway::from_files(&[("sluicegate.yaml", settings), ("api.yaml", &api)])
}

async fn seen(
    backend: &Backend,
    gateway: &Gateway,
    path: &str,
    fields: &str,
    body: &str,
) -> String {
    let mut client = Client::connect(gateway.address).await;
    let length = body.len();
    client
        .send(format!(
            "POST {path} HTTP/1.1\r\nHost: test\r\n{fields}Content-Length: {length}\r\n\r\n{body}"
        ))
        .await;
    let (mut conn, head) = backend.request().await;
    assert_eq!(conn.take(length).await, body.as_bytes());
    conn.write("HTTP/1.1 204 X\r\nConnection: close\r\n\r\n")
        .await;
    client.head().await;
    head
}

#[tokio::test]
async fn every_source_reaches_every_place() {
    let backend = Backend::start().await;
    let gateway = gateway(
        &backend,
        "/base/{key}?own=1",
        &[
            "path.key: method.request.path.id",
            "querystring.stage: context.stage",
            "querystring.many: method.request.multivaluequerystring.m",
            "querystring.color: stageVariables.color",
            "querystring.none: method.request.querystring.absent",
            "header.X-Out: method.request.header.X-In",
            "header.X-Query: method.request.querystring.q",
            "header.X-Static: \"'fixed value'\"",
            "header.X-User: method.request.body.user.name",
            "header.X-Id: context.requestId",
        ],
        "",
    );
    let fields = "X-In: first\r\nX-In: last\r\nX-Static: client\r\n";
    let body = r#"{"user": {"name": "Ada"}}"#;
    let head = seen(
        &backend,
        &gateway,
        "/things/a%2Fb?q=J%20D&m=1&m=2",
        fields,
        body,
    )
    .await;
    let target = head.split(' ').nth(1).unwrap();
    assert_eq!(
        target,
        "/base/a%2Fb?own=1&q=J%20D&m=1&m=2&stage=prod&many=1&many=2&color=dark%20blue"
    );
    assert!(head.starts_with("PUT "), "the integration's method");
    assert_eq!(header(&head, "x-out"), Some("last"));
    assert_eq!(header(&head, "x-query"), Some("J D"));
    assert_eq!(
        headers(&head, "x-static").collect::<Vec<_>>(),
        ["fixed value"]
    );
    assert_eq!(header(&head, "x-user"), Some("Ada"));
    assert_eq!(header(&head, "x-id").map(str::len), Some(36));
}

#[tokio::test]
async fn values_stay_in_their_place() {
    let backend = Backend::start().await;
    let gateway = gateway(
        &backend,
        "/a/{seg}{dots}/z?x={val}",
        &[
            "path.dots: method.request.querystring.m",
            "path.seg: method.request.querystring.q",
            "path.val: method.request.header.X-In",
        ],
        "",
    );
    let head = seen(
        &backend,
        &gateway,
        "/things/1?q=up/down?y",
        "X-In: 1&b=2#c\r\n",
        "",
    )
    .await;
    assert!(
        head.starts_with("PUT /a/up%2Fdown%3Fy/z?x=1%26b%3D2%23c&q="),
        "{head}"
    );
    for path in [
        "/things/1?q=..",
        "/things/1?q=%2e%2e",
        "/things/1?q=.&m=%2e",
    ] {
        let (head, _) = Client::ask(
            gateway.address,
            &format!("POST {path} HTTP/1.1\r\nHost: test\r\n\r\n"),
        )
        .await;
        assert_eq!(status(&head), 400, "{path}");
    }
}

/// Items 71 and 73: nothing that a client maps into a header can end it, or grow without bounds.
#[tokio::test]
async fn mapped_headers_cannot_be_split() {
    let backend = Backend::start().await;
    let gateway = gateway(
        &backend,
        "/",
        &["header.X-Out: method.request.querystring.q"],
        "",
    );
    for value in ["a%0d%0aInjected:%201", "a%0ab", "a%00b"] {
        let request = format!("POST /things/1?q={value} HTTP/1.1\r\nHost: test\r\n\r\n");
        assert_eq!(
            status(&Client::ask(gateway.address, &request).await.0),
            400,
            "{value}"
        );
    }
    assert!(backend.is_left_alone().await);
    assert_eq!(gateway.records(2).await[0]["reason"], "mapping_rejected");
}

/// Recorded: these are accepted at load, and make every request a 500.
#[tokio::test]
async fn mappings_of_the_framing_poison_the_method() {
    for name in ["Content-Length", "Transfer-Encoding"] {
        let backend = Backend::start().await;
        let gateway = gateway(&backend, "/", &[&format!("header.{name}: \"'5'\"")], "");
        let (head, body) = Client::ask(
            gateway.address,
            "POST /things/1 HTTP/1.1\r\nHost: test\r\n\r\n",
        )
        .await;
        assert_eq!(
            (status(&head), body.as_str()),
            (500, r#"{"message": "Internal server error"}"#)
        );
        assert_eq!(
            header(&head, "x-amzn-errortype"),
            Some("InternalServerErrorException")
        );
    }
}

/// Recorded: a mapping brings most dropped headers back, even Host, but not Expect, TE and Proxy-Authenticate.
#[tokio::test]
async fn mapped_headers_come_back_but_for_a_few() {
    let backend = Backend::start().await;
    let names = [
        "Host",
        "Content-MD5",
        "Max-Forwards",
        "Server",
        "Trailer",
        "Upgrade",
        "WWW-Authenticate",
        "Expect",
        "TE",
        "Proxy-Authenticate",
        "Via",
    ];
    let lines: Vec<String> = names
        .iter()
        .map(|name| format!("header.{name}: \"'mapped'\""))
        .collect();
    let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
    let gateway = gateway(&backend, "/", &lines, "");
    let head = seen(&backend, &gateway, "/things/1", "", "").await;
    for name in names {
        let is_sent = !["Expect", "TE", "Proxy-Authenticate", "Via"].contains(&name);
        assert_eq!(
            headers(&head, name).any(|value| value == "mapped"),
            is_sent,
            "{name}"
        );
    }
    assert_eq!(headers(&head, "host").count(), 1);
}
