//! Connections to backends: HTTP/1.1 of our own, HTTP/2 through hyper, pools per worker, groups of targets.

pub mod answer;
pub mod connect;
pub mod endpoint;
pub mod failure;
pub mod group;
pub mod h1;
pub mod h2;
pub mod pool;
pub mod request;
pub mod send;
pub mod tls;
