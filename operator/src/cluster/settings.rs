//! What running brokers take over: settings that the reference calls dynamic, set for all brokers at once, and the level
//! of the feature `milena.version`.

use std::collections::BTreeMap;
use std::time::Duration;

use milena_client::admin::{Config, ConfigChange, Resource};
use tokio::time::Instant;

use super::fetch::Seen;
use super::observed::Observed;
use super::step::is_outdated;
use super::throttle::RATE;
use super::wanted::{MetadataVersion, Wanted};
use crate::context::Memory;
use crate::reference::{Reference, Scope, Setting};

/// The feature whose level says what brokers write for each other.
const FEATURE: &str = "milena.version";
/// The level changes by hand only: it is asked for no more often.
const LEVEL_EVERY: Duration = Duration::from_secs(60);
/// What others have set is found within this; in between brokers are not asked.
const SETTINGS_EVERY: Duration = Duration::from_secs(60);
/// With `Auto`, how long every broker must have run the new version before there is no way back.
const PROVEN_AFTER: Duration = Duration::from_secs(3_600);
/// All that bound copies.
const RATES: [&str; 2] = [RATE, "leader.replication.throttled.rate"];
/// The name of all brokers.
const ALL: &str = "";

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
    seen: &Seen,
    memory: &mut Memory,
) -> Result<(), milena_client::Error> {
    let (Some(door), Some(_)) = (&seen.door, &seen.observed.view) else {
        return Ok(());
    };
    let mut live = wanted.live_config.clone();
    if let Some(rate) = wanted.drain.bytes_per_second_max {
        live.insert(RATE.to_owned(), rate.to_string());
    }
    let revision = crate::revision::of(&live);
    let known = memory.settings.as_ref();
    let known = known.filter(|known| known.revision == revision);
    if known.is_some_and(Followed::is_fresh) {
        return Ok(());
    }
    let turn = match known {
        None => Turn::First,
        Some(_) => Turn::Again,
    };
    let kafka = door.kafka_to_change()?;
    let described = kafka.configs(Resource::Broker, &[ALL]).await?;
    let set = described.get(ALL).map(Vec::as_slice).unwrap_or_default();
    let changes = changes(&live, set, &wanted.version, turn);
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
    let at = Instant::now();
    memory.settings = Some(Followed { revision, at });
    Ok(())
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

/// Whether settings are to be followed from now on, or are looked at again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Turn {
    First,
    Again,
}

impl Turn {
    /// What can't be compared, as brokers do not show it, and how fast throttled replicas are copied: whoever moves some
    /// says that before, and takes it back.
    fn passes_over(self, name: &str, known: Option<&Setting>) -> bool {
        self == Self::Again && (RATES.contains(&name) || known.is_some_and(Setting::is_secret))
    }
}

/// A default is set as such: the brokers' own file may still say what an earlier spec did.
fn changes(
    wanted: &BTreeMap<String, String>,
    set: &[Config],
    version: &str,
    turn: Turn,
) -> Vec<ConfigChange> {
    let mut numbers = version.split('.').map(|number| number.parse().unwrap_or(0));
    let version = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
    let reference = Reference::of(version);
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
        if config.value != known.default && !turn.passes_over(&config.name, Some(known)) {
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
        let changes = changes(&wanted, &set, "0.1.0", Turn::Again);
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
        assert_eq!(changes(&wanted, &set, "0.1.0", Turn::Again), []);
        let throttle = config("leader.replication.throttled.rate", "1000");
        let throttled = [set[0].clone(), throttle];
        assert_eq!(changes(&wanted, &throttled, "0.1.0", Turn::Again), []);
        let once = changes(&wanted, &set, "0.1.0", Turn::First);
        assert_eq!(once[0].0, "ssl.key.password");
        assert_eq!(once.len(), 1);
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
