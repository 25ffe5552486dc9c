//! Gateway responses: AWS's own, and what a document makes of them.

use crate::support::{Backend, Client, Gateway, document, header, proxy, status};

const CUSTOM: &str = r#"
x-amazon-apigateway-gateway-responses:
  MISSING_AUTHENTICATION_TOKEN:
    statusCode: 404
    responseParameters:
      gatewayresponse.header.X-Static: "'fixed'"
      gatewayresponse.header.X-Echo: method.request.header.X-In
      gatewayresponse.header.X-Stage: context.stage
    responseTemplates:
      application/json: '{"m": $context.error.messageString, "id": "$context.requestId", "path": "$context.path"}'
      text/plain: 'nothing at $context.path ($context.error.responseType)'
  INTEGRATION_FAILURE:
    responseTemplates: {application/json: '{"custom": true}'}
  DEFAULT_5XX:
    statusCode: 599
    responseParameters: {gatewayresponse.header.X-Default: "'5xx'"}
  REQUEST_TOO_LARGE: {statusCode: 418}
"#;

async fn custom() -> (Backend, Gateway) {
    let backend = Backend::start().await;
    let api = document(&proxy(
        "/known",
        backend.address,
        "x-sluicegate-limits: {requestBodyBytes: 5}",
    ));
    let missing = "  /missing:\n    get: {}\n";
    let gateway = Gateway::start("", &(api + missing + CUSTOM));
    (backend, gateway)
}

#[tokio::test]
async fn awss_own_bodies_and_headers() {
    let (_, gateway) = (
        Backend::start().await,
        Gateway::start("", &document("  /a:\n    get: {}\n")),
    );
    let (head, body) = Client::get(gateway.address, "/nowhere").await;
    assert_eq!(
        (status(&head), body.as_str()),
        (403, r#"{"message":"Missing Authentication Token"}"#)
    );
    assert_eq!(
        header(&head, "x-amzn-errortype"),
        Some("MissingAuthenticationTokenException")
    );
    assert_eq!(header(&head, "content-type"), Some("application/json"));
    assert_eq!(header(&head, "x-amzn-requestid").map(str::len), Some(36));
    assert!(header(&head, "x-amz-apigw-id").unwrap().ends_with('='));
    assert_eq!(header(&head, "x-amzn-trace-id"), None);
    // A method without an integration.
    let (head, body) = Client::get(gateway.address, "/a").await;
    assert_eq!(
        (status(&head), body.as_str()),
        (500, r#"{"message": "Internal server error"}"#)
    );
}

#[tokio::test]
async fn a_type_can_be_changed_in_status_headers_and_body() {
    let (_, gateway) = custom().await;
    let request = |accept: &str| {
        format!("GET /no\"where HTTP/1.1\r\nHost: test\r\nX-In: in\r\nAccept: {accept}\r\n\r\n")
    };
    let (head, body) = Client::ask(gateway.address, &request("*/*")).await;
    assert_eq!(status(&head), 404);
    assert_eq!(
        (header(&head, "x-static"), header(&head, "x-echo")),
        (Some("fixed"), Some("in"))
    );
    assert_eq!(header(&head, "x-stage"), Some("default"));
    let body: serde_json::Value = serde_json::from_str(&body).unwrap();
    assert_eq!(
        (&body["m"], &body["path"]),
        (&"Missing Authentication Token".into(), &"/no\"where".into())
    );
    assert_eq!(body["id"].as_str(), header(&head, "x-amzn-requestid"));
    let (head, body) = Client::ask(gateway.address, &request("text/plain")).await;
    assert_eq!(header(&head, "content-type"), Some("text/plain"));
    assert_eq!(body, "nothing at /no\"where (MISSING_AUTHENTICATION_TOKEN)");
}

#[tokio::test]
async fn defaults_reach_only_types_without_a_customisation() {
    let (backend, gateway) = custom().await;
    // API_CONFIGURATION_ERROR falls back to DEFAULT_5XX.
    let (head, _) = Client::get(gateway.address, "/missing").await;
    assert_eq!(
        (status(&head), header(&head, "x-default")),
        (599, Some("5xx"))
    );
    // Recorded: a customised INTEGRATION_FAILURE without a status answers 500.
    let mut client = Client::connect(gateway.address).await;
    client
        .send("GET /known HTTP/1.1\r\nHost: test\r\n\r\n")
        .await;
    drop(backend.request().await);
    let (head, body) = client.answer().await;
    assert_eq!(
        (status(&head), body.as_str(), header(&head, "x-default")),
        (500, r#"{"custom": true}"#, None)
    );
    // REQUEST_TOO_LARGE can't be changed.
    let large = "POST /known HTTP/1.1\r\nHost: test\r\nContent-Length: 6\r\n\r\nhello!";
    assert_eq!(status(&Client::ask(gateway.address, large).await.0), 413);
}

#[tokio::test]
async fn checks_that_arent_enforced_fail_closed() {
    let backend = Backend::start().await;
    let operation = |path: &str, more: &str| {
        format!(
            "  {path}:\n    get:\n{more}      x-amazon-apigateway-integration: {{type: http_proxy, uri: \"http://{}/\"}}\n",
            backend.address
        )
    };
    let schemes = "components:\n  securitySchemes:\n    auth: {type: apiKey, name: Authorization, in: header, \
        x-amazon-apigateway-authtype: custom, x-amazon-apigateway-authorizer: {type: token, authorizerUri: x}}\n    \
        key: {type: apiKey, name: x-api-key, in: header}\n    \
        sig: {type: apiKey, name: Authorization, in: header, x-amazon-apigateway-authtype: awsSigv4}\n";
    let paths = [
        operation("/auth", "      security: [{auth: []}]\n"),
        operation("/key", "      security: [{key: []}]\n"),
        operation("/sig", "      security: [{sig: []}]\n"),
        operation("/iam", "      x-amazon-apigateway-auth: {type: AWS_IAM}\n"),
        operation("/unknown", "      security: [{nobody: []}]\n"),
        operation(
            "/open",
            "      security: [{auth: []}]\n      x-sluicegate-unprotected: true\n",
        ),
        operation("/free", "      security: []\n"),
    ];
    let gateway = Gateway::start("", &(document(&paths.concat()) + schemes));
    for path in ["/auth", "/key", "/sig", "/iam", "/unknown"] {
        let (head, body) = Client::get(gateway.address, path).await;
        assert_eq!(
            (status(&head), body.as_str()),
            (500, r#"{"message":null}"#),
            "{path}"
        );
        assert_eq!(
            header(&head, "x-amzn-errortype"),
            Some("AuthorizerConfigurationException")
        );
    }
    assert!(backend.is_left_alone().await);
    for path in ["/open", "/free"] {
        let mut client = Client::connect(gateway.address).await;
        client
            .send(format!("GET {path} HTTP/1.1\r\nHost: test\r\n\r\n"))
            .await;
        let (mut conn, _) = backend.request().await;
        conn.write("HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
            .await;
        assert_eq!(status(&client.head().await), 200, "{path}");
    }
}
