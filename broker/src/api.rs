//! The routing table, and one file a Kafka API.
//!
//! Each file has one `handle(broker, context, request) -> response`: the request is decoded, the version
//! checked and the answer encoded by the table, so that what is advertised is what is routed.

pub mod delete_groups;
pub mod describe_groups;
pub mod find_coordinator;
pub mod heartbeat;
pub mod join_group;
pub mod leave_group;
pub mod list_groups;
pub mod offset_commit;
pub mod offset_delete;
pub mod offset_fetch;
pub mod sync_group;

use std::net::SocketAddr;

use milena_protocol::Str;

/// Who asks, from where, and in which version: every handler's second argument.
#[derive(Debug, Clone)]
pub struct RequestContext {
    /// The request's version of its API.
    pub version: i16,
    /// The client's name for itself, empty where it gave none.
    pub client_id: Str,
    /// Where the connection comes from.
    pub address: SocketAddr,
    /// The listener's name that the connection came in by, such as `PLAINTEXT`.
    pub listener: std::sync::Arc<str>,
    /// Who the client is, such as `User:ANONYMOUS`.
    pub principal: std::sync::Arc<str>,
}
