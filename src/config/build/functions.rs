//! Lambda functions: where each runs, and its URL.

use std::{collections::BTreeMap, env, path::PathBuf, time::Duration};

use super::settings::Builder;
use crate::config::{
    codes::Code,
    document::settings as said,
    locate::join,
    model::{Function, FunctionTarget, LambdaFront, LocalFunction, RemoteFunction, Runtime},
    suggest::nearest,
    uri::{UriTemplate, function_name, parse_origin},
};

/// Variables of the gateway's environment that a function can hardly do without.
const PASSED_ON: [&str; 4] = ["PATH", "HOME", "LANG", "TZ"];
/// Families of runtimes, for the ones that are misspelt.
const RUNTIMES: [&str; 3] = ["nodejs20.x", "python3.11", "provided"];

impl Builder<'_> {
    /// Region and account of functions.
    pub(super) fn lambda_front(&mut self) -> LambdaFront {
        let said = &self.settings.lambda;
        let from_environment = || {
            ["AWS_REGION", "AWS_DEFAULT_REGION"]
                .iter()
                .find_map(|name| env::var(name).ok().filter(|region| !region.is_empty()))
        };
        let region = said.region.clone().or_else(from_environment);
        LambdaFront {
            region: region.as_deref().unwrap_or("us-east-1").into(),
            account_id: said.account_id.as_deref().unwrap_or("123456789012").into(),
        }
    }

    /// The functions by name.
    pub(super) fn functions(&mut self, front: &LambdaFront) -> BTreeMap<Box<str>, Function> {
        let settings = self.settings;
        let mut functions = BTreeMap::new();
        for (name, said) in &settings.functions {
            let pointer = join("/functions", name);
            if function_name(name) != (name.as_str(), None)
                || !name
                    .bytes()
                    .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
            {
                let message = format!("`{name}` can't be the name of a function");
                self.error(
                    Code::E015,
                    &pointer,
                    message,
                    "expected letters, digits, `-` and `_`, without ARN or alias",
                );
            }
            let Some(target) = self.target_of(name, said, front, &pointer) else {
                continue;
            };
            let is_local = matches!(target, FunctionTarget::Local(_));
            let url = match &said.function_url_config {
                Some(said) => Some(self.function_url(name, said, &pointer)),
                None => is_local
                    .then(|| self.function_url(name, &said::FunctionUrl::default(), &pointer)),
            };
            let function = Function {
                name: name.as_str().into(),
                arn: format!(
                    "arn:aws:lambda:{}:{}:function:{name}",
                    front.region, front.account_id
                )
                .into(),
                target,
                url,
            };
            self.check_url(&function, &functions, &pointer);
            functions.insert(name.as_str().into(), function);
        }
        functions
    }

    fn target_of(
        &mut self,
        name: &str,
        said: &said::Function,
        front: &LambdaFront,
        pointer: &str,
    ) -> Option<FunctionTarget> {
        if said.runtime.is_some() || !said.command.is_empty() {
            if said.endpoint.is_some() {
                let message =
                    format!("the function `{name}` has both a `runtime` and an `endpoint`");
                self.error(
                    Code::E016,
                    &join(pointer, "endpoint"),
                    message,
                    "keep the one that is meant",
                );
            }
            return self.local(name, said, front, pointer);
        }
        for (key, is_said) in [
            ("handler", said.handler.is_some()),
            ("codeUri", said.code_uri.is_some()),
        ] {
            if is_said {
                let message = format!("the function `{name}` has a `{key}` but no `runtime`");
                self.error(
                    Code::E012,
                    &join(pointer, key),
                    message,
                    "add `runtime: nodejs20.x`, `python3.11` or `provided`",
                );
            }
        }
        let endpoint = match &said.endpoint {
            None => None,
            Some(url) => match parse_origin(url) {
                Ok(origin) if UriTemplate::is_bare(url) => Some(origin),
                _ => {
                    let message = format!("`{url}` isn't the URL of a Lambda endpoint");
                    self.error(
                        Code::E015,
                        &join(pointer, "endpoint"),
                        message,
                        "write it like `http://127.0.0.1:3001`",
                    );
                    return None;
                }
            },
        };
        let own_name = endpoint.is_some().then_some(name);
        Some(FunctionTarget::Remote(RemoteFunction {
            endpoint,
            function_name: said.function_name.as_deref().or(own_name).map(Into::into),
            region: said.region.as_deref().map(Into::into),
            usual_region: self.settings.lambda.region.as_deref().map(Into::into),
            profile: self.settings.lambda.profile.as_deref().map(Into::into),
        }))
    }

    fn runtime(&mut self, name: &str, pointer: &str) -> Option<Runtime> {
        let families = [
            ("nodejs", Runtime::Node),
            ("python", Runtime::Python),
            ("provided", Runtime::Provided),
        ];
        let known = families
            .iter()
            .find(|(prefix, _)| name.starts_with(prefix))
            .map(|(_, runtime)| *runtime);
        if known.is_none() {
            let message = format!("the runtime `{name}` isn't known");
            let hint = nearest(name, RUNTIMES).map_or_else(
                || {
                    "expected `nodejs…`, `python…`, or `provided` with a `command` that speaks the Runtime API"
                        .to_owned()
                },
                |meant| format!("did you mean `{meant}`?"),
            );
            self.error(Code::E013, &join(pointer, "runtime"), message, &hint);
        }
        known
    }

    /// The function's directory, which has to be there.
    fn directory(&mut self, said: &said::Function, pointer: &str) -> PathBuf {
        let relative = self.base.join(said.code_uri.as_deref().unwrap_or("."));
        if !relative.is_dir() {
            let message = format!(
                "the function's directory `{}` doesn't exist",
                relative.display()
            );
            self.error(
                Code::E015,
                &join(pointer, "codeUri"),
                message,
                "it is relative to the configuration file",
            );
        }
        std::path::absolute(&relative).unwrap_or(relative)
    }

    fn local(
        &mut self,
        name: &str,
        said: &said::Function,
        front: &LambdaFront,
        pointer: &str,
    ) -> Option<FunctionTarget> {
        let runtime_name = said.runtime.as_deref().unwrap_or("provided");
        let runtime = self.runtime(runtime_name, pointer)?;
        if runtime != Runtime::Provided && said.handler.is_none() && said.command.is_empty() {
            let message = format!("the function `{name}` has no `handler`");
            self.error(
                Code::E012,
                pointer,
                message,
                "add `handler: index.handler`: the file's name, a dot, and the function's",
            );
        }
        let directory = self.directory(said, pointer);
        let copied = |texts: &[String]| texts.iter().map(|text| text.as_str().into()).collect();
        let seconds =
            |said: Option<u32>, default: u64| Duration::from_secs(said.map_or(default, u64::from));
        let timeout = seconds(said.timeout, 60);
        Some(FunctionTarget::Local(Box::new(LocalFunction {
            runtime,
            runtime_name: runtime_name.into(),
            command: copied(&said.command),
            extensions: copied(&said.extensions),
            directory,
            handler: said.handler.as_deref().unwrap_or_default().into(),
            environment: environment(said),
            timeout,
            init_timeout: seconds(said.init_timeout, 10),
            memory_size: said.memory_size.unwrap_or(128),
            most_environments: said.concurrency.unwrap_or(10).max(1) as usize,
            most_invocations: said
                .reserved_concurrent_executions
                .map(|most| most as usize),
            per_environment: said
                .per_execution_environment_max_concurrency
                .unwrap_or(1)
                .max(1) as usize,
            idle: seconds(said.idle_timeout, 300),
            watch: said.watch,
            region: said.region.as_deref().unwrap_or(&front.region).into(),
        })))
    }
}

fn environment(said: &said::Function) -> Vec<(Box<str>, Box<str>)> {
    let passed = PASSED_ON
        .iter()
        .copied()
        .chain(said.pass_environment.iter().map(String::as_str));
    let passed = passed.filter_map(|name| Some((name.into(), env::var(name).ok()?.into())));
    let own = said
        .environment
        .iter()
        .map(|(name, value)| (name.as_str().into(), value.as_str().into()));
    passed.chain(own).collect()
}
