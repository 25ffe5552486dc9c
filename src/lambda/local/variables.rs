//! The environment variables of a local function.
//!
//! Nothing of the gateway's own environment is passed on but what the model says. Lambda's reserved variables are always
//! its own; all others are defaults that the function's settings go before (developer guide, "Defined runtime
//! environment variables").

use std::{collections::BTreeMap, path::Path};

use crate::{
    config::model::{Function, LocalFunction, Runtime},
    types::{clock::Wall, ids::random},
};

/// The version of every local function.
pub(super) const VERSION: &str = "$LATEST";

/// The environment of a function's processes, which reach the Runtime API on `port` of the loopback address.
pub(super) fn variables(
    function: &Function,
    local: &LocalFunction,
    port: u16,
    runtime_directory: Option<&Path>,
) -> BTreeMap<String, String> {
    let mut variables = defaults(local);
    let said = local.environment.iter();
    variables.extend(said.map(|(name, value)| (name.to_string(), value.to_string())));
    variables.extend(reserved(function, local, port));
    if let Some(directory) = runtime_directory {
        variables.insert("LAMBDA_RUNTIME_DIR".into(), directory.display().to_string());
    }
    variables
}

/// What settings may replace.
fn defaults(local: &LocalFunction) -> BTreeMap<String, String> {
    let root = local.directory.display();
    let mut variables = BTreeMap::from([
        ("LANG".into(), "en_US.UTF-8".into()),
        ("PATH".into(), "/usr/local/bin:/usr/bin:/bin".into()),
        ("TZ".into(), ":UTC".into()),
        ("AWS_XRAY_CONTEXT_MISSING".into(), "LOG_ERROR".into()),
        ("AWS_LAMBDA_LOG_FORMAT".into(), "Text".into()),
        ("NODE_PATH".into(), format!("{root}/node_modules:{root}")),
        ("PYTHONPATH".into(), root.to_string()),
    ]);
    if local.runtime == Runtime::Python {
        // Lines are logged when they are written, not when some kilobytes of them have come together.
        variables.insert("PYTHONUNBUFFERED".into(), "1".into());
    }
    variables
}

/// What settings may not replace.
fn reserved(function: &Function, local: &LocalFunction, port: u16) -> BTreeMap<String, String> {
    let name = &function.name;
    let mut variables = BTreeMap::from([
        ("_HANDLER".into(), local.handler.to_string()),
        ("AWS_LAMBDA_RUNTIME_API".into(), format!("127.0.0.1:{port}")),
        (
            "LAMBDA_TASK_ROOT".into(),
            local.directory.display().to_string(),
        ),
        ("AWS_REGION".into(), local.region.to_string()),
        ("AWS_DEFAULT_REGION".into(), local.region.to_string()),
        ("AWS_LAMBDA_FUNCTION_NAME".into(), name.to_string()),
        ("AWS_LAMBDA_FUNCTION_VERSION".into(), VERSION.into()),
        (
            "AWS_LAMBDA_FUNCTION_MEMORY_SIZE".into(),
            local.memory_size.to_string(),
        ),
        ("AWS_LAMBDA_INITIALIZATION_TYPE".into(), "on-demand".into()),
        (
            "AWS_LAMBDA_LOG_GROUP_NAME".into(),
            format!("/aws/lambda/{name}"),
        ),
        ("AWS_LAMBDA_LOG_STREAM_NAME".into(), log_stream(Wall::now())),
    ]);
    if local.runtime != Runtime::Provided {
        let runtime = &local.runtime_name;
        variables.insert("AWS_EXECUTION_ENV".into(), format!("AWS_Lambda_{runtime}"));
    }
    if local.per_environment > 1 {
        variables.insert(
            "AWS_LAMBDA_MAX_CONCURRENCY".into(),
            local.per_environment.to_string(),
        );
    }
    variables
}

/// `2026/11/22/[$LATEST]{32 hex digits}`.
fn log_stream(now: Wall) -> String {
    let mut date = Vec::new();
    now.write_rfc3339(&mut date);
    date.truncate("2026-11-22".len());
    let date = String::from_utf8_lossy(&date).replace('-', "/");
    format!("{date}/[{VERSION}]{:016x}{:016x}", random(), random())
}

#[cfg(test)]
mod tests {
    use super::{super::testing::function, *};

    fn of(local: &LocalFunction) -> BTreeMap<String, String> {
        variables(&function(local.clone()), local, 4321, None)
    }

    #[test]
    fn settings_replace_defaults_but_nothing_reserved() {
        let mut local = super::super::testing::local();
        local.environment = [
            ("TZ", "Europe/Berlin"),
            ("AWS_REGION", "mars"),
            ("OWN", "1"),
        ]
        .map(|(name, value)| (name.into(), value.into()))
        .to_vec();
        let variables = of(&local);
        assert_eq!(variables["TZ"], "Europe/Berlin");
        assert_eq!(variables["OWN"], "1");
        assert_eq!(variables["AWS_REGION"], "eu-west-3");
        assert_eq!(variables["AWS_LAMBDA_RUNTIME_API"], "127.0.0.1:4321");
        assert_eq!(variables["AWS_LAMBDA_FUNCTION_VERSION"], "$LATEST");
        assert_eq!(variables["_HANDLER"], "index.handler");
    }

    #[test]
    fn only_managed_runtimes_are_told_which_one_they_are() {
        let mut local = super::super::testing::local();
        assert!(!of(&local).contains_key("AWS_EXECUTION_ENV"));
        local.runtime = Runtime::Node;
        local.runtime_name = "nodejs20.x".into();
        assert_eq!(of(&local)["AWS_EXECUTION_ENV"], "AWS_Lambda_nodejs20.x");
    }

    #[test]
    fn only_environments_that_take_several_invocations_are_told_how_many() {
        let mut local = super::super::testing::local();
        assert!(!of(&local).contains_key("AWS_LAMBDA_MAX_CONCURRENCY"));
        local.per_environment = 8;
        assert_eq!(of(&local)["AWS_LAMBDA_MAX_CONCURRENCY"], "8");
    }

    #[test]
    fn a_log_stream_is_named_as_on_aws() {
        let name = log_stream(Wall(1_795_342_507_123));
        assert!(name.starts_with("2026/11/22/[$LATEST]"), "{name}");
        assert_eq!(name.len(), "2026/11/22/[$LATEST]".len() + 32);
    }
}
