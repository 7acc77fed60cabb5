//! DescribeCluster (key 60): the brokers and the controller (KIP-700).
//!
//! | version | change |
//! | --- | --- |
//! | 0 | flexible from the start |
//! | 1 | brokers or controllers (KIP-919) |
//! | 2 | fenced brokers (KIP-1073) |

use crate::schema::{api, schema};
use crate::{ErrorCode, Str};

api!(60, DescribeCluster, DescribeClusterRequest => DescribeClusterResponse, versions 0..=2, flexible 0);

schema! {
    /// What to tell of the cluster.
    pub struct DescribeClusterRequest {
        include_cluster_authorized_operations: bool;
        /// 1 asks for brokers, 2 for controllers.
        endpoint_type: i8 = 1, in 1..;
        include_fenced_brokers: bool, in 2..;
    }

    /// The cluster.
    pub struct DescribeClusterResponse {
        throttle_time_ms: i32;
        error_code: ErrorCode;
        error_message: Option<Str>, nullable 0..;
        endpoint_type: i8 = 1, in 1..;
        cluster_id: Str;
        controller_id: i32 = -1;
        brokers: Vec<DescribeClusterBroker>;
        cluster_authorized_operations: i32 = i32::MIN;
    }

    /// Where a broker is reached.
    pub struct DescribeClusterBroker {
        broker_id: i32;
        host: Str;
        port: i32;
        rack: Option<Str>, nullable 0..;
        is_fenced: bool, in 2..;
    }
}
