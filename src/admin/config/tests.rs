use std::{collections::BTreeSet, fs, path::Path};

use super::*;
use crate::config::{build::Overrides, load, render::render, schema::settings_schema};

/// Where a mapping of the settings is told of `SETTINGS`, and its keys that aren't told there.
type Told = (
    &'static str,
    &'static [&'static str],
    &'static [&'static str],
);

/// By the names of the schema's definitions; the settings themselves have none.
const TOLD: &[Told] = &[
    // Each route has its own.
    ("", &[""], &["defaults"]),
    ("Listener", &["/listeners/0"], &[]),
    ("Tls", &["/listeners/0/tls"], &[]),
    (
        "MutualTls",
        &["/listeners/0/tls/mutualTlsAuthentication"],
        &[],
    ),
    (
        "Certificate",
        &[
            "/listeners/0/tls/certificates/0",
            "/apis/0/clientCertificate",
        ],
        &[],
    ),
    ("Admin", &["/admin"], &[]),
    // What documents are read with is in the routes that came of them.
    (
        "Api",
        &["/apis/0"],
        &["importBasePath", "bindings", "defaults"],
    ),
    ("Defaults", &["/apis/0/routes/1"], &[]),
    ("Stream", &["/apis/0/routes/1/stream"], &[]),
    ("Timeouts", &["/apis/0/routes/1/timeouts"], &[]),
    ("Limits", &["/apis/0/routes/1/limits"], &[]),
    ("LambdaAnswers", &["/apis/0/routes/1/lambda"], &[]),
    // The names are among those of `environment`.
    (
        "Function",
        &[
            "/functions/here",
            "/functions/here/target",
            "/functions/there/target",
        ],
        &["passEnvironment"],
    ),
    ("FunctionUrl", &["/functions/here/functionUrlConfig"], &[]),
    ("Cors", &["/functions/here/functionUrlConfig/cors"], &[]),
    // The first two are told of listeners, the last of each function that is called on AWS.
    (
        "Lambda",
        &["/lambda"],
        &["address", "onListeners", "profile"],
    ),
    ("VpcLink", &["/vpcLinks/link"], &[]),
    ("HealthCheck", &["/vpcLinks/link/healthCheck"], &[]),
    ("AccessLog", &["/accessLog", "/apis/0/accessLog"], &[]),
    ("Tracing", &["/tracing"], &[]),
    ("Http", &["/http"], &[]),
    ("Shutdown", &["/shutdown"], &[]),
];

const SETTINGS: &str = r#"
listeners:
  - address: 127.0.0.1:8443
    proxyProtocol: true
    tls:
      certificates: [{certificate: own.pem, privateKey: own.key}]
      unknownServerName: refuse
      securityPolicy: TLS_1_3
      mutualTlsAuthentication: {truststore: own.pem}
admin: {address: 127.0.0.1:9901}
watch: true
accessLog: {path: none, format: $context.requestId}
http: {trustedHops: 2}
tracing: {otlpEndpoint: "http://127.0.0.1:4318/s3cret"}
vpcLinks:
  link: {targets: ["http://127.0.0.1:9"], healthCheck: {path: "/up?key=s3cret"}}
functions:
  here:
    runtime: provided
    command: [/bin/true, s3cret]
    environment: {TOKEN: s3cret}
    functionUrlConfig: {cors: {maxAge: 5}}
  there: {endpoint: "http://127.0.0.1:9"}
apis:
  - definition: api.yaml
    stageVariables: {token: s3cret}
    clientCertificate: {certificate: own.pem, privateKey: own.key}
    accessLog: {path: stdout, format: clf}
"#;

const DOCUMENT: &str = r#"
openapi: 3.0.1
info: {title: Shop}
paths:
  /a:
    get:
      x-amazon-apigateway-integration:
        type: http_proxy
        httpMethod: GET
        uri: http://127.0.0.1:9/a?key=s3cret
        requestParameters: {integration.request.header.X-Key: "'s3cret'"}
  /b:
    get:
      x-amazon-apigateway-integration:
        type: aws_proxy
        httpMethod: POST
        responseTransferMode: STREAM
        uri: arn:aws:apigateway:eu-west-3:lambda:path/2021-11-15/functions/arn:aws:lambda:eu-west-3:123456789012:function:here/response-streaming-invocations
"#;

/// What is told of `SETTINGS`, and the private key that stands in its files.
fn sample(directory: &Path) -> (Value, String) {
    let own = rcgen::generate_simple_self_signed(["a.example".to_owned()]).unwrap();
    let key = own.signing_key.serialize_pem();
    fs::create_dir_all(directory).unwrap();
    for (name, text) in [
        ("sluicegate.yaml", SETTINGS),
        ("api.yaml", DOCUMENT),
        ("own.pem", &own.cert.pem()),
        ("own.key", &key),
    ] {
        fs::write(directory.join(name), text).unwrap();
    }
    let loaded = load(&directory.join("sluicegate.yaml"), &Overrides::default());
    let findings = render(&loaded.diagnostics, false);
    (
        all(&loaded.model.expect(&findings), &Memory::default()),
        key,
    )
}

fn keys(value: &Value) -> BTreeSet<&str> {
    let members = value.as_object().into_iter().flatten();
    members.map(|(key, _)| key.as_str()).collect()
}

#[test]
fn every_setting_is_told_and_no_secret() {
    let directory = std::env::temp_dir().join(format!("sluicegate-told-{}", std::process::id()));
    let (told, key) = sample(&directory);
    fs::remove_dir_all(&directory).unwrap();
    let schema = settings_schema();
    let definitions = schema["$defs"].as_object().unwrap();
    let definitions = definitions
        .iter()
        .map(|(name, definition)| (name.as_str(), definition));
    for (name, definition) in definitions.chain([("", &schema)]) {
        let settings = keys(&definition["properties"]);
        let is_left_out = name == "Tracing" && !cfg!(feature = "otel");
        if settings.is_empty() || is_left_out {
            continue;
        }
        let row = TOLD.iter().find(|(own, ..)| *own == name);
        let (_, places, others) = row.unwrap_or_else(|| panic!("where is {name} told?"));
        let places = places.iter().map(|place| {
            let value = told.pointer(place);
            value.unwrap_or_else(|| panic!("nothing is at {place}: {told:#}"))
        });
        let here: BTreeSet<&str> = places.flat_map(keys).collect();
        for key in settings {
            assert_ne!(
                here.contains(key),
                others.contains(&key),
                "{name}.{key}: {told:#}"
            );
        }
    }
    let text = told.to_string();
    assert!(!text.contains("s3cret"), "{told:#}");
    assert!(!key.lines().any(|line| text.contains(line)), "{told:#}");
}

#[test]
fn settings_are_told_as_they_are_meant() {
    let directory = std::env::temp_dir().join(format!("sluicegate-meant-{}", std::process::id()));
    let (told, _) = sample(&directory);
    fs::remove_dir_all(&directory).unwrap();
    let path = |name: &str| json!(directory.join(name).to_string_lossy());
    for (place, expected) in [
        ("/watch", json!(true)),
        ("/listeners/0/proxyProtocol", json!(true)),
        ("/listeners/0/tls/unknownServerName", json!("refuse")),
        ("/listeners/0/tls/securityPolicy", json!("TLS_1_3")),
        (
            "/listeners/0/tls/certificates/0/privateKey",
            path("own.key"),
        ),
        (
            "/listeners/0/tls/certificates/0/names",
            json!(["a.example"]),
        ),
        (
            "/listeners/0/tls/mutualTlsAuthentication/truststore",
            path("own.pem"),
        ),
        (
            "/accessLog",
            json!({ "path": "none", "format": "$context.requestId" }),
        ),
        (
            "/apis/0/accessLog",
            json!({ "path": "stdout", "format": "clf" }),
        ),
        ("/apis/0/clientCertificate/certificate", path("own.pem")),
        ("/http/trustedHops", json!(2)),
        ("/http/headerBytes", json!(10_240)),
        ("/functions/here/functionUrlConfig/cors/maxAge", json!(5)),
        ("/functions/here/target/idleTimeout", json!(300)),
        (
            "/functions/there/target/endpoint",
            json!("http://127.0.0.1:9"),
        ),
        ("/apis/0/routes/1/lambda/functionErrorStatus", json!(500)),
    ] {
        assert_eq!(told.pointer(place), Some(&expected), "{place}: {told:#}");
    }
}
