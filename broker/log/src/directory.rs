//! The files of a data directory that belong to no single log.

pub(crate) mod partition_metadata;
