//! Configuration: what the files say (`document`), what it means (`model`), and everything found wrong on the way.

pub mod build;
pub mod codes;
pub mod diagnostics;
pub mod document;
pub mod files;
pub mod intrinsics;
pub mod locate;
pub mod mapping;
pub mod model;
pub mod openapi;
pub mod presets;
pub mod render;
pub mod schema;
pub mod suggest;
pub mod uri;
pub mod yaml;

pub use build::{Loaded, load};
