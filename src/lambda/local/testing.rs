//! Models for unit tests.

use std::time::Duration;

use crate::config::model::{Function, FunctionTarget, LocalFunction, Runtime};

pub(super) fn local() -> LocalFunction {
    LocalFunction {
        runtime: Runtime::Provided,
        runtime_name: "provided".into(),
        command: Vec::new(),
        extensions: Vec::new(),
        directory: std::env::temp_dir(),
        handler: "index.handler".into(),
        environment: Vec::new(),
        timeout: Duration::from_secs(3),
        init_timeout: Duration::from_secs(3),
        memory_size: 128,
        most_environments: 1,
        most_invocations: None,
        per_environment: 1,
        idle: Duration::from_secs(60),
        watch: false,
        region: "eu-west-3".into(),
    }
}

pub(super) fn function(local: LocalFunction) -> Function {
    Function {
        name: "chat".into(),
        arn: "arn:aws:lambda:eu-west-3:123456789012:function:chat".into(),
        target: FunctionTarget::Local(Box::new(local)),
        url: None,
    }
}
