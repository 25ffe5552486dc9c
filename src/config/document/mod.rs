//! What the files say: texts with their places, and the shape of `sluicegate.yaml`.

pub mod file;
pub mod functions;
pub mod listeners;
pub mod settings;
pub mod shape;
