//! Every value in effect with where it comes from, as DescribeConfigs tells it (KIP-226, KIP-569).

use super::{BrokerConfig, Setting, Update, Values, broker_settings, find, topic, topic_settings};

/// Where a value comes from, with the API's code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(i8)]
pub enum Source {
    /// The topic's own value.
    DynamicTopic = 1,
    /// This broker's dynamic value.
    DynamicBroker = 2,
    /// The cluster's dynamic value.
    DynamicDefaultBroker = 3,
    /// The file, environment or flags of the start.
    StaticBroker = 4,
    /// The table.
    Default = 5,
}

impl Source {
    /// The API's code.
    pub const fn code(self) -> i8 {
        self as i8
    }
}

/// One value that a setting has or would have, in order of precedence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Synonym {
    /// The setting that gives it.
    pub name: &'static str,
    /// The value, as that setting writes it; `None` where it is never shown.
    pub value: Option<String>,
    /// Where it comes from.
    pub source: Source,
}

/// A setting with its value.
#[derive(Debug, Clone)]
pub struct Described {
    /// Its row.
    pub setting: &'static Setting,
    /// What holds; `None` is no value, or one that is never shown.
    pub value: Option<String>,
    /// Where that comes from.
    pub source: Source,
    /// Whether a running broker takes no other.
    pub read_only: bool,
    /// All values there are, the one that holds first.
    pub synonyms: Vec<Synonym>,
}

impl BrokerConfig {
    /// All of this broker's settings, those of Kafka's that do nothing here too.
    pub fn describe_broker(&self) -> Vec<Described> {
        let describe = |setting: &'static Setting| {
            let synonyms = self.broker_synonyms(setting);
            let source = synonyms
                .first()
                .map_or(Source::Default, |synonym| synonym.source);
            let value = match setting.name {
                "node.id" => Some(self.node_id.to_string()),
                name => self.layers.get(name).map(str::to_owned),
            };
            Described {
                value: value.filter(|_| !setting.is_sensitive()),
                source,
                read_only: setting.update == Update::ReadOnly,
                synonyms,
                setting,
            }
        };
        broker_settings().map(describe).collect()
    }

    /// The cluster's dynamic values alone.
    pub fn describe_all_brokers(&self) -> Vec<Described> {
        let described = self.layers.cluster.iter().filter_map(|(name, value)| {
            let setting = find(name)?;
            let synonym = shown(setting, value, Source::DynamicDefaultBroker);
            Some(Described {
                value: synonym.value.clone(),
                source: Source::DynamicDefaultBroker,
                read_only: setting.update == Update::ReadOnly,
                synonyms: vec![synonym],
                setting,
            })
        });
        described.collect()
    }

    /// A topic's settings, given its own values.
    pub fn describe_topic(&self, own: &Values) -> Vec<Described> {
        let describe = |setting: &'static Setting| {
            let own = own
                .get(setting.name)
                .map(|value| shown(setting, value, Source::DynamicTopic));
            let inherited = setting.synonyms.iter().flat_map(|(name, _)| {
                find(name)
                    .into_iter()
                    .flat_map(|setting| self.layered(setting))
            });
            let mut synonyms: Vec<Synonym> = inherited.collect();
            let value = match &own {
                Some(own) => own.value.clone(),
                None => topic::inherited(setting, &self.layers).map(String::from),
            };
            synonyms.splice(0..0, own);
            let source = synonyms
                .first()
                .map_or(Source::Default, |synonym| synonym.source);
            Described {
                value,
                source,
                read_only: false,
                synonyms,
                setting,
            }
        };
        topic_settings().map(describe).collect()
    }

    /// A broker setting's values, and after them those of the settings that count where it has none: the
    /// topics' rows name them in their order.
    fn broker_synonyms(&self, setting: &'static Setting) -> Vec<Synonym> {
        let chain = topic_settings().find_map(|topic| {
            let at = topic
                .synonyms
                .iter()
                .position(|(name, _)| *name == setting.name)?;
            Some(&topic.synonyms[at + 1..])
        });
        let others = chain
            .unwrap_or_default()
            .iter()
            .filter_map(|(name, _)| find(name));
        std::iter::once(setting)
            .chain(others)
            .flat_map(|setting| self.layered(setting))
            .collect()
    }

    /// One setting's values, the one that holds first.
    fn layered(&self, setting: &'static Setting) -> Vec<Synonym> {
        let layers = [
            (&self.layers.broker, Source::DynamicBroker),
            (&self.layers.cluster, Source::DynamicDefaultBroker),
            (&self.layers.start, Source::StaticBroker),
        ];
        let given = layers
            .into_iter()
            .filter_map(|(values, source)| Some(shown(setting, values.get(setting.name)?, source)));
        let default = setting
            .default
            .map(|value| shown(setting, value, Source::Default));
        given.chain(default).collect()
    }
}

/// In the form that holds; what another version left here as it is.
fn shown(setting: &'static Setting, value: &str, source: Source) -> Synonym {
    let value = setting.check(value).unwrap_or_else(|_| value.to_owned());
    Synonym {
        name: setting.name,
        value: (!setting.is_sensitive()).then_some(value),
        source,
    }
}

#[cfg(test)]
mod tests {
    use super::super::Sources;
    use super::*;

    fn values(pairs: &[(&str, &str)]) -> Values {
        pairs
            .iter()
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
            .collect()
    }

    fn of(described: Vec<Described>, name: &str) -> Described {
        described
            .into_iter()
            .find(|described| described.setting.name == name)
            .unwrap()
    }

    fn lines(described: &Described) -> Vec<String> {
        let line = |s: &Synonym| {
            format!(
                "{:?} {}={}",
                s.source,
                s.name,
                s.value.as_deref().unwrap_or("?")
            )
        };
        described.synonyms.iter().map(line).collect()
    }

    #[test]
    fn a_topics_value_is_told_with_all_that_it_hides() {
        let (start, _) = Sources::of(&[("log.retention.hours", "2")]).load().unwrap();
        let config = start.with_dynamic(
            &values(&[("log.retention.ms", "5")]),
            &values(&[("log.retention.ms", "6")]),
        );
        let own = of(
            config.describe_topic(&values(&[("retention.ms", "7")])),
            "retention.ms",
        );
        assert_eq!(
            (own.value.as_deref(), own.source),
            (Some("7"), Source::DynamicTopic)
        );
        let expected = [
            "DynamicTopic retention.ms=7",
            "DynamicBroker log.retention.ms=6",
            "DynamicDefaultBroker log.retention.ms=5",
            "StaticBroker log.retention.hours=2",
            "Default log.retention.hours=168",
        ];
        assert_eq!(lines(&own), expected);
        let inherited = of(start.describe_topic(&Values::new()), "retention.ms");
        assert_eq!(
            (inherited.value.as_deref(), inherited.source),
            (Some("7200000"), Source::StaticBroker)
        );
    }

    #[test]
    fn a_brokers_value_is_told_with_its_layers() {
        let (start, _) = Sources::of(&[("max.connections", "9"), ("ssl.key.password", "secret")])
            .load()
            .unwrap();
        let config = start.with_dynamic(&values(&[("max.connections", "5")]), &Values::new());
        let all = config.describe_broker();
        let max = of(all.clone(), "max.connections");
        assert!(!max.read_only);
        let expected = [
            "DynamicDefaultBroker max.connections=5",
            "StaticBroker max.connections=9",
            "Default max.connections=2147483647",
        ];
        assert_eq!(lines(&max), expected);
        assert_eq!(of(all.clone(), "node.id").source, Source::Default);
        assert!(of(all.clone(), "node.id").read_only);
        let password = of(all, "ssl.key.password");
        assert_eq!(
            (password.value, lines_hide(&password.synonyms)),
            (None, true)
        );
        assert_eq!(config.describe_all_brokers().len(), 1);
    }

    fn lines_hide(synonyms: &[Synonym]) -> bool {
        synonyms.iter().all(|synonym| synonym.value.is_none())
    }
}
