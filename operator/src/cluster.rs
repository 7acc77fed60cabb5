//! `KafkaCluster`, reconciled: what is wanted, what is there, one step.

pub mod build;
pub mod validate;
pub mod wanted;
