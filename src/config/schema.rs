//! The JSON Schema of the configuration, for editors and for [`super::document::shape`].

use schemars::{JsonSchema, generate::SchemaSettings};
use serde_json::Value;

use super::document::settings::Settings;

/// The schema of a type that reads configuration.
pub fn schema_of<T: JsonSchema>() -> Value {
    SchemaSettings::draft2020_12()
        .into_generator()
        .into_root_schema_for::<T>()
        .to_value()
}

/// The schema of `sluicegate.yaml`.
pub fn settings_schema() -> Value {
    schema_of::<Settings>()
}
