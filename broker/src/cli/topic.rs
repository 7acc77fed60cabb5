//! `milena topic`: list, create, describe, alter, delete, move, unthrottle.

mod describe;
mod moves;

use clap::{Args, Subcommand};
use milena_client::admin::{ConfigChange, NewTopic, Resource};
use milena_client::{Client, Error, Topic};
use milena_protocol::ErrorCode;
use serde::Serialize;

use super::failure::{Exit, Failure, Stop};
use super::http::HttpArgs;
use super::output::{self, Format};
use super::target::ClusterArgs;

/// The most partitions that a topic may be asked to have: beyond it a slip of the finger is likelier.
const PARTITIONS_MAX: i64 = 200_000;

/// Create, list and change topics.
#[derive(Debug, Args)]
pub struct TopicArgs {
    #[command(flatten)]
    cluster: ClusterArgs,
    #[command(flatten)]
    http: HttpArgs,
    #[command(subcommand)]
    command: TopicCommand,
}

#[derive(Debug, Subcommand)]
enum TopicCommand {
    /// List the topics
    List {
        /// Kafka's own topics too
        #[arg(long)]
        internal: bool,
    },
    /// Create a topic
    Create(Create),
    /// Show partitions, offsets and configs
    Describe {
        /// Topics to show
        #[arg(required = true, value_name = "TOPIC")]
        topics: Vec<String>,
        /// Configs that are at their defaults too
        #[arg(long)]
        all_configs: bool,
    },
    /// Change a topic's configs, or give it more partitions
    Alter(Alter),
    /// Move partitions to other brokers
    Move(moves::Move),
    /// Show the partitions that are on their way, how many bytes are left, and how fast they go
    Moves,
    /// Take the throttle of `topic move` and `cluster drain` off all that has moved, and the rate with the last of it
    Unthrottle,
    /// Delete topics with all their records
    Delete {
        /// Topics to delete
        #[arg(required = true, value_name = "TOPIC")]
        topics: Vec<String>,
        /// A topic that is not there is no error
        #[arg(long)]
        if_exists: bool,
        /// Kafka's own topics too: with __consumer_offsets goes what all groups have committed
        #[arg(long)]
        internal: bool,
    },
}

#[derive(Debug, Args)]
struct Create {
    /// The topic's name
    topic: String,
    /// How many partitions [default: the broker's num.partitions]
    #[arg(short, long, allow_negative_numbers = true, value_parser = clap::value_parser!(i32).range(1..=PARTITIONS_MAX))]
    partitions: Option<i32>,
    /// How many replicas of each [default: the broker's default.replication.factor]
    #[arg(short, long, allow_negative_numbers = true, value_parser = clap::value_parser!(i16).range(1..))]
    replication_factor: Option<i16>,
    /// A config of the topic, such as retention.ms=3600000
    #[arg(short, long = "config", value_name = "NAME=VALUE", value_parser = name_and_value)]
    configs: Vec<(String, String)>,
    /// A topic that exists already is no error
    #[arg(long)]
    if_not_exists: bool,
    /// Only say whether it could be created
    #[arg(long)]
    dry_run: bool,
}

#[derive(Debug, Args)]
struct Alter {
    /// The topic's name
    topic: String,
    /// How many partitions it is to have in all
    #[arg(short, long, allow_negative_numbers = true, value_parser = clap::value_parser!(i32).range(1..=PARTITIONS_MAX))]
    partitions: Option<i32>,
    /// Set a config
    #[arg(short, long = "config", value_name = "NAME=VALUE", value_parser = name_and_value)]
    configs: Vec<(String, String)>,
    /// Take a config back to its default
    #[arg(short, long = "delete-config", value_name = "NAME")]
    delete_configs: Vec<String>,
    /// Only say whether it could be changed
    #[arg(long)]
    dry_run: bool,
}

fn name_and_value(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err("give NAME=VALUE".to_owned()),
    }
}

/// Runs the command.
pub async fn run(args: TopicArgs) -> Result<(), Failure> {
    let client = args.cluster.reach().await?;
    let format = args.cluster.output;
    let done = match args.command {
        TopicCommand::List { internal } => list(&client, internal, format).await,
        TopicCommand::Create(create) => create_topic(&client, create, format).await,
        TopicCommand::Describe {
            topics,
            all_configs,
        } => {
            let http = args.http.of(&args.cluster);
            describe::run(&client, &http, (&topics, all_configs), format).await
        }
        TopicCommand::Move(wanted) => wanted.run(&client, format).await,
        TopicCommand::Moves => moves::list(&client, format).await,
        TopicCommand::Unthrottle => moves::unthrottle(&client, format).await,
        TopicCommand::Alter(alter) => alter_topic(&client, alter, format).await,
        TopicCommand::Delete {
            topics,
            if_exists,
            internal,
        } => delete(&client, &topics, (if_exists, internal), format).await,
    };
    match done {
        Err(stop) => Err(stop.explained(&client).await),
        Ok(()) => Ok(()),
    }
}

async fn list(client: &Client, internal: bool, format: Format) -> Result<(), Stop> {
    let cluster = client.refresh_all().await?;
    let mut topics: Vec<_> = cluster
        .topics
        .values()
        .filter(|topic| internal || !topic.internal)
        .collect();
    topics.sort_by(|a, b| a.name.cmp(&b.name));
    let listed: Vec<Listed> = topics.into_iter().map(|topic| Listed::of(topic)).collect();
    if format == Format::Json {
        return Ok(output::json(&listed)?);
    }
    let rows = listed.iter().map(|topic| {
        let replicas = topic.replication_factor.to_string();
        [
            topic.name.clone(),
            topic.partitions.to_string(),
            replicas,
            topic.id.clone(),
        ]
    });
    Ok(output::table(
        ["topic", "partitions", "replicas", "id"],
        &rows.collect::<Vec<_>>(),
    )?)
}

#[derive(Serialize)]
struct Listed {
    name: String,
    id: String,
    partitions: usize,
    replication_factor: usize,
    internal: bool,
}

impl Listed {
    fn of(topic: &Topic) -> Self {
        Self {
            name: topic.name.clone(),
            id: topic.id.to_string(),
            partitions: topic.partitions.len(),
            replication_factor: topic
                .partitions
                .first()
                .map_or(0, |first| first.replicas.len()),
            internal: topic.internal,
        }
    }
}

async fn create_topic(client: &Client, create: Create, format: Format) -> Result<(), Stop> {
    let topic = NewTopic {
        name: create.topic,
        partitions: create.partitions,
        replication_factor: create.replication_factor,
        configs: create.configs,
    };
    let created = match client.create_topic(&topic, create.dry_run).await {
        Ok(()) => true,
        Err(error)
            if create.if_not_exists && error.code() == Some(ErrorCode::TopicAlreadyExists) =>
        {
            false
        }
        Err(error) => {
            return Err(with_config_names(
                error,
                topic.configs.iter().map(|(name, _)| name),
            ));
        }
    };
    let said = match (created, create.dry_run) {
        (true, true) => "could be created",
        (true, false) => "created",
        (false, _) => "exists already",
    };
    Ok(done(&topic.name, said, format)?)
}

/// Names the nearest known config where the broker does not know one.
fn with_config_names<'a>(error: Error, names: impl Iterator<Item = &'a String>) -> Stop {
    if error.code() != Some(ErrorCode::InvalidConfig) {
        return error.into();
    }
    let known: Vec<String> = crate::config::topic_settings()
        .map(|setting| setting.name.to_owned())
        .collect();
    let unknown = names.filter(|name| !known.contains(name));
    let near: Vec<String> = unknown
        .flat_map(|name| super::failure::similar(name, &known))
        .collect();
    // Our own broker names the nearest one itself.
    let is_told = near
        .first()
        .is_some_and(|name| error.to_string().contains(&**name));
    match near.first() {
        Some(_) if !is_told => {
            let failure = Failure::new(Exit::Failed, error.to_string());
            failure
                .hint(format!("similar names: {}", near.join(", ")))
                .into()
        }
        _ => error.into(),
    }
}

fn done(topic: &str, said: &str, format: Format) -> Result<(), Failure> {
    match format {
        Format::Json => output::json(&serde_json::json!({ "topic": topic, "result": said })),
        Format::Table => output::line(&format!("topic {topic}: {said}")),
    }
}

async fn alter_topic(client: &Client, alter: Alter, format: Format) -> Result<(), Stop> {
    if alter.partitions.is_none() && alter.configs.is_empty() && alter.delete_configs.is_empty() {
        let failure = Failure::new(Exit::Usage, "nothing to change");
        return Err(failure
            .hint("give --partitions, --config or --delete-config")
            .into());
    }
    client.topic(&alter.topic).await?;
    check_known(client, &alter.topic, &alter.delete_configs).await?;
    if let Some(count) = alter.partitions {
        client
            .add_partitions(&alter.topic, count, alter.dry_run)
            .await?;
    }
    let set = alter
        .configs
        .into_iter()
        .map(|(name, value)| (name, Some(value)));
    let unset = alter.delete_configs.into_iter().map(|name| (name, None));
    let changes: Vec<ConfigChange> = set.chain(unset).collect();
    if !changes.is_empty() {
        let altered = client
            .alter_configs(Resource::Topic, &alter.topic, &changes, alter.dry_run)
            .await;
        altered.map_err(|error| with_config_names(error, changes.iter().map(|(name, _)| name)))?;
    }
    let said = if alter.dry_run {
        "could be changed"
    } else {
        "changed"
    };
    Ok(done(&alter.topic, said, format)?)
}

/// A broker takes the deletion of a config that it does not know for done; a person has misspelt it.
async fn check_known(client: &Client, topic: &str, names: &[String]) -> Result<(), Stop> {
    if names.is_empty() {
        return Ok(());
    }
    let mut configs = client.configs(Resource::Topic, &[topic]).await?;
    let known = configs.remove(topic).unwrap_or_default().into_iter();
    let known: Vec<String> = known.map(|config| config.name).collect();
    let Some(unknown) = names.iter().find(|name| !known.contains(name)) else {
        return Ok(());
    };
    let failure = Failure::new(Exit::Failed, format!("a topic has no config {unknown:?}"));
    let near = super::failure::similar(unknown, &known);
    Err(match near.is_empty() {
        true => failure.hint("`milena topic describe --all-configs` lists them"),
        false => failure.hint(format!("similar names: {}", near.join(", "))),
    }
    .into())
}

async fn delete(
    client: &Client,
    topics: &[String],
    (if_exists, internal): (bool, bool),
    format: Format,
) -> Result<(), Stop> {
    if !internal {
        refuse_internal(client, topics).await?;
    }
    for topic in topics {
        let said = match client.delete_topic(topic).await {
            Ok(()) => "deleted",
            Err(error) if if_exists && error.code() == Some(ErrorCode::UnknownTopicOrPartition) => {
                "was not there"
            }
            Err(error) => return Err(error.into()),
        };
        done(topic, said, format)?;
    }
    Ok(())
}

/// Before the first is deleted.
async fn refuse_internal(client: &Client, topics: &[String]) -> Result<(), Stop> {
    let cluster = client.refresh_all().await?;
    let is_internal = |name: &&String| {
        cluster
            .topics
            .get(*name)
            .is_some_and(|topic| topic.internal)
    };
    let Some(name) = topics.iter().find(is_internal) else {
        return Ok(());
    };
    let text = format!("{name} is Kafka's own topic; nothing was deleted");
    let hint = "--internal deletes it; with __consumer_offsets goes what all groups have committed";
    Err(Failure::new(Exit::Usage, text).hint(hint).into())
}

fn ids(ids: &[i32]) -> String {
    let ids: Vec<String> = ids.iter().map(i32::to_string).collect();
    ids.join(",")
}
