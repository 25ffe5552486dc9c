//! Acceptance items 58 to 74: paths, hosts and where they lead.

use crate::support::{Backend, Client, Gateway, document, proxy, status};

#[tokio::test]
async fn items_58_to_66_paths_are_data_and_pass_unchanged() {
    let backend = Backend::start().await;
    let gateway = Gateway::streaming(backend.address);
    for path in [
        "/a%2fb", "/a%252e", "/a/../b", "/%c0%af", "/a/..;/b", "/a//b", "/~x/(y)", "/a/%2e/b",
        "/a'%22|b",
    ] {
        let mut client = Client::connect(gateway.address).await;
        client
            .send(format!(
                "GET {path} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n"
            ))
            .await;
        let (mut conn, head) = backend.request().await;
        assert!(
            head.starts_with(&format!("GET {path} HTTP/1.1\r\n")),
            "{path}: {head}"
        );
        conn.write("HTTP/1.1 204 X\r\nConnection: close\r\n\r\n")
            .await;
        client.head().await;
    }
    for path in [
        "/..",
        "/a/../..",
        "/%2e%2e/a",
        "/.%2E/a",
        "/a\\b",
        "/a%00",
        "/a%",
        "/a%zz",
        "/a%0",
    ] {
        assert_eq!(
            status(&Client::get(gateway.address, path).await.0),
            400,
            "{path}"
        );
    }
    assert!(backend.is_left_alone().await);
}

#[tokio::test]
async fn item_65_extra_slashes_never_change_the_authority() {
    let backend = Backend::start().await;
    let gateway = Gateway::streaming(backend.address);
    let mut client = Client::connect(gateway.address).await;
    client
        .send("GET //evil.example/x HTTP/1.1\r\nHost: test\r\n\r\n")
        .await;
    let (_conn, head) = backend.request().await;
    assert!(
        head.starts_with("GET /evil.example/x HTTP/1.1\r\n"),
        "{head}"
    );
}

#[tokio::test]
async fn a_greedy_value_cannot_climb_out_of_the_integrations_path() {
    let backend = Backend::start().await;
    let uri = format!("http://{}/files/{{rest}}", backend.address);
    let api = document(&format!(
        "  /public/{{rest+}}:\n    get:\n      x-amazon-apigateway-integration:\n        type: http_proxy\n        \
         uri: {uri}\n        requestParameters: {{integration.request.path.rest: method.request.path.rest}}\n"
    ));
    let gateway = Gateway::start("", &api);
    // The request's own path stays below the root, but the value would leave `/files`.
    for path in [
        "/public/../secret",
        "/public/a/../../secret",
        "/public/%2e%2e/secret",
    ] {
        let (head, _) = Client::get(gateway.address, path).await;
        assert_eq!(status(&head), 400, "{path}");
    }
    assert!(backend.is_left_alone().await);
}

#[tokio::test]
async fn item_74_hosts_and_base_paths_choose_the_api() {
    let first = Backend::start()
        .await
        .always("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nfirst");
    let second = Backend::start()
        .await
        .always("HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nsecond");
    let settings = "workers: 1\nlisteners: [{address: 127.0.0.1:0}]\naccessLog: {path: access.log}\napis:\n\
        - {definition: one.yaml, domains: [api.example.com], basePath: /v1, stage: prod}\n\
        - {definition: two.yaml, domains: ['*.example.com']}\n";
    let gateway = Gateway::from_files(&[
        ("sluicegate.yaml", settings),
        ("one.yaml", &document(&proxy("/{proxy+}", first, ""))),
        ("two.yaml", &document(&proxy("/{proxy+}", second, ""))),
    ]);
    for (host, path, code, body) in [
        ("api.example.com", "/v1/x", 200, "first"),
        ("API.example.com:8080", "//v1/x", 200, "first"),
        ("api.example.com", "/v2/x", 200, "second"),
        ("other.example.com", "/v1/x", 200, "second"),
        ("example.com", "/v1/x", 403, r#"{"message":"Forbidden"}"#),
        ("evil.com", "/v1/x", 403, r#"{"message":"Forbidden"}"#),
        (
            "api.example.com",
            "/v1",
            403,
            r#"{"message":"Missing Authentication Token"}"#,
        ),
        (
            "api.example.com",
            "/v1/../x",
            400,
            r#"{"message":"Bad Request"}"#,
        ),
    ] {
        let (head, got) = Client::ask(
            gateway.address,
            &format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n"),
        )
        .await;
        assert_eq!((status(&head), got.as_str()), (code, body), "{host}{path}");
    }
    let records = gateway.records(8).await;
    assert_eq!(
        (&records[0]["stage"], &records[0]["resourcePath"]),
        (&"prod".into(), &"/{proxy+}".into())
    );
    assert_eq!(records[4]["apiId"], "-");
}
