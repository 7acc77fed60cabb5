//! The HTTP door of a broker, where the cluster is asked for what Kafka's protocol has no words for.

use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use serde::de::DeserializeOwned;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::failure::{Exit, Failure};
use super::target::ClusterArgs;
use crate::http::v1::admin_token::Token;

/// By how much a broker's HTTP port is above its clients' port where neither is set: 9404 and 9092.
pub const PORT_ABOVE_CLIENTS: u16 = 312;
/// The port of HTTP where it is not set.
const PORT_DEFAULT: u16 = 9404;
/// More than the plan for the largest cluster.
const ANSWER_BYTES_MAX: u64 = 256 << 20;
/// Looking a name up and connecting; and of several brokers, the first sign of one.
const CONNECT_WITHIN: Duration = Duration::from_secs(3);
const HTTP_NAMED: &str = "--http names the brokers' http.listener, such as localhost:9404";
/// Where the operator puts the token in a broker's container.
const TOKEN_FILE_IN_POD: &str = "/etc/milena/admin/token";

/// Where HTTP is.
#[derive(Debug, Clone, Args)]
pub struct HttpArgs {
    /// Brokers' http.listener, HOST:PORT[,HOST:PORT...] [default: the bootstrap's hosts, with a port 312 above the
    /// clients', such as localhost:9404]
    #[arg(long, global = true, value_name = "ADDRESSES")]
    http: Option<String>,
    /// A file with the token that brokers ask for where something is changed, as their http.admin.token.file
    #[arg(long, global = true, value_name = "FILE", env = "MILENA_TOKEN_FILE")]
    token_file: Option<PathBuf>,
}

/// The way to a broker's HTTP: of several, the first that answers.
#[derive(Debug, Clone)]
pub struct Http {
    addresses: Vec<String>,
    within: Duration,
    /// Read for each request, so that a new token counts at once.
    token_file: Option<PathBuf>,
}

/// What is asked.
struct Question<'a> {
    method: &'a str,
    path: &'a str,
    body: &'a str,
    token: Option<Token>,
}

/// An answer, whatever its status.
#[derive(Debug)]
pub struct Answer {
    /// HTTP's status.
    pub status: u16,
    body: Vec<u8>,
}

impl Answer {
    /// The answer as it was meant, or the error that it tells.
    pub fn read<T: DeserializeOwned>(&self) -> Result<T, Failure> {
        if self.status >= 400 {
            return Err(self.failure());
        }
        self.parse()
    }

    /// The body, whatever the status.
    pub fn parse<T: DeserializeOwned>(&self) -> Result<T, Failure> {
        serde_json::from_slice(&self.body).map_err(|error| {
            let text = format!("the broker's answer can't be read: {error}");
            Failure::new(Exit::Failed, text).hint("is it of another version than this program?")
        })
    }

    /// The error in words, without a full stop.
    fn told(&self) -> String {
        let told: Option<serde_json::Value> = serde_json::from_slice(&self.body).ok();
        let told = told.and_then(|told| told.get("error")?.as_str().map(str::to_owned));
        let text =
            told.unwrap_or_else(|| format!("the broker answered with status {}", self.status));
        text.trim_end_matches('.').to_owned()
    }

    fn failure(&self) -> Failure {
        let failure = Failure::new(self.exit(), self.told());
        match self.status {
            401 => failure
                .hint("--token-file or MILENA_TOKEN_FILE names the file with the cluster's token"),
            _ => failure,
        }
    }

    fn exit(&self) -> Exit {
        match self.status {
            404 => Exit::NotFound,
            400 => Exit::Usage,
            503 => Exit::Unreachable,
            _ => Exit::Failed,
        }
    }
}

impl HttpArgs {
    /// The HTTP of the brokers that the command is about.
    pub fn of(&self, cluster: &ClusterArgs) -> Http {
        let addresses = match &self.http {
            Some(given) => split(given),
            None => split(&cluster.bootstrap)
                .iter()
                .map(|at| beside(at))
                .collect(),
        };
        Http::new(addresses, cluster.timeout).with_token(self.token_file.clone())
    }

    /// The HTTP of the broker on this machine, as `MILENA_HTTP_LISTENER` has it for the broker, too. In a container of the
    /// operator's the token is found without a word.
    pub fn here(&self, cluster: &ClusterArgs) -> Http {
        let listener = std::env::var("MILENA_HTTP_LISTENER").ok();
        let address = match (&self.http, listener.filter(|text| !text.is_empty())) {
            (Some(given), _) => given.clone(),
            (None, Some(listener)) => local(&listener),
            (None, None) => format!("127.0.0.1:{PORT_DEFAULT}"),
        };
        let in_pod = || Some(PathBuf::from(TOKEN_FILE_IN_POD)).filter(|file| file.exists());
        let token_file = self.token_file.clone().or_else(in_pod);
        Http::new(split(&address), cluster.timeout).with_token(token_file)
    }
}

fn split(list: &str) -> Vec<String> {
    let items = list.split(',').map(str::trim);
    let items = items.filter(|item| !item.is_empty());
    items.map(str::to_owned).collect()
}

/// Where HTTP is beside a listener for clients.
fn beside(client: &str) -> String {
    let (host, port) = match client.rsplit_once(':') {
        Some((host, port)) if !host.is_empty() && !port.contains(']') => (host, port.parse().ok()),
        _ => (client, None),
    };
    let port = port.and_then(|port: u16| port.checked_add(PORT_ABOVE_CLIENTS));
    format!("{host}:{}", port.unwrap_or(PORT_DEFAULT))
}

/// A listener on every address is found on this machine's own.
fn local(listener: &str) -> String {
    match listener.rsplit_once(':') {
        Some(("" | "0.0.0.0", port)) => format!("127.0.0.1:{port}"),
        Some(("[::]", port)) => format!("[::1]:{port}"),
        _ => listener.to_owned(),
    }
}

impl Http {
    /// Asks these addresses in turn, within `within` each.
    pub fn new(addresses: Vec<String>, within: Duration) -> Self {
        Self {
            addresses,
            within,
            token_file: None,
        }
    }

    /// Sends the token of a file with all that changes something.
    fn with_token(self, token_file: Option<PathBuf>) -> Self {
        Self { token_file, ..self }
    }

    /// The same, with another bound.
    pub fn within(self, within: Duration) -> Self {
        Self { within, ..self }
    }

    /// The same of another host, with the port of the first address.
    pub fn at(&self, host: &str) -> Option<Self> {
        let port = self.addresses.first()?.rsplit_once(':')?.1;
        Some(Self {
            addresses: vec![format!("{host}:{port}")],
            ..self.clone()
        })
    }

    /// What is at a path.
    pub async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, Failure> {
        self.ask("GET", path, "").await?.read()
    }

    /// Asks for something; the body is JSON, or nothing.
    pub async fn post(&self, path: &str, body: &str) -> Result<Answer, Failure> {
        self.ask("POST", path, body).await
    }

    /// Asks for something to be taken away.
    pub async fn delete(&self, path: &str) -> Result<Answer, Failure> {
        self.ask("DELETE", path, "").await
    }

    /// Whether the first of them serves clients.
    pub async fn is_ready(&self) -> bool {
        let answer = self.ask("GET", "/healthz/ready", "").await;
        answer.is_ok_and(|answer| answer.status == 200)
    }

    /// The first that can be reached, and is past its start, answers.
    async fn ask(&self, method: &str, path: &str, body: &str) -> Result<Answer, Failure> {
        let token = match &self.token_file {
            // What only reads needs none, and so shows it to nobody.
            Some(file) if method != "GET" => Some(read_token(file)?),
            _ => None,
        };
        let question = Question {
            method,
            path,
            body,
            token,
        };
        let mut failed = Vec::new();
        let mut not_serving = None;
        for (place, address) in self.addresses.iter().enumerate() {
            let is_last = place + 1 == self.addresses.len();
            if !is_last && let Err(silent) = self.probe(address).await {
                failed.push(silent);
                continue;
            }
            match exchange(address, &question, self.within).await {
                Ok(answer) if answer.status == 503 => not_serving = Some(answer),
                // What was not only read may have been done.
                Err(failure) if is_last || method == "GET" && failure.exit == Exit::Unreachable => {
                    failed.push(failure);
                }
                answer => return answer,
            }
        }
        match not_serving {
            Some(answer) => Ok(answer),
            None => Err(all_of(failed)),
        }
    }

    /// Whether a broker answers at all, before it is asked for what may take long, or must not be done twice: others are
    /// left to ask.
    async fn probe(&self, address: &str) -> Result<(), Failure> {
        let question = Question {
            method: "GET",
            path: "/healthz/live",
            body: "",
            token: None,
        };
        let within = self.within.min(CONNECT_WITHIN);
        exchange(address, &question, within).await.map(drop)
    }
}

/// One failure that names every address.
fn all_of(failed: Vec<Failure>) -> Failure {
    let texts: Vec<String> = failed.iter().map(|one| one.text().to_owned()).collect();
    match failed.into_iter().last() {
        None => Failure::new(Exit::Usage, "--http names no address"),
        Some(only) if texts.len() == 1 => only,
        Some(last) => Failure::new(last.exit, texts.join("; ")).hint(HTTP_NAMED),
    }
}

fn read_token(file: &Path) -> Result<Token, Failure> {
    Token::read(file).map_err(|why| {
        let text = format!("the token can't be read: {why}");
        Failure::new(Exit::NotFound, text).hint("--token-file or MILENA_TOKEN_FILE names its file")
    })
}

fn unreachable(address: &str, why: &str) -> Failure {
    Failure::new(
        Exit::Unreachable,
        format!("no broker's HTTP answers at {address}: {why}"),
    )
    .hint(HTTP_NAMED)
}

async fn connect(address: &str, within: Duration) -> Result<TcpStream, String> {
    let within = within.min(CONNECT_WITHIN);
    match tokio::time::timeout(within, TcpStream::connect(address)).await {
        Ok(connected) => connected.map_err(|error| error.to_string()),
        Err(_) => Err(format!("no connection within {within:?}")),
    }
}

/// Asks one broker.
async fn exchange(
    address: &str,
    question: &Question<'_>,
    within: Duration,
) -> Result<Answer, Failure> {
    let connected = connect(address, within).await;
    let mut stream = connected.map_err(|why| unreachable(address, &why))?;
    let answer = send(&mut stream, address, question);
    match tokio::time::timeout(within, answer).await {
        Ok(answer) => answer.map_err(|error| unreachable(address, &error.to_string())),
        Err(_) => Err(Failure::new(
            Exit::TimedOut,
            format!("{address} did not answer within {within:?}"),
        )),
    }
}

/// One request; the other end closes behind its answer.
async fn send(
    stream: &mut TcpStream,
    address: &str,
    question: &Question<'_>,
) -> std::io::Result<Answer> {
    let Question {
        method,
        path,
        body,
        token,
    } = question;
    let token = token.as_ref().map_or_else(String::new, |token| {
        format!("Authorization: Bearer {}\r\n", token.expose())
    });
    let request = format!(
        "{method} {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\nContent-Type: application/json\r\n\
         {token}Content-Length: {}\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(request.as_bytes()).await?;
    let mut answer = Vec::new();
    stream
        .take(ANSWER_BYTES_MAX)
        .read_to_end(&mut answer)
        .await?;
    split_answer(&answer).ok_or_else(|| std::io::Error::other("what answers there is not HTTP"))
}

fn split_answer(answer: &[u8]) -> Option<Answer> {
    const END: &[u8] = b"\r\n\r\n";
    let head = answer.windows(END.len()).position(|four| four == END)?;
    let line = std::str::from_utf8(answer.get(..head)?).ok()?;
    let line = line.strip_prefix("HTTP/1.")?;
    let status = line.split(' ').nth(1)?.trim_end().get(..3)?.parse().ok()?;
    let body = answer.get(head + END.len()..)?.to_vec();
    Some(Answer { status, body })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn http_is_looked_for_beside_the_clients_listener() {
        assert_eq!(beside("localhost:9092"), "localhost:9404");
        assert_eq!(beside("kafka:9093"), "kafka:9405");
        assert_eq!(beside("kafka"), "kafka:9404");
        assert_eq!(beside("[::1]:9092"), "[::1]:9404");
        assert_eq!(beside("[::1]"), "[::1]:9404");
    }

    #[test]
    fn a_listener_on_every_address_is_asked_on_this_machines() {
        assert_eq!(local("0.0.0.0:9404"), "127.0.0.1:9404");
        assert_eq!(local(":9404"), "127.0.0.1:9404");
        assert_eq!(local("10.0.0.7:9404"), "10.0.0.7:9404");
    }

    /// The system takes connections for it, as for a process that is stopped.
    async fn silent() -> (tokio::net::TcpListener, String) {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        (listener, address)
    }

    #[tokio::test]
    async fn a_silent_broker_is_left_for_the_next() {
        let (_bound, first) = silent().await;
        let (listener, second) = silent().await;
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                assert!(stream.read(&mut [0; 1024]).await.unwrap() > 0);
                let answer = b"HTTP/1.1 200 OK\r\n\r\n7";
                stream.write_all(answer).await.unwrap();
            }
        });
        let http = Http::new(vec![first, second], Duration::from_secs(60));
        let begun = std::time::Instant::now();
        assert_eq!(http.get::<i32>("/v1/seven").await, Ok(7));
        assert!(
            begun.elapsed() < CONNECT_WITHIN * 2,
            "{:?}",
            begun.elapsed()
        );
    }

    #[tokio::test]
    async fn all_that_do_not_answer_are_named() {
        let within = Duration::from_millis(100);
        let (_bound, silent) = silent().await;
        let gone = "127.0.0.1:1".to_owned();
        let both = Http::new(vec![gone.clone(), silent.clone()], within);
        let failure = both.get::<i32>("/v1/seven").await.unwrap_err();
        assert!(failure.text().contains(&gone), "{failure}");
        assert!(failure.text().contains(&silent), "{failure}");
        assert_eq!(failure.exit, Exit::TimedOut);
    }

    #[test]
    fn an_answer_is_its_status_and_its_body() {
        let answer =
            split_answer(b"HTTP/1.1 409 Conflict\r\na: b\r\n\r\n{\"error\":\"no\"}").unwrap();
        assert_eq!(answer.status, 409);
        let failure = answer.read::<serde_json::Value>().unwrap_err();
        assert_eq!(failure.to_string(), "error: no");
        assert!(split_answer(b"SSH-2.0\r\n\r\n").is_none());
        assert!(split_answer(b"HTTP/1.1 200").is_none());
    }
}
