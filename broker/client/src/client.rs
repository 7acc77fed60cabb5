//! The way to a cluster: connections kept, metadata kept, and each request sent to whom it belongs.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use milena_protocol::api::find_coordinator::FindCoordinatorRequest;
use milena_protocol::api::metadata::{MetadataRequest, MetadataRequestTopic};
use milena_protocol::{ErrorCode, Request};
use parking_lot::Mutex;
use tokio::time::Instant;

use crate::Error;
use crate::connection::{Connection, ConnectionOptions};
use crate::error::ConnectionError;
use crate::metadata::{Cluster, Topic};
use crate::retry::retry;

/// Kafka's kind of coordinator that groups have.
const GROUP: i8 = 0;

/// So long a broker may be silent that is asked first, where others are left to ask: above what a busy one takes.
const TRY_NEXT: Duration = Duration::from_secs(3);

/// How a client reaches its cluster.
#[derive(Debug, Clone)]
pub struct ClientOptions {
    /// `host:port` of one or more brokers, by which the others are found.
    pub bootstrap: Vec<String>,
    /// How each connection behaves.
    pub connection: ConnectionOptions,
    /// How long one operation may take, all attempts together.
    pub deadline: Duration,
    /// Whether asking for an unknown topic lets the broker create it.
    pub create_topics: bool,
}

impl ClientOptions {
    /// `bootstrap` as Kafka's tools take it: `host:port,host:port`; the port is 9092 where it is left out.
    pub fn new(bootstrap: &str) -> Self {
        let servers = bootstrap.split(',').map(str::trim);
        Self {
            bootstrap: servers
                .filter(|server| !server.is_empty())
                .map(with_port)
                .collect(),
            connection: ConnectionOptions::default(),
            deadline: Duration::from_secs(30),
            create_topics: false,
        }
    }
}

fn with_port(server: &str) -> String {
    let host = server.rsplit(']').next().unwrap_or(server);
    if host.contains(':') {
        server.to_owned()
    } else {
        format!("{server}:9092")
    }
}

/// A handle to a cluster; clones share connections and metadata.
#[derive(Debug, Clone)]
pub struct Client {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    options: ClientOptions,
    connections: Mutex<HashMap<String, Connection>>,
    cluster: Mutex<Arc<Cluster>>,
    /// Held while metadata is asked for, so that many who miss it ask once.
    refreshing: tokio::sync::Mutex<()>,
}

/// The newest version of an API that this client speaks, where that is not the schema's newest.
///
/// | API | newest | why no newer |
/// | --- | --- | --- |
/// | Produce, Fetch | 12 | topic ids instead of names |
/// | OffsetCommit, OffsetFetch | 9, 7 | topic ids; many groups in one request |
/// | FindCoordinator | 3 | many keys in one request |
/// | DeleteTopics | 5 | names that may be null, and ids |
fn newest<R: Request>() -> i16 {
    match R::KEY {
        0 | 1 => 12,
        8 => 9,
        9 => 7,
        10 => 3,
        20 => 5,
        _ => i16::MAX,
    }
}

/// Sends `request` in the newest version that broker and client share, and waits for its answer.
pub(crate) async fn call<R: Request>(
    connection: &Connection,
    request: &R,
) -> Result<R::Response, Error> {
    call_in(connection, request, version::<R>(connection)?).await
}

/// Sends `request` in that version; an error where the broker does not serve it.
pub(crate) async fn call_in<R: Request>(
    connection: &Connection,
    request: &R,
    version: i16,
) -> Result<R::Response, Error> {
    if connection.version_up_to::<R>(version)? != version {
        return Err(Error::Unexpected(format!(
            "the broker does not serve {} {version}",
            R::NAME
        )));
    }
    let mut answer = connection.send(request, version).await?;
    Ok(answer.receive().await?)
}

/// The version in which [`call`] would send.
pub(crate) fn version<R: Request>(connection: &Connection) -> Result<i16, Error> {
    Ok(connection.version_up_to::<R>(newest::<R>())?)
}

impl Client {
    /// A client that connects when it is first used.
    pub fn new(options: ClientOptions) -> Self {
        Self {
            shared: Arc::new(Shared {
                options,
                connections: Mutex::default(),
                cluster: Mutex::new(Arc::new(Cluster::unknown())),
                refreshing: tokio::sync::Mutex::default(),
            }),
        }
    }

    /// How this client was made.
    pub fn options(&self) -> &ClientOptions {
        &self.shared.options
    }

    /// What is known of the cluster now, without asking.
    pub fn cluster(&self) -> Arc<Cluster> {
        self.shared.cluster.lock().clone()
    }

    /// Asks for the brokers and every topic.
    pub async fn refresh_all(&self) -> Result<Arc<Cluster>, Error> {
        retry(self.options().deadline, || self.ask(None)).await
    }

    /// Asks for the brokers and these topics; an unknown topic is found in the answer's `refused`.
    pub async fn refresh(&self, topics: &[&str]) -> Result<Arc<Cluster>, Error> {
        retry(self.options().deadline, || self.ask(Some(topics))).await
    }

    /// The topic as known, or asked for. A topic whose partitions have no leader yet is waited for.
    pub async fn topic(&self, name: &str) -> Result<Arc<Topic>, Error> {
        if let Some(topic) = self.cluster().topics.get(name) {
            return Ok(topic.clone());
        }
        retry(self.options().deadline, || self.ask_for_topic(name)).await
    }

    async fn ask_for_topic(&self, name: &str) -> Result<Arc<Topic>, Error> {
        let cluster = self.ask(Some(&[name])).await?;
        if let Some(topic) = cluster.topics.get(name) {
            return Ok(topic.clone());
        }
        let code = cluster.refused.get(name).copied();
        match code.unwrap_or(ErrorCode::UnknownTopicOrPartition) {
            // Being created: Kafka answers once more that it is unknown.
            ErrorCode::UnknownTopicOrPartition if self.options().create_topics => {
                Err(Error::refused(name, ErrorCode::LeaderNotAvailable, None))
            }
            ErrorCode::UnknownTopicOrPartition => Err(Error::UnknownTopic {
                topic: name.to_owned(),
            }),
            code => Err(Error::refused(format!("topic {name:?}"), code, None)),
        }
    }

    /// Forgets a topic's leaders if they were learnt before `seen`: someone was told that they are stale.
    pub async fn stale(&self, topic: &str, seen: Instant) -> Result<(), Error> {
        let _one_at_a_time = self.shared.refreshing.lock().await;
        let learnt = self.cluster().topics.get(topic).map(|topic| topic.read_at);
        if learnt.is_none_or(|learnt| learnt <= seen) {
            self.ask(Some(&[topic])).await?;
        }
        Ok(())
    }

    /// Asks anew for the topics of these partitions.
    pub(crate) async fn refresh_topics_of(
        &self,
        partitions: &[(String, i32)],
    ) -> Result<(), Error> {
        let mut topics: Vec<&str> = partitions.iter().map(|(topic, _)| &**topic).collect();
        topics.dedup();
        self.refresh(&topics).await.map(drop)
    }

    /// An error that names the first topic of these partitions that is not there any more.
    pub(crate) async fn still_has_topics_of(
        &self,
        partitions: &[(String, i32)],
    ) -> Result<(), Error> {
        let mut topics: Vec<&str> = partitions.iter().map(|(topic, _)| &**topic).collect();
        topics.dedup();
        self.still_has(&topics).await
    }

    /// Asks anew for these topics; an error that names the first that is not there any more.
    pub(crate) async fn still_has(&self, topics: &[&str]) -> Result<(), Error> {
        let refused = &self.refresh(topics).await?.refused;
        let is_gone =
            |topic: &&&str| refused.get(**topic) == Some(&ErrorCode::UnknownTopicOrPartition);
        match topics.iter().find(is_gone) {
            None => Ok(()),
            Some(gone) => Err(Error::UnknownTopic {
                topic: (*gone).to_owned(),
            }),
        }
    }

    async fn ask(&self, topics: Option<&[&str]>) -> Result<Arc<Cluster>, Error> {
        let named = |name: &&str| MetadataRequestTopic {
            name: Some((*name).into()),
            ..Default::default()
        };
        let request = MetadataRequest {
            topics: topics.map(|names| names.iter().map(named).collect()),
            allow_auto_topic_creation: self.options().create_topics,
            ..Default::default()
        };
        let connection = self.any().await?;
        let response = call(&connection, &request).await?;
        let mut cluster = self.shared.cluster.lock();
        *cluster = Arc::new(cluster.learn(&response));
        Ok(cluster.clone())
    }

    /// A connection to any broker: one that is open, or else the first that can be reached of those known
    /// and then of the bootstrap list.
    pub async fn any(&self) -> Result<Connection, Error> {
        let open = |connection: &&Connection| !connection.is_closed();
        if let Some(connection) = self.shared.connections.lock().values().find(open) {
            return Ok(connection.clone());
        }
        let cluster = self.cluster();
        let known = cluster.brokers.values().map(|broker| broker.address());
        let bootstrap = &self.options().bootstrap;
        let mut addresses: Vec<String> = Vec::new();
        for address in known.chain(bootstrap.iter().cloned()) {
            if !addresses.contains(&address) {
                addresses.push(address);
            }
        }
        let within = self.options().connection.connect_timeout;
        let mut problems = Vec::new();
        for (place, address) in addresses.iter().enumerate() {
            let is_last = place + 1 == addresses.len();
            let within = if is_last {
                within
            } else {
                within.min(TRY_NEXT)
            };
            match self.connect_within(address, within).await {
                Ok(connection) => return Ok(connection),
                Err(error) => problems.push(error),
            }
        }
        match problems.is_empty() {
            false => Err(Error::NoBroker {
                bootstrap: bootstrap.join(","),
                problems,
            }),
            true => Err(Error::Invalid(
                "the list of bootstrap servers is empty".into(),
            )),
        }
    }

    async fn connect(&self, address: &str) -> Result<Connection, ConnectionError> {
        let within = self.options().connection.connect_timeout;
        self.connect_within(address, within).await
    }

    async fn connect_within(
        &self,
        address: &str,
        within: Duration,
    ) -> Result<Connection, ConnectionError> {
        if let Some(open) = self.open_connection(address) {
            return Ok(open);
        }
        let options = ConnectionOptions {
            connect_timeout: within,
            ..self.options().connection.clone()
        };
        let connection = Connection::open(address, &options).await?;
        // Another caller may have opened one meanwhile: then all use that.
        if let Some(open) = self.open_connection(address) {
            return Ok(open);
        }
        let mut connections = self.shared.connections.lock();
        // A broker that has moved, or is gone, is not asked for by its address again.
        connections.retain(|_, known| !known.is_closed());
        connections.insert(address.to_owned(), connection.clone());
        Ok(connection)
    }

    fn open_connection(&self, address: &str) -> Option<Connection> {
        let connections = self.shared.connections.lock();
        let known = connections.get(address);
        known.filter(|connection| !connection.is_closed()).cloned()
    }

    /// A connection to the broker of that node id.
    pub async fn broker(&self, id: i32) -> Result<Connection, Error> {
        let mut cluster = self.cluster();
        if !cluster.brokers.contains_key(&id) {
            cluster = self.ask(Some(&[])).await?;
        }
        match cluster.brokers.get(&id) {
            Some(broker) => Ok(self.connect(&broker.address()).await?),
            None => Err(Error::refused(
                format!("broker {id}"),
                ErrorCode::BrokerNotAvailable,
                None,
            )),
        }
    }

    /// A connection to the partition's leader, as far as known.
    pub async fn leader(&self, topic: &str, partition: i32) -> Result<Connection, Error> {
        let found = self.topic(topic).await?;
        match found.partition(partition)?.leader {
            Some(leader) => self.broker(leader).await,
            None => Err(Error::refused(
                format!("{topic}-{partition}"),
                ErrorCode::LeaderNotAvailable,
                None,
            )),
        }
    }

    /// A connection to the broker that takes administration; asks anew where the one that is known can't be reached.
    pub async fn controller(&self) -> Result<Connection, Error> {
        if let Some(id) = self.cluster().controller
            && let Ok(connection) = self.broker(id).await
        {
            return Ok(connection);
        }
        match self.ask(Some(&[])).await?.controller {
            Some(id) => self.broker(id).await,
            None => self.any().await,
        }
    }

    /// A connection to the group's coordinator; asks each time.
    pub async fn coordinator(&self, group: &str) -> Result<Connection, Error> {
        let request = FindCoordinatorRequest {
            key: group.into(),
            key_type: GROUP,
            ..Default::default()
        };
        let found = call(&self.any().await?, &request).await?;
        Error::check(format!("group {group:?}"), found.error_code)?;
        match self.broker(found.node_id).await {
            Err(_) => {
                let address = with_port(&format!("{}:{}", found.host, found.port));
                Ok(self.connect(&address).await?)
            }
            connected => connected,
        }
    }

    /// Sends to the controller, tries again while that may help, and finds it anew each time.
    pub(crate) async fn call_controller<R: Request>(
        &self,
        request: &R,
        check: impl Fn(&R::Response) -> Result<(), Error>,
    ) -> Result<R::Response, Error> {
        retry(self.options().deadline, || async {
            let connection = self.controller().await?;
            let outcome = call(&connection, request).await;
            let outcome = outcome.and_then(|response| check(&response).map(|()| response));
            if let Err(error) = &outcome
                && error.is_retriable()
            {
                self.ask(Some(&[])).await.ok();
            }
            outcome
        })
        .await
    }

    /// Sends to the group's coordinator, tries again while that may help, and finds it anew each time.
    pub(crate) async fn call_coordinator<R: Request>(
        &self,
        group: &str,
        request: &R,
        check: impl Fn(&R::Response) -> Result<(), Error>,
    ) -> Result<R::Response, Error> {
        retry(self.options().deadline, || async {
            let connection = self.coordinator(group).await?;
            let response = call(&connection, request).await?;
            check(&response).map(|()| response)
        })
        .await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(not(feature = "simulation"))]
    #[tokio::test]
    async fn a_silent_server_is_left_for_the_next_and_all_that_fail_are_named() {
        // The system takes connections for it, as for a process that is stopped.
        let bound = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let silent = bound.local_addr().unwrap().to_string();
        let refuses = "127.0.0.1:1".to_owned();
        let client = Client::new(ClientOptions::new(&format!("{silent},{refuses}")));
        let begun = Instant::now();
        let told = client.any().await.unwrap_err().to_string();
        assert!(begun.elapsed() < TRY_NEXT * 2, "{:?}", begun.elapsed());
        for address in [silent, refuses] {
            assert!(told.contains(&format!("connect to {address}")), "{told}");
        }
    }

    #[test]
    fn a_bootstrap_server_without_a_port_gets_kafkas() {
        let options = ClientOptions::new("one, two:1234,[::1],[::1]:99,");
        assert_eq!(
            options.bootstrap,
            ["one:9092", "two:1234", "[::1]:9092", "[::1]:99"]
        );
    }
}
