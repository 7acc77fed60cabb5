//! Which changes a running cluster takes: the table as the rules of `milena-metadata`, which decides on
//! AlterConfigs, IncrementalAlterConfigs and the configs of CreateTopics.

use std::collections::BTreeMap;
use std::sync::Arc;

use milena_metadata::{ConfigRules, ResourceKind};

use super::setting::Type;
use super::{
    BrokerConfig, Layers, Setting, Update, Values, broker_settings, check_together, find, load,
    topic, topic_settings,
};

impl ConfigRules for BrokerConfig {
    fn check(&self, kind: ResourceKind, key: &str, value: &str) -> Result<(), String> {
        let setting = known(kind, key)?;
        if kind == ResourceKind::Broker && setting.update == Update::ReadOnly {
            return Err(format!(
                "{key} can't change while a broker runs: set it in the file and start anew"
            ));
        }
        setting
            .check(value)
            .map(drop)
            .map_err(|problem| format!("{key}: {problem}"))
    }

    fn list_default(&self, kind: ResourceKind, key: &str) -> Option<String> {
        let setting = known(kind, key)
            .ok()
            .filter(|setting| setting.kind == Type::List)?;
        let value = match kind {
            ResourceKind::Topic => topic::inherited(setting, &self.layers).map(String::from),
            _ => self
                .layers
                .start
                .get(key)
                .cloned()
                .or_else(|| setting.default.map(str::to_owned)),
        };
        Some(value.unwrap_or_default())
    }

    /// What the start says, for a key that a topic inherits from the broker.
    fn default_value(&self, kind: ResourceKind, key: &str) -> Option<String> {
        match kind {
            ResourceKind::Topic => {
                let setting = topic_settings().find(|setting| setting.name == key)?;
                topic::inherited(setting, &self.layers).map(String::from)
            }
            _ => self.layers.get(key).map(str::to_owned),
        }
    }

    fn check_together(
        &self,
        kind: ResourceKind,
        configs: &BTreeMap<Arc<str>, Arc<str>>,
    ) -> Result<(), String> {
        let own: Values = configs
            .iter()
            .map(|(key, value)| (key.to_string(), value.to_string()))
            .collect();
        match kind {
            ResourceKind::Topic => topic_together(&self.topic(&own)),
            ResourceKind::Broker => self.broker_together(&own),
            ResourceKind::ClientMetrics | ResourceKind::Group => Ok(()),
        }
    }
}

impl BrokerConfig {
    /// A broker's values over those of the start: the cluster's others were checked when they came.
    fn broker_together(&self, own: &Values) -> Result<(), String> {
        let layers = Layers {
            broker: Arc::new(own.clone()),
            ..self.layers.clone()
        };
        if let Some(bad) = own
            .iter()
            .find(|(key, value)| find(key).is_none_or(|row| row.check(value).is_err()))
        {
            return Err(format!(
                "{}: {:?} is left from another version; delete it first",
                bad.0, bad.1
            ));
        }
        match check_together(&layers.settings()).into_iter().next() {
            Some((key, problem)) => Err(format!("{key}: {problem}")),
            None => Ok(()),
        }
    }
}

fn topic_together(topic: &super::TopicConfig) -> Result<(), String> {
    let (min, max) = (topic.min_compaction_lag_ms, topic.max_compaction_lag_ms);
    if min > max {
        return Err(format!(
            "min.compaction.lag.ms: {min} is above max.compaction.lag.ms, {max}"
        ));
    }
    Ok(())
}

/// The row, or a sentence with the nearest known name.
fn known(kind: ResourceKind, key: &str) -> Result<&'static Setting, String> {
    let settings: Vec<&Setting> = match kind {
        ResourceKind::Topic => topic_settings().collect(),
        ResourceKind::Broker => broker_settings().collect(),
        ResourceKind::ClientMetrics => {
            return Err(format!("{key}: client metrics are not there yet"));
        }
        ResourceKind::Group => {
            return Err(format!("{key}: groups have no settings of their own yet"));
        }
    };
    if let Some(setting) = settings.iter().find(|setting| setting.name == key) {
        return Ok(setting);
    }
    let what = if kind == ResourceKind::Topic {
        "topic"
    } else {
        "broker"
    };
    let names = settings.iter().map(|setting| setting.name);
    Err(match load::nearest(key, names) {
        Some(near) => format!("{key} is not a {what} setting; did you mean {near}?"),
        None => {
            format!("{key} is not a {what} setting; `milena config reference` lists all that are")
        }
    })
}

#[cfg(test)]
mod tests {
    use super::super::Sources;
    use super::*;

    fn config(settings: &[(&str, &str)]) -> BrokerConfig {
        Sources::of(settings).load().unwrap().0
    }

    fn configs(pairs: &[(&str, &str)]) -> BTreeMap<Arc<str>, Arc<str>> {
        pairs
            .iter()
            .map(|(key, value)| ((*key).into(), (*value).into()))
            .collect()
    }

    #[test]
    fn a_refused_change_says_what_would_do() {
        let rules = config(&[]);
        let topic = |key, value| rules.check(ResourceKind::Topic, key, value).unwrap_err();
        assert_eq!(
            topic("retention.m", "1"),
            "retention.m is not a topic setting; did you mean retention.ms?"
        );
        assert_eq!(
            topic("retention.ms", "-2"),
            "retention.ms: \"-2\" is not allowed: it must be at least -1"
        );
        assert_eq!(
            topic("cleanup.policy", "burn"),
            "cleanup.policy: \"burn\" is not allowed: it must be one of compact, delete"
        );
        assert_eq!(
            rules
                .check(ResourceKind::Broker, "num.partitions", "3")
                .unwrap_err(),
            "num.partitions can't change while a broker runs: set it in the file and start anew"
        );
        assert_eq!(
            rules.check(ResourceKind::Broker, "log.retention.ms", "3"),
            Ok(())
        );
        assert!(topic("remote.storage.enable", "true").contains("no tiered storage yet"));
        assert_eq!(
            rules.check(ResourceKind::Topic, "remote.storage.enable", "false"),
            Ok(())
        );
    }

    #[test]
    fn where_replicas_may_stand_is_said_for_all_topics_and_by_each() {
        let rules = config(&[]);
        for (key, value) in [
            ("placement.node.spread", "preferred"),
            ("placement.rack.spread", "required"),
        ] {
            assert_eq!(rules.check(ResourceKind::Broker, key, value), Ok(()));
            let started = config(&[(key, value)]);
            let default = started.default_value(ResourceKind::Topic, key);
            assert_eq!(default.as_deref(), Some(value));
            let own = Values::from([(key.to_owned(), value.to_owned())]);
            let cluster = rules.with_dynamic(&own, &Values::new());
            let described = cluster.describe_topic(&Values::new());
            let told = described.iter().find(|it| it.setting.name == key).unwrap();
            assert_eq!(told.value.as_deref(), Some(value));
        }
        assert!(
            rules
                .check(ResourceKind::Broker, "placement.pools", "a")
                .is_err()
        );
    }

    #[test]
    fn values_that_contradict_each_other_are_refused() {
        let rules = config(&[("log.cleaner.max.compaction.lag.ms", "10")]);
        let problem = rules.check_together(
            ResourceKind::Topic,
            &configs(&[("min.compaction.lag.ms", "11")]),
        );
        assert_eq!(
            problem.unwrap_err(),
            "min.compaction.lag.ms: 11 is above max.compaction.lag.ms, 10"
        );
        let both = configs(&[
            ("min.compaction.lag.ms", "11"),
            ("max.compaction.lag.ms", "12"),
        ]);
        assert_eq!(rules.check_together(ResourceKind::Topic, &both), Ok(()));
        let problem = rules.check_together(
            ResourceKind::Broker,
            &configs(&[("max.connections.per.ip", "0")]),
        );
        assert!(problem.unwrap_err().contains("lets nobody connect"));
    }

    #[test]
    fn only_lists_can_be_appended_to_and_begin_with_what_holds() {
        let rules = config(&[("log.cleanup.policy", "compact")]);
        assert_eq!(
            rules
                .list_default(ResourceKind::Topic, "cleanup.policy")
                .as_deref(),
            Some("compact")
        );
        assert_eq!(
            rules.list_default(ResourceKind::Topic, "retention.ms"),
            None
        );
    }

    #[test]
    fn dynamic_values_hold_over_the_start_and_topics_follow() {
        let start = config(&[("log.retention.hours", "1"), ("max.connections", "10")]);
        assert_eq!(start.topic_defaults.retention_ms, 3_600_000);
        let pair = |key: &str, value: &str| Values::from([(key.to_owned(), value.to_owned())]);
        let cluster = start.with_dynamic(&pair("log.retention.ms", "5"), &Values::new());
        assert_eq!(cluster.topic_defaults.retention_ms, 5);
        let broker = start.with_dynamic(
            &pair("log.retention.ms", "5"),
            &pair("log.retention.ms", "6"),
        );
        assert_eq!(broker.topic(&pair("segment.ms", "9")).retention_ms, 6);
        assert_eq!(broker.topic(&pair("retention.ms", "7")).retention_ms, 7);
        assert_eq!(broker.max_connections, 10);
        let useless = start.with_dynamic(
            &pair("num.partitions", "5"),
            &pair("max.connections", "many"),
        );
        assert_eq!((useless.num_partitions, useless.max_connections), (1, 10));
    }
}
