//! What running brokers take over: settings that the reference calls dynamic, set for all brokers at once, and the level
//! of the feature `milena.version`.

use std::collections::BTreeMap;
use std::time::Duration;

use kube::api::{Patch, PatchParams};
use kube::{Api, ResourceExt};
use milena_client::admin::{Config, ConfigChange, Resource};
use serde_json::json;
use thiserror::Error;
use tokio::time::Instant;

use super::fetch::Seen;
use super::kube_words;
use super::observed::Observed;
use super::step::is_outdated;
use super::throttle::RATE;
use super::wanted::{MetadataVersion, Wanted};
use crate::context::{Context, Key, Memory};
use crate::crd::KafkaCluster;
use crate::reference::{Reference, Scope, Setting};

/// The feature whose level says what brokers write for each other.
const FEATURE: &str = "milena.version";
/// The level changes by hand only: it is asked for no more often.
const LEVEL_EVERY: Duration = Duration::from_secs(60);
/// What others have set is found within this; in between brokers are not asked.
const SETTINGS_EVERY: Duration = Duration::from_secs(60);
/// With `Auto`, how long every broker must have run the new version before there is no way back.
const PROVEN_AFTER: Duration = Duration::from_secs(3_600);
/// On a `KafkaCluster`: the hash of what was set last for running brokers and is not compared with what they have. Who
/// begins to look sees by it whether the spec has changed meanwhile; without it all of that is set once more.
const FOLLOWED: &str = "milena.dev/followed";
/// All that bound copies.
const RATES: [&str; 2] = [RATE, "leader.replication.throttled.rate"];
/// The name of all brokers.
const ALL: &str = "";

/// Why settings are not followed.
#[derive(Debug, Error)]
pub enum FollowError {
    /// The brokers' no.
    #[error("{0}")]
    Kafka(#[from] milena_client::Error),
    /// The API server's no.
    #[error("{}", kube_words(.0))]
    Kube(#[from] kube::Error),
}

/// Settings that running brokers were seen to have.
#[derive(Clone, Debug)]
pub struct Followed {
    /// The hash of what was wanted.
    revision: String,
    /// When that was seen.
    at: Instant,
}

impl Followed {
    fn is_fresh(&self) -> bool {
        self.at.elapsed() < SETTINGS_EVERY
    }
}

/// The level that the brokers write, where they say it or have said it.
pub async fn level(seen: &Seen, memory: &mut Memory) -> Option<i16> {
    let fresh = memory.level.filter(|(_, at)| at.elapsed() < LEVEL_EVERY);
    if let (None, Some(door), Some(_)) = (fresh, &seen.door, &seen.observed.view) {
        match door.kafka().features().await {
            Ok(features) => {
                // Zero is what a broker answers that knows of no level.
                let feature = features
                    .iter()
                    .find(|one| one.name == FEATURE && one.level > 0);
                memory.level = feature.map(|feature| (feature.level, Instant::now()));
            }
            Err(error) => tracing::debug!(%error, "features are not read"),
        }
    }
    memory.level.map(|(level, _)| level)
}

/// Sets for all brokers what differs from what is wanted: once it is wanted, and where others have set something else.
/// What was set by an earlier spec and is not wanted any more goes back to its default.
pub async fn follow(
    wanted: &Wanted,
    cluster: &KafkaCluster,
    seen: &Seen,
    context: &Context,
    memory: &mut Memory,
) -> Result<(), FollowError> {
    let (Some(door), Some(_)) = (&seen.door, &seen.observed.view) else {
        return Ok(());
    };
    let mut live = wanted.live_config.clone();
    if let Some(rate) = wanted.drain.bytes_per_second_max {
        live.insert(RATE.to_owned(), rate.to_string());
    }
    let revision = crate::revision::of(&live);
    let known = memory.settings.as_ref();
    if known.is_some_and(|known| known.revision == revision && known.is_fresh()) {
        return Ok(());
    }
    let reference = reference(&wanted.version);
    let uncompared = uncompared(&live, reference);
    let turn = turn(cluster, &uncompared);
    let kafka = door.kafka_to_change()?;
    let described = kafka.configs(Resource::Broker, &[ALL]).await?;
    let set = described.get(ALL).map(Vec::as_slice).unwrap_or_default();
    let changes = changes(&live, set, reference, turn);
    if !changes.is_empty() {
        kafka
            .alter_configs(Resource::Broker, ALL, &changes, false)
            .await?;
        let names: Vec<&str> = changes.iter().map(|(name, _)| name.as_str()).collect();
        tracing::info!(
            cluster = wanted.name,
            ?names,
            "settings of running brokers changed"
        );
    }
    if turn == Turn::First {
        note(cluster, &uncompared, context).await?;
    }
    let at = Instant::now();
    memory.settings = Some(Followed { revision, at });
    Ok(())
}

/// Once it is set: who comes next sets it again where this fails.
async fn note(
    cluster: &KafkaCluster,
    uncompared: &str,
    context: &Context,
) -> Result<(), kube::Error> {
    let Key { namespace, name } = Key::of(cluster);
    let clusters: Api<KafkaCluster> = Api::namespaced(context.client.clone(), &namespace);
    let patch = json!({ "metadata": {
        "uid": cluster.metadata.uid,
        "annotations": { FOLLOWED: uncompared },
    }});
    let params = PatchParams::default();
    clusters
        .patch_metadata(&name, &params, &Patch::Merge(patch))
        .await
        .map(drop)
}

/// Raises the level that brokers write, once every broker has the version that is wanted: to the level that the spec
/// says, or an hour later to the newest that the version knows. It never goes down.
pub async fn raise(
    wanted: &Wanted,
    seen: &Seen,
    newest: Option<i16>,
    memory: &mut Memory,
) -> Result<Option<i16>, milena_client::Error> {
    let (Some((level, _)), Some(door)) = (memory.level, &seen.door) else {
        return Ok(None);
    };
    let Some(aim) = aim(wanted, &seen.observed, newest).filter(|aim| *aim > level) else {
        return Ok(None);
    };
    let levels = [(FEATURE.to_owned(), aim)];
    door.kafka_to_change()?
        .update_features(&levels, false, false)
        .await?;
    memory.level = None;
    Ok(Some(aim))
}

/// The level that the brokers are to write, once nothing speaks against it.
fn aim(wanted: &Wanted, observed: &Observed, newest: Option<i16>) -> Option<i16> {
    let (aim, proven) = match wanted.metadata_version {
        MetadataVersion::Unchanged => return None,
        MetadataVersion::Level(level) => (level, Duration::ZERO),
        MetadataVersion::Auto => (newest?, PROVEN_AFTER),
    };
    let view = observed.view.as_ref()?;
    let there = wanted.ids().all(|id| {
        let pod = observed.pods.get(&id);
        let ready = pod.is_some_and(|pod| {
            let updated = pod.image == wanted.image && !is_outdated(wanted, pod);
            updated && observed.ready_for(pod).is_some_and(|ready| ready >= proven)
        });
        ready && !view.is_fenced(id)
    });
    there.then_some(aim)
}

/// Whether what is not compared with what brokers have was changed since it was set, or never was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Turn {
    First,
    Again,
}

impl Turn {
    fn passes_over(self, name: &str, known: Option<&Setting>) -> bool {
        self == Self::Again && !is_compared(name, known)
    }
}

/// Not what brokers do not show, nor how fast throttled replicas are copied: whoever moves some says that before, and
/// takes it back.
fn is_compared(name: &str, known: Option<&Setting>) -> bool {
    !RATES.contains(&name) && !known.is_some_and(Setting::is_secret)
}

/// A hash of what is wanted and not compared.
fn uncompared(wanted: &BTreeMap<String, String>, reference: &Reference) -> String {
    let found = wanted
        .iter()
        .filter(|(name, _)| !is_compared(name, reference.find(Scope::Broker, name)));
    crate::revision::of(&found.collect::<BTreeMap<_, _>>())
}

fn turn(cluster: &KafkaCluster, uncompared: &str) -> Turn {
    match cluster.annotations().get(FOLLOWED) {
        Some(noted) if noted == uncompared => Turn::Again,
        _ => Turn::First,
    }
}

fn reference(version: &str) -> &'static Reference {
    let mut numbers = version.split('.').map(|number| number.parse().unwrap_or(0));
    let version = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
    Reference::of(version)
}

/// A default is set as such: the brokers' own file may still say what an earlier spec did.
fn changes(
    wanted: &BTreeMap<String, String>,
    set: &[Config],
    reference: &Reference,
    turn: Turn,
) -> Vec<ConfigChange> {
    let mut changes: Vec<ConfigChange> = Vec::new();
    for (name, value) in wanted {
        let known = reference.find(Scope::Broker, name);
        let shown = set.iter().find(|config| config.name == *name);
        let shown = shown.and_then(|config| config.value.as_ref());
        let normal = known.map_or_else(|| value.clone(), |known| known.normal(value));
        if shown != Some(&normal) && !turn.passes_over(name, known) {
            changes.push((name.clone(), Some(value.clone())));
        }
    }
    let others = set.iter().filter(|it| !wanted.contains_key(&it.name));
    for config in others.filter(|config| !config.is_default) {
        let known = reference.find(Scope::Broker, &config.name);
        let Some(known) = known.filter(|known| known.is_live()) else {
            continue;
        };
        let differs = config.value != known.default || known.is_secret();
        if differs && !turn.passes_over(&config.name, Some(known)) {
            changes.push((config.name.clone(), known.default.clone()));
        }
    }
    changes
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::step::samples;

    fn config(name: &str, value: &str) -> Config {
        Config {
            name: name.to_owned(),
            value: Some(value.to_owned()),
            is_own: false,
            is_default: false,
            read_only: false,
        }
    }

    #[test]
    fn the_level_rises_once_every_broker_has_the_version_and_with_auto_an_hour_later() {
        let (mut wanted, mut observed) = samples::healthy();
        assert_eq!(aim(&wanted, &observed, Some(2)), None);
        wanted.metadata_version = MetadataVersion::Level(2);
        assert_eq!(aim(&wanted, &observed, None), Some(2));
        wanted.metadata_version = MetadataVersion::Auto;
        assert_eq!(aim(&wanted, &observed, Some(3)), Some(3));
        let now = observed.now;
        observed.pods.get_mut(&1).unwrap().ready_since = Some(now);
        assert_eq!(aim(&wanted, &observed, Some(3)), None);
        wanted.metadata_version = MetadataVersion::Level(2);
        wanted.image = "milena:2".to_owned();
        assert_eq!(
            aim(&wanted, &observed, None),
            None,
            "nobody has the version yet"
        );
    }

    #[test]
    fn only_what_differs_is_set_and_what_is_not_wanted_any_more_has_its_default_again() {
        let wanted = BTreeMap::from([
            ("log.retention.ms".to_owned(), "1000".to_owned()),
            ("num.io.threads".to_owned(), "4".to_owned()),
        ]);
        let set = [
            config("log.retention.ms", "1000"),
            config("compression.type", "zstd"),
        ];
        let changes = changes(&wanted, &set, reference("0.1.0"), Turn::Again);
        let names: Vec<&str> = changes.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["num.io.threads", "compression.type"]);
        assert_eq!(changes[1].1.as_deref(), Some("producer"));
    }

    #[test]
    fn a_value_is_compared_as_brokers_show_it_and_one_that_they_hide_is_set_once() {
        let wanted = BTreeMap::from([
            (
                "log.cleanup.policy".to_owned(),
                "compact, delete".to_owned(),
            ),
            ("ssl.key.password".to_owned(), "secret".to_owned()),
        ]);
        let set = [config("log.cleanup.policy", "compact,delete")];
        assert_eq!(changes(&wanted, &set, reference("0.1.0"), Turn::Again), []);
        let once = changes(&wanted, &set, reference("0.1.0"), Turn::First);
        assert_eq!(once[0].0, "ssl.key.password");
        assert_eq!(once.len(), 1);
        let mut hidden = config("ssl.key.password", "");
        hidden.value = None;
        let none = BTreeMap::new();
        let gone = changes(&none, &[hidden], reference("0.1.0"), Turn::First);
        assert_eq!(gone, [("ssl.key.password".to_owned(), None)]);
    }

    /// What an operator sets whose resource says that `noted` was set last.
    fn set_by_another(
        noted: &BTreeMap<String, String>,
        wanted: &BTreeMap<String, String>,
        set: &[Config],
    ) -> Vec<ConfigChange> {
        let reference = reference("0.1.0");
        let mut cluster = KafkaCluster::default();
        let noted = (FOLLOWED.to_owned(), uncompared(noted, reference));
        cluster.metadata.annotations = Some([noted].into());
        let turn = turn(&cluster, &uncompared(wanted, reference));
        changes(wanted, set, reference, turn)
    }

    fn live(settings: &[(&str, &str)]) -> BTreeMap<String, String> {
        let settings = settings.iter();
        settings
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect()
    }

    #[test]
    fn an_operator_that_begins_sets_nothing_where_the_spec_is_the_same() {
        let wanted = live(&[
            (RATE, "1000"),
            ("log.retention.ms", "5"),
            ("ssl.key.password", "secret"),
        ]);
        let retention = config("log.retention.ms", "5");
        let by_tools = RATES.map(|name| config(name, "7"));
        let set = [retention.clone(), by_tools[0].clone(), by_tools[1].clone()];
        assert_eq!(set_by_another(&wanted, &wanted, &set), []);
        assert_eq!(set_by_another(&wanted, &wanted, &[retention]), []);
    }

    #[test]
    fn an_operator_that_begins_sets_a_rate_and_a_secret_that_have_changed_meanwhile() {
        let before = live(&[(RATE, "1000"), ("ssl.key.password", "secret")]);
        let set = [config(RATE, "1000")];
        let faster = live(&[(RATE, "2000"), ("ssl.key.password", "secret")]);
        let changes = set_by_another(&before, &faster, &set);
        assert!(changes.contains(&(RATE.to_owned(), Some("2000".to_owned()))));
        let other = live(&[(RATE, "1000"), ("ssl.key.password", "other")]);
        let secret = ("ssl.key.password".to_owned(), Some("other".to_owned()));
        assert_eq!(set_by_another(&before, &other, &set), [secret]);
        let unbounded = live(&[("ssl.key.password", "secret")]);
        let changes = set_by_another(&before, &unbounded, &set);
        let none = changes.iter().find(|(name, _)| name == RATE).unwrap();
        assert_eq!(none.1.as_deref(), Some("9223372036854775807"));
    }

    #[test]
    fn another_setting_leaves_the_rate_of_tools_alone() {
        let before = live(&[(RATE, "1000")]);
        let wanted = live(&[(RATE, "1000"), ("log.retention.ms", "5")]);
        let changes = set_by_another(&before, &wanted, &[config(RATE, "7")]);
        let retention = ("log.retention.ms".to_owned(), Some("5".to_owned()));
        assert_eq!(changes, [retention]);
    }

    #[tokio::test(start_paused = true)]
    async fn brokers_are_asked_for_their_settings_once_a_minute() {
        let followed = Followed {
            revision: String::new(),
            at: Instant::now(),
        };
        assert!(followed.is_fresh());
        tokio::time::advance(SETTINGS_EVERY).await;
        assert!(!followed.is_fresh());
    }
}
