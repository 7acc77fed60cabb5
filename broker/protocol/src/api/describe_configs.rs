//! DescribeConfigs (key 32): configs of topics, brokers and other resources.
//!
//! | version | change |
//! | --- | --- |
//! | 1 | source and synonyms (KIP-226) |
//! | 2 | responses before throttling |
//! | 3 | types and documentation (KIP-569) |
//! | 4 | flexible |

use crate::schema::{api, schema};
use crate::{ErrorCode, Str};

api!(32, DescribeConfigs, DescribeConfigsRequest => DescribeConfigsResponse, versions 0..=4, flexible 4);

schema! {
    /// Which configs.
    pub struct DescribeConfigsRequest {
        resources: Vec<DescribeConfigsResource>;
        include_synonyms: bool, in 1..;
        include_documentation: bool, in 3..;
    }

    /// One resource, and which of its configs.
    pub struct DescribeConfigsResource {
        /// 2 is a topic, 4 a broker, 8 a broker's loggers, 16 client metrics, 32 a group.
        resource_type: i8;
        resource_name: Str;
        /// Null asks for all configs.
        configuration_keys: Option<Vec<Str>>, nullable 0..;
    }

    /// The configs.
    pub struct DescribeConfigsResponse {
        throttle_time_ms: i32;
        results: Vec<DescribeConfigsResult>;
    }

    /// One resource's configs.
    pub struct DescribeConfigsResult {
        error_code: ErrorCode;
        error_message: Option<Str>, nullable 0..;
        resource_type: i8;
        resource_name: Str;
        configs: Vec<DescribeConfigsResourceResult>;
    }

    /// One config.
    pub struct DescribeConfigsResourceResult {
        name: Str;
        value: Option<Str>, nullable 0..;
        read_only: bool;
        is_default: bool, in ..=0;
        /// 1 is the topic, 2 the broker, 3 all brokers, 4 the broker's file, 5 the default, 6 its loggers, 7 client metrics, 8 the group.
        config_source: i8 = -1, in 1..;
        is_sensitive: bool;
        synonyms: Vec<DescribeConfigsSynonym>, in 1..;
        /// 1 boolean, 2 string, 3 int, 4 short, 5 long, 6 double, 7 list, 8 class, 9 password.
        config_type: i8, in 3..;
        documentation: Option<Str>, in 3.., nullable 3..;
    }

    /// Another place that sets the config, in order of precedence.
    pub struct DescribeConfigsSynonym {
        name: Str, in 1..;
        value: Option<Str>, in 1.., nullable 1..;
        source: i8, in 1..;
    }
}
