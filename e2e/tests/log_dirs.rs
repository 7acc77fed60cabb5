//! Replicas move between the data directories of a broker, as Apache Kafka's tools ask for it, also across a kill;
//! `clients/python/log_dirs_suite.py` has what the tools say of it.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use e2e::cluster::{Cluster, Plan};
use e2e::suite::Suite;

const TOPIC: &str = "moved";
/// Bytes a second: the topic has twelve million.
const SLOW: &str = "20000";
const FAST: &str = "500000000";

/// Three brokers with three data directories each.
fn cluster() -> Result<Cluster> {
    let mut cluster = Cluster::prepare("log-dirs", &Plan::of(3))?;
    for id in cluster.ids() {
        let node = cluster.node(id);
        node.add_dir("data-2");
        node.add_dir("data-3");
    }
    Ok(cluster)
}

/// The directories that have a folder of the topic whose name ends so.
fn with_folder(dirs: &[PathBuf], end: &str) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for dir in dirs {
        for entry in std::fs::read_dir(dir).context("a data directory")? {
            let name = entry?.file_name().to_string_lossy().into_owned();
            if name.starts_with("moved-0") && name.ends_with(end) {
                found.push(dir.clone());
            }
        }
    }
    Ok(found)
}

/// Where a broker has the log, and another of its directories.
fn places(cluster: &mut Cluster, id: i32) -> Result<(PathBuf, PathBuf)> {
    let dirs = cluster.node(id).dirs();
    let has = with_folder(&dirs, "moved-0")?;
    ensure!(has.len() == 1, "the log is in {has:?}");
    let other = dirs.into_iter().find(|dir| *dir != has[0]);
    Ok((has[0].clone(), other.context("another directory")?))
}

fn text(path: &Path) -> Result<&str> {
    path.to_str().context("a path that is text")
}

#[test]
fn replicas_move_between_directories_as_kafkas_tools_ask_for_it_also_across_a_kill() -> Result<()> {
    let Some(tools) = Suite::installed("log-dirs")? else {
        return Ok(());
    };
    cluster()?.run(|cluster| {
        let bootstrap = cluster.bootstrap();
        let ask = |phase: &[&str]| tools.run(&[&[&bootstrap, TOPIC], phase].concat());
        cluster.create_topic(TOPIC, 1, 3)?;
        ask(&["fill"])?;
        let leader = cluster.leader(TOPIC, 0)?;
        let follower = cluster.ids().into_iter().find(|id| *id != leader);
        let follower = follower.context("a follower")?;
        for id in [leader, follower] {
            let (from, to) = places(cluster, id)?;
            let (broker, path) = (id.to_string(), text(&to)?.to_owned());
            ask(&["move", &broker, &path, SLOW])?;
            ask(&["moving", &broker, &path])?;
            if id == leader {
                cluster.node(id).kill9()?;
                cluster.start(id)?;
                cluster.until_in_sync()?;
                ask(&["moving", &broker, &path])?;
            }
            let dirs = cluster.node(id).dirs();
            ensure!(with_folder(&dirs, "-future")? == std::slice::from_ref(&to));
            ensure!(with_folder(&dirs, "moved-0")? == [from]);
            ask(&["move", &broker, &path, FAST])?;
            ask(&["moved", &broker, &path])?;
            ensure!(with_folder(&dirs, "moved-0")? == [to]);
            ensure!(with_folder(&dirs, "-future")?.is_empty());
        }
        ask(&["read"])
    })
}
