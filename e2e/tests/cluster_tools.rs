//! Apache Kafka's own tools against three brokers; `clients/python/cluster_suite.py` has what they are asked for.

use anyhow::Result;
use e2e::cluster::{Cluster, Plan};
use e2e::suite::Suite;

#[test]
fn apache_kafkas_tools_run_a_cluster() -> Result<()> {
    let Some(tools) = Suite::installed("cluster-tools")? else {
        return Ok(());
    };
    Cluster::with("cluster-tools", &Plan::of(3), |cluster| {
        tools.run(&[&cluster.bootstrap(), "tools"])
    })
}
