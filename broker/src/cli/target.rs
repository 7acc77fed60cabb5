//! Which cluster a command speaks to, how long it tries, and how it prints.

use std::time::Duration;

use clap::Args;
use milena_client::{Client, ClientOptions};

use super::failure::{Exit, Failure};
use super::output::Format;

/// Options that every command has which speaks to a broker.
#[derive(Debug, Clone, Args)]
pub struct ClusterArgs {
    /// Brokers to ask first, HOST:PORT[,HOST:PORT...]
    #[arg(
        short,
        long,
        global = true,
        value_name = "SERVERS",
        env = "MILENA_BOOTSTRAP",
        default_value = "localhost:9092",
        value_parser = servers
    )]
    pub bootstrap: String,
    /// How to print: a table for people, or JSON for programs
    #[arg(short, long, global = true, value_enum, default_value_t = Format::Table)]
    pub output: Format,
    /// How long an operation is tried, such as 30s or 2m
    #[arg(long, global = true, value_name = "TIME", default_value = "15s", value_parser = duration)]
    pub timeout: Duration,
}

impl ClusterArgs {
    /// A client for the cluster, not connected yet.
    pub fn client(&self) -> Client {
        Client::new(self.client_options())
    }

    /// How a client for the cluster is made.
    pub fn client_options(&self) -> ClientOptions {
        let mut options = ClientOptions::new(&self.bootstrap);
        options.deadline = self.timeout;
        options.connection.client_id = "milena-cli".into();
        options.connection.connect_timeout = self.timeout.min(options.connection.connect_timeout);
        options.connection.request_timeout = self.timeout.max(Duration::from_secs(1));
        options
    }

    /// Fails at once, and says why, where no broker can be reached: a command that only retried would
    /// keep a person waiting for a broker that is not there.
    pub async fn reach(&self) -> Result<Client, Failure> {
        let client = self.client();
        match client.any().await {
            Ok(_) => Ok(client),
            Err(error) => Err(
                Failure::new(Exit::Unreachable, error.to_string()).hint(format!(
                    "is the broker running, and is {} its address? `milena serve` starts one; \
                 --bootstrap or MILENA_BOOTSTRAP names another",
                    self.bootstrap
                )),
            ),
        }
    }
}

/// Checks `HOST[:PORT],...`; an IPv6 address stands in brackets.
fn servers(text: &str) -> Result<String, String> {
    let mut servers = text.split(',').map(str::trim).filter(|s| !s.is_empty());
    let is_good = |server: &str| {
        let host = server.rfind(']').map_or(0, |end| end + 1);
        match server[host..].rsplit_once(':') {
            Some((before, port)) => {
                server.len() > port.len() + 1
                    && !before.contains(':')
                    && port.parse::<u16>().is_ok_and(|port| port > 0)
            }
            None => true,
        }
    };
    let mut count = 0;
    match servers.find(|server| {
        count += 1;
        !is_good(server)
    }) {
        Some(bad) => Err(format!("{bad:?} is no HOST:PORT, such as localhost:9092")),
        None if count == 0 => Err("give at least one HOST:PORT".to_owned()),
        None => Ok(text.to_owned()),
    }
}

/// Reads `500ms`, `30s`, `1h 30m` or ISO 8601's `PT30S`; never a negative one.
pub fn duration(text: &str) -> Result<Duration, String> {
    let parsed: Result<jiff::SignedDuration, _> = text.parse();
    parsed
        .ok()
        .and_then(|duration| Duration::try_from(duration).ok())
        .ok_or_else(|| "give a time such as 500ms, 30s or 2m".to_owned())
}

/// Reads `2026-11-22T18:30:00Z`, the same without a zone (UTC), a day, or milliseconds since 1970.
pub fn timestamp_ms(text: &str) -> Result<i64, String> {
    if let Ok(millis) = text.parse::<i64>() {
        return Ok(millis);
    }
    if let Ok(timestamp) = text.parse::<jiff::Timestamp>() {
        return Ok(timestamp.as_millisecond());
    }
    let civil = text.parse::<jiff::civil::DateTime>();
    let utc = civil.and_then(|civil| civil.to_zoned(jiff::tz::TimeZone::UTC));
    utc.map(|zoned| zoned.timestamp().as_millisecond())
        .map_err(|_| {
            "give a time such as 2026-11-22T18:30:00Z, or milliseconds since 1970".to_owned()
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_read_as_people_and_iso_8601_write_them() {
        assert_eq!(duration("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(duration("PT1M30S"), Ok(Duration::from_secs(90)));
        assert!(duration("-1s").is_err());
        assert!(duration("soon").is_err());
    }

    #[test]
    fn bootstrap_servers_are_hosts_with_or_without_a_port() {
        for good in ["localhost", "a:1,b:65535", "[::1]:9092", "[::1]", "a:1,"] {
            assert_eq!(servers(good), Ok(good.to_owned()));
        }
        for bad in [
            "", ",", "a:b", "a:0", "a:65536", ":9092", "::1", "a:1:2", "a:",
        ] {
            assert!(servers(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn times_read_with_and_without_a_zone() {
        assert_eq!(timestamp_ms("1970-01-01T00:00:01Z"), Ok(1000));
        assert_eq!(timestamp_ms("1970-01-01T01:00:01+01:00"), Ok(1000));
        assert_eq!(timestamp_ms("1970-01-01T00:00:01"), Ok(1000));
        assert_eq!(timestamp_ms("1970-01-02"), Ok(86_400_000));
        assert_eq!(timestamp_ms("77"), Ok(77));
        assert!(timestamp_ms("yesterday").is_err());
    }
}
