//! From what the files say to what they mean.

mod access_log;
mod api;
mod function_url;
mod functions;
mod gateway_responses;
mod http_proxy;
mod ignored;
mod integration;
mod lambda;
mod lint;
mod listeners;
mod mock;
mod overrides;
mod places;
mod protection;
mod request_parameters;
mod settings;
mod text;
mod tls;
mod tracing;
mod truststore;
mod vpc_links;

use std::path::{Path, PathBuf};

use super::{
    codes::Code,
    diagnostics::Diagnostics,
    document::{
        file::{Cursor, File},
        settings::{Api, Settings},
        shape,
    },
    model::Model,
    openapi::looks_like_definition,
    schema::settings_schema,
};

pub use self::tracing::TracingVariables;

/// A configuration that was read.
#[derive(Debug)]
pub struct Loaded {
    /// What it means; `None` if it can't be served.
    pub model: Option<Model>,
    /// Everything found wrong with it.
    pub diagnostics: Diagnostics,
}

/// What the environment and the command line say over the file.
#[derive(Clone, Debug, Default)]
pub struct Overrides {
    /// The first listener's address.
    pub listen: Option<String>,
    /// The admin address of a configuration that has none.
    pub admin: Option<String>,
    /// Worker threads.
    pub workers: Option<usize>,
    /// Whether the files are watched, whatever the file says.
    pub watch: bool,
    /// What the variables of OpenTelemetry say.
    pub tracing: TracingVariables,
}

/// Reads a `sluicegate.yaml` or a bare OpenAPI document; `-` is standard input.
pub fn load(path: &Path, overrides: &Overrides) -> Loaded {
    let mut diagnostics = Diagnostics::default();
    diagnostics.read_from(path);
    let model = File::read(path, &mut diagnostics).and_then(|file| {
        let base = path.parent().map(Path::to_path_buf).unwrap_or_default();
        read(&file, base, overrides, &mut diagnostics)
    });
    let model = model.filter(|_| !diagnostics.is_fatal());
    Loaded { model, diagnostics }
}

/// Reads a configuration whose text is at hand: findings call it `name`, and what it names is looked for in `base`.
pub fn load_text(name: &str, text: &str, base: &Path, overrides: &Overrides) -> Loaded {
    let mut diagnostics = Diagnostics::default();
    let model = File::parse(&name.into(), text, &mut diagnostics)
        .and_then(|file| read(&file, base.to_path_buf(), overrides, &mut diagnostics));
    let model = model.filter(|_| !diagnostics.is_fatal());
    Loaded { model, diagnostics }
}

fn read(
    file: &File,
    base: PathBuf,
    overrides: &Overrides,
    diagnostics: &mut Diagnostics,
) -> Option<Model> {
    let root = Cursor::root(file);
    // A bare document is a configuration with one API and nothing said about it.
    let implied = looks_like_definition(&root).then(|| Settings {
        apis: vec![Api {
            definition: file.name.to_string(),
            ..Api::default()
        }],
        ..Settings::default()
    });
    let definition = implied.is_some().then_some(file);
    let settings = match implied {
        Some(settings) => settings,
        None => read_settings(&root, diagnostics)?,
    };
    let builder = settings::Builder {
        file: definition.is_none().then_some(file),
        base,
        settings: &settings,
        overrides,
        diagnostics,
    };
    Some(builder.build(definition))
}

fn read_settings(root: &Cursor<'_>, diagnostics: &mut Diagnostics) -> Option<Settings> {
    let is_empty = root.value.is_null();
    let wrong = if is_empty {
        Vec::new()
    } else {
        shape::check(root, &settings_schema(), diagnostics)
    };
    let has_apis = root
        .get("apis")
        .is_some_and(|apis| apis.items().next().is_some());
    // Functions can be reached without an API.
    let has_functions = root
        .get("functions")
        .is_some_and(|functions| functions.members().next().is_some());
    if wrong.is_empty() && !has_apis && !has_functions {
        let at = root.get("apis").unwrap_or_else(|| root.clone());
        let finding = at.report_key(Code::E012, "the configuration has no API to serve");
        diagnostics.push(finding.hint("list one under `apis:` with its `definition:`"));
    }
    if is_empty {
        return Some(Settings::default());
    }
    let mut value = shape::without(root, &wrong)?;
    drop_empty(&mut value);
    match serde_json::from_value(value) {
        Ok(settings) => Some(settings),
        Err(_) if !wrong.is_empty() => None,
        Err(error) => {
            diagnostics.push(root.report_key(Code::E011, error.to_string()));
            None
        }
    }
}

/// Keys without a value are as good as absent.
fn drop_empty(value: &mut serde_json::Value) {
    match value {
        serde_json::Value::Object(map) => {
            map.retain(|_, member| !member.is_null());
            map.values_mut().for_each(drop_empty);
        }
        serde_json::Value::Array(items) => items.iter_mut().for_each(drop_empty),
        _ => {}
    }
}
