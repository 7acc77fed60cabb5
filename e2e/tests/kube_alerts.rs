//! Every alert of the chart, by a real Prometheus on a real cluster: each fires while what it is about lasts, and clears
//! once that is over. `e2e/kube/alerts_test.yaml` has their times, which are shortened here.

#[path = "kube_alerts/brokers.rs"]
mod brokers;
#[path = "kube_alerts/clients.rs"]
mod clients;
#[path = "kube_alerts/manifests.rs"]
mod manifests;
#[path = "kube_alerts/operators.rs"]
mod operators;
#[path = "kube_alerts/stage.rs"]
mod stage;
#[path = "kube_alerts/undo.rs"]
mod undo;
#[path = "kube_alerts/volume.rs"]
mod volume;

use std::collections::BTreeSet;
use std::fs;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use e2e::kube::manifests::MAIN;
use e2e::kube::prometheus::{Prometheus, chart, scraped};
use e2e::kube::{scene, until};
use e2e::skip::skipped;
use stage::{Stage, pod_name};
use undo::Undo;

/// Two scrapes and two evaluations, and what the operator takes to look, or to give up asking: 25 s. Longer than that a
/// broker must not be silent.
const FIRE_LIMIT: Duration = Duration::from_secs(45);
/// The longest range of hurried rules, and what comes after.
const CLEAR_LIMIT: Duration = Duration::from_secs(150);
/// Alerts of a volume: other brokers' are folders of this machine's disk, as full as that is.
const OF_VOLUMES: &str = "MilenaDisk.*";

/// What is done to the cluster, and the alerts that it raises while it lasts.
struct Fault {
    name: &'static str,
    alerts: &'static [&'static str],
    begin: for<'a> fn(&'a Stage<'_>) -> Result<Undo<'a>>,
}

/// One after the other; those first whose alerts look farthest back. Between two in which brokers are silent there is one in
/// which their kubelets hear of them: they end those of whom they have heard nothing for a minute.
const FAULTS: &[Fault] = &[
    Fault {
        name: "an operator without rights",
        alerts: &["MilenaOperatorFails"],
        begin: operators::has_no_rights,
    },
    Fault {
        name: "leaders of the quorum that fall silent",
        alerts: &["MilenaQuorumUnsettled", "MilenaBrokersFenced"],
        begin: brokers::leaders_fall_silent,
    },
    Fault {
        name: "a loss of power",
        alerts: &["MilenaPartitionsLossy"],
        begin: volume::comes_back_on_another_device,
    },
    Fault {
        name: "a full volume",
        alerts: &[
            "MilenaDiskWillBeFull",
            "MilenaDiskNearlyFull",
            "MilenaAppendsFail",
            "MilenaPartitionsOffline",
            "MilenaLogCareFails",
        ],
        begin: volume::is_full,
    },
    Fault {
        name: "a broker that starts again and again",
        alerts: &["MilenaBrokerRestarts"],
        begin: brokers::one_starts_again_and_again,
    },
    Fault {
        name: "a silent broker",
        alerts: &[
            "MilenaPartitionsUnderReplicated",
            "MilenaPartitionsUnderMinIsr",
            "MilenaPartitionsWithoutLeader",
            "MilenaProduceSlow",
            "MilenaQuorumMemberBehind",
            "MilenaClusterUnavailable",
            "MilenaClusterDegraded",
        ],
        begin: brokers::one_is_silent,
    },
    Fault {
        name: "manifests that can't be followed",
        alerts: &[
            "MilenaTopicsNotReady",
            "MilenaPartitionsMisplaced",
            "MilenaClusterWaits",
        ],
        begin: manifests::cannot_be_followed,
    },
    Fault {
        name: "no broker that answers",
        alerts: &["MilenaTopicFeedDown"],
        begin: brokers::all_are_silent,
    },
    Fault {
        name: "clients that take all they can get",
        alerts: &[
            "MilenaRequestMemoryFull",
            "MilenaConnectionsRefused",
            "MilenaDescriptorsNearlyGone",
        ],
        begin: clients::take_all,
    },
    Fault {
        name: "a silent majority",
        alerts: &["MilenaQuorumWithoutLeader", "MilenaGroupsUnread"],
        begin: brokers::a_majority_is_silent,
    },
    Fault {
        name: "silent operators",
        alerts: &["MilenaOperatorWithoutLeader"],
        begin: operators::are_silent,
    },
];

#[test]
fn each_alert_has_one_fault_that_raises_it() -> Result<()> {
    let rules = fs::read_to_string(chart::alerts())?;
    let mut there = chart::names(&rules);
    let mut raised: Vec<&str> = FAULTS
        .iter()
        .flat_map(|fault| fault.alerts)
        .copied()
        .collect();
    there.sort_unstable();
    raised.sort_unstable();
    ensure!(
        there == raised,
        "the alerts of alerts.yaml: {there:#?}\nthose that FAULTS raise: {raised:#?}"
    );
    Ok(())
}

#[test]
fn each_alert_fires_while_its_fault_lasts_and_clears() -> Result<()> {
    scene("alerts", |scene| {
        let target = stage::set_up(scene)?;
        let rules = scene.folder().join("alerts.yaml");
        fs::write(
            &rules,
            chart::hurried(&fs::read_to_string(chart::alerts())?),
        )?;
        let pods = scraped(scene)?;
        let Some(prometheus) = Prometheus::start(&scene.kube, &pods, &rules, scene.folder())?
        else {
            let why = "prometheus is not on the PATH; Debian has it in the package prometheus";
            return skipped("kube_alerts", why);
        };
        let begun = Instant::now();
        let stage = Stage::of(scene, target, prometheus)?;
        for fault in FAULTS {
            raise(&stage, fault).with_context(|| fault.name)?;
        }
        let all = FAULTS.iter().flat_map(|fault| fault.alerts);
        let all: BTreeSet<&str> = all.copied().collect();
        let left = Instant::now();
        until("all alerts clear", CLEAR_LIMIT, || none_fires(&stage, &all))?;
        println!(
            "all have cleared {:.0?} after the last fault",
            left.elapsed()
        );
        panels_had_data(&stage, begun.elapsed())
    })
}

/// No alert of a fault fires before, and each does while it lasts.
fn raise(stage: &Stage, fault: &Fault) -> Result<()> {
    let alerts: BTreeSet<&str> = fault.alerts.iter().copied().collect();
    stage.scene.until_in_sync(&stage.target)?;
    let begun = Instant::now();
    // What an earlier fault has raised besides takes as long to clear as what it was to raise.
    until("none fires before", CLEAR_LIMIT, || {
        none_fires(stage, &alerts)
    })?;
    let waited = begun.elapsed();
    let begun = Instant::now();
    let undo = (fault.begin)(stage)?;
    let brought = begun.elapsed();
    let mut left = alerts;
    let fired = until("each fires", FIRE_LIMIT, || {
        let fire = firing(stage)?;
        left.retain(|alert| !fire.contains(*alert));
        ensure!(left.is_empty(), "{left:?} do not fire; {fire:?} do");
        Ok(())
    });
    let lasted = begun.elapsed();
    undo.end()?;
    fired?;
    println!(
        "{}: waited {waited:.1?}, brought about in {brought:.1?}, all fired after {lasted:.1?}, taken back in {:.1?}",
        fault.name,
        begun.elapsed() - lasted
    );
    Ok(())
}

fn none_fires(stage: &Stage, alerts: &BTreeSet<&str>) -> Result<()> {
    let mut fire = firing(stage)?;
    fire.retain(|alert| alerts.contains(&**alert));
    ensure!(fire.is_empty(), "{fire:?} fire");
    Ok(())
}

/// What fires now, leaving out what is said of this machine's disk.
fn firing(stage: &Stage) -> Result<BTreeSet<String>> {
    let others = format!("alertname!~\"{OF_VOLUMES}\"");
    let pod = pod_name(volume::BROKER);
    let of_volume = format!("alertname=~\"{OF_VOLUMES}\",pod=\"{pod}\"");
    stage.prometheus.firing(&[&others, &of_volume])
}

/// The panels that have no data as long as all is well have had some.
fn panels_had_data(stage: &Stage, within: Duration) -> Result<()> {
    let mut panels = chart::panels(&stage.scene.namespace, MAIN)?;
    panels.retain(chart::Panel::is_empty_when_well);
    for panel in panels {
        let seconds = within.as_secs();
        let had = format!("present_over_time(({})[{seconds}s:2s])", panel.query);
        ensure!(
            !stage.prometheus.query(&had)?.is_empty(),
            "no data: {panel:?}"
        );
    }
    Ok(())
}
