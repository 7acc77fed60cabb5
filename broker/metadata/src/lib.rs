//! The cluster's records.
