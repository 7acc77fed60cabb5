//! Kafka's APIs, one file each: request and response, field by field, with their version ranges.

pub mod api_versions;
pub mod produce;
