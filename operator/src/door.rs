//! The one door to a cluster's brokers: `/v1` over HTTP, and Kafka's protocol by [`Door::kafka`].
//!
//! Every call is bounded in time and in bytes. A read that may go to any broker tries the one that answered last, then
//! the others; a change is sent to another broker only where it surely did not arrive.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Bytes;
use hyper::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE};
use hyper::{Method, Request, StatusCode};
use hyper_util::client::legacy::Client as Http;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use milena_client::ClientOptions;
use serde::de::DeserializeOwned;
use serde_json::Value;
use thiserror::Error;
use tokio::time::{Instant, timeout_at};

use crate::leader::{Leadership, NotLeading};

/// How long one call may take, all its attempts together, where the caller says nothing else.
pub const WITHIN: Duration = Duration::from_secs(5);
/// One attempt of several: a stopped process accepts connections and never answers.
const ATTEMPT: Duration = Duration::from_secs(2);
/// Name lookup apart, a broker in the same network accepts in milliseconds.
const CONNECT: Duration = Duration::from_secs(1);
/// Idle connections are closed before a broker's own limit does it.
const IDLE: Duration = Duration::from_secs(20);
/// The longest answer: a snapshot of some 100,000 topics.
const ANSWER_BYTES_MAX: usize = 64 << 20;
/// Of an error's body as it is put into messages.
const ERROR_CHARS_MAX: usize = 300;

/// One cluster's brokers.
#[derive(Debug)]
pub struct Door {
    brokers: Vec<(i32, String)>,
    token: Option<String>,
    http: Http<HttpConnector, Full<Bytes>>,
    kafka: milena_client::Client,
    /// Which of `brokers` answered last.
    first: AtomicUsize,
    /// Changes are refused once it is over; without it they never are.
    leadership: Option<Leadership>,
}

/// Who is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum At {
    /// Whoever answers.
    Any,
    /// This broker.
    Broker(i32),
}

/// Why a call had no result.
#[derive(Debug, Error)]
pub enum DoorError {
    /// Nobody answered.
    #[error("no broker answers{}: {last}", asked(.at))]
    Unreachable {
        /// Who was asked.
        at: At,
        /// What the last attempt ended with.
        last: String,
    },
    /// A broker answered that it does not.
    #[error("broker {broker} answers {status}: {error}")]
    Refused {
        /// Who.
        broker: i32,
        /// The HTTP status.
        status: u16,
        /// Its own words.
        error: String,
        /// The whole answer, where it is JSON.
        body: Value,
    },
    /// An answer of another shape than this version of the operator knows.
    #[error("broker {broker} answers {path} with something else: {problem}")]
    Unreadable {
        /// Who.
        broker: i32,
        /// What was asked.
        path: String,
        /// What is wrong with it.
        problem: String,
    },
    /// The door knows no such broker.
    #[error("broker {0} has no address")]
    Unknown(i32),
    /// Another operator may lead by now.
    #[error(transparent)]
    NotLeading(#[from] NotLeading),
}

impl DoorError {
    /// The status of a refusal.
    pub fn status(&self) -> Option<u16> {
        match self {
            Self::Refused { status, .. } => Some(*status),
            _ => None,
        }
    }
}

fn asked(at: &At) -> String {
    match at {
        At::Any => String::new(),
        At::Broker(id) => format!(" as {id}"),
    }
}

/// One attempt's end without an answer.
struct Missed {
    /// The request surely did not arrive.
    unsent: bool,
    problem: String,
}

impl Door {
    /// `http` and `kafka` are `host:port` lists. Nothing is connected yet.
    pub fn new(http: Vec<(i32, String)>, kafka: Vec<String>, token: Option<String>) -> Door {
        let mut connector = HttpConnector::new();
        connector.set_connect_timeout(Some(CONNECT));
        connector.set_nodelay(true);
        let client = Http::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE)
            .pool_max_idle_per_host(1)
            .build(connector);
        let mut options = ClientOptions::new(&kafka.join(","));
        options.connection.client_id = "milena-operator".into();
        options.connection.connect_timeout = WITHIN;
        options.deadline = 2 * WITHIN;
        Door {
            brokers: http,
            token,
            http: client,
            kafka: milena_client::Client::new(options),
            first: AtomicUsize::new(0),
            leadership: None,
        }
    }

    /// Refuses to change anything once `leadership` is over.
    pub fn guarded(self, leadership: Leadership) -> Door {
        Door {
            leadership: Some(leadership),
            ..self
        }
    }

    /// Reads `path`, such as `/v1/brokers`.
    pub async fn get<T: DeserializeOwned>(&self, at: At, path: &str) -> Result<T, DoorError> {
        self.call(Method::GET, at, path, None, WITHIN).await
    }

    /// Reads `path` and waits longer for it than usual: for requests that the broker holds until there is something.
    pub async fn get_within<T: DeserializeOwned>(
        &self,
        at: At,
        path: &str,
        limit: Duration,
    ) -> Result<T, DoorError> {
        self.call(Method::GET, at, path, None, limit).await
    }

    /// Changes something.
    pub async fn post<T: DeserializeOwned>(
        &self,
        at: At,
        path: &str,
        body: &Value,
    ) -> Result<T, DoorError> {
        self.call(Method::POST, at, path, Some(body), WITHIN).await
    }

    /// Changes something that takes brokers longer than usual. Where nobody says which broker, the first one that accepts
    /// has all of that time.
    pub async fn post_within<T: DeserializeOwned>(
        &self,
        at: At,
        path: &str,
        body: &Value,
        limit: Duration,
    ) -> Result<T, DoorError> {
        self.call(Method::POST, at, path, Some(body), limit).await
    }

    /// Takes something back.
    pub async fn delete<T: DeserializeOwned>(&self, at: At, path: &str) -> Result<T, DoorError> {
        self.call(Method::DELETE, at, path, None, WITHIN).await
    }

    /// The cluster by Kafka's protocol, to read.
    pub fn kafka(&self) -> &milena_client::Client {
        &self.kafka
    }

    /// The same, to change something: refused once another operator may lead.
    pub fn kafka_to_change(&self) -> Result<&milena_client::Client, milena_client::Error> {
        let leads = self.leadership.as_ref().map_or(Ok(()), Leadership::check);
        leads.map_err(|over| milena_client::Error::Invalid(over.to_string()))?;
        Ok(&self.kafka)
    }

    async fn call<T: DeserializeOwned>(
        &self,
        method: Method,
        at: At,
        path: &str,
        body: Option<&Value>,
        limit: Duration,
    ) -> Result<T, DoorError> {
        let deadline = Instant::now() + limit;
        let turns = self.turns(at)?;
        let mut last = "the cluster has no brokers".to_owned();
        for &turn in &turns {
            let (broker, address) = &self.brokers[turn];
            // What is known to take long may use its whole time; of several short attempts each has its share.
            let share = match turns.len() {
                1 => limit,
                _ if limit > WITHIN => limit,
                _ => ATTEMPT,
            };
            let until = deadline.min(Instant::now() + share);
            if let Some(leadership) = self.leadership.as_ref().filter(|_| method != Method::GET) {
                leadership.check()?;
            }
            match self.once(&method, address, path, body, until).await {
                Ok((StatusCode::SERVICE_UNAVAILABLE, bytes)) if at == At::Any => {
                    last = format!("{address}: {}", words(&bytes));
                }
                Ok((status, bytes)) => {
                    self.first.store(turn, Ordering::Relaxed);
                    return read(*broker, path, status, &bytes);
                }
                Err(Missed { unsent, problem }) => {
                    last = format!("{address}: {problem}");
                    self.first.store(turn + 1, Ordering::Relaxed);
                    if !unsent && method != Method::GET {
                        break;
                    }
                }
            }
            if Instant::now() >= deadline {
                break;
            }
        }
        Err(DoorError::Unreachable { at, last })
    }

    /// Whom to ask, by index, in order.
    fn turns(&self, at: At) -> Result<Vec<usize>, DoorError> {
        let count = self.brokers.len();
        match at {
            At::Any => {
                let first = self.first.load(Ordering::Relaxed);
                Ok((0..count).map(|turn| (first + turn) % count).collect())
            }
            At::Broker(id) => {
                let found = self.brokers.iter().position(|(known, _)| *known == id);
                found.map(|turn| vec![turn]).ok_or(DoorError::Unknown(id))
            }
        }
    }

    async fn once(
        &self,
        method: &Method,
        address: &str,
        path: &str,
        body: Option<&Value>,
        until: Instant,
    ) -> Result<(StatusCode, Bytes), Missed> {
        let failed = |problem: String| Missed {
            unsent: false,
            problem,
        };
        let mut request = Request::builder()
            .method(method)
            .uri(format!("http://{address}{path}"))
            .header(ACCEPT, "application/json");
        if let Some(token) = &self.token {
            request = request.header(AUTHORIZATION, format!("Bearer {token}"));
        }
        let bytes = body.map(Value::to_string).unwrap_or_default();
        if body.is_some() {
            request = request.header(CONTENT_TYPE, "application/json");
        }
        let request = request
            .body(Full::from(bytes))
            .map_err(|error| failed(error.to_string()))?;
        let answered = async {
            let answer = self.http.request(request).await.map_err(|error| Missed {
                unsent: error.is_connect(),
                problem: chain(&error),
            })?;
            let status = answer.status();
            let body = Limited::new(answer.into_body(), ANSWER_BYTES_MAX);
            let body = body.collect().await;
            let body = body.map_err(|error| failed(error.to_string()))?;
            Ok((status, body.to_bytes()))
        };
        let answered = timeout_at(until, answered).await;
        answered.unwrap_or_else(|_| Err(failed("no answer in time".to_owned())))
    }
}

fn read<T: DeserializeOwned>(
    broker: i32,
    path: &str,
    status: StatusCode,
    bytes: &[u8],
) -> Result<T, DoorError> {
    if status.is_success() {
        return serde_json::from_slice(bytes).map_err(|error| DoorError::Unreadable {
            broker,
            path: path.to_owned(),
            problem: error.to_string(),
        });
    }
    Err(DoorError::Refused {
        broker,
        status: status.as_u16(),
        error: words(bytes),
        body: serde_json::from_slice(bytes).unwrap_or_default(),
    })
}

/// What an error's answer says: the `error` of its JSON, or its beginning.
fn words(bytes: &[u8]) -> String {
    let json: Value = serde_json::from_slice(bytes).unwrap_or_default();
    let text = match json["error"].as_str() {
        Some(error) => error.to_owned(),
        // Text of several lines is help for a person who looks around.
        None => String::from_utf8_lossy(bytes)
            .lines()
            .next()
            .unwrap_or_default()
            .to_owned(),
    };
    text.chars().take(ERROR_CHARS_MAX).collect()
}

/// An error with what caused it: hyper's own words alone say nothing.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderMap;
    use axum::routing::{get, post};
    use axum::{Json, Router};
    use serde_json::json;
    use tokio::net::TcpListener;

    use super::*;

    async fn serve(router: Router) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        tokio::spawn(async move { axum::serve(listener, router).await });
        address
    }

    /// A port that nobody listens on.
    async fn nowhere() -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        listener.local_addr().unwrap().to_string()
    }

    #[tokio::test]
    async fn any_is_whoever_answers_and_is_asked_first_from_then_on() {
        let here = serve(Router::new().route("/v1/x", get(async || Json(json!(7))))).await;
        let door = Door::new(vec![(0, nowhere().await), (1, here)], Vec::new(), None);
        assert_eq!(door.get::<i32>(At::Any, "/v1/x").await.unwrap(), 7);
        assert_eq!(door.first.load(Ordering::Relaxed), 1);
        let refused = door.get::<i32>(At::Broker(0), "/v1/x").await.unwrap_err();
        assert!(
            matches!(refused, DoorError::Unreachable { .. }),
            "{refused}"
        );
        let unknown = door.get::<i32>(At::Broker(9), "/v1/x").await.unwrap_err();
        assert_eq!(unknown.to_string(), "broker 9 has no address");
    }

    #[tokio::test]
    async fn a_change_carries_the_token_and_a_refusal_its_words_and_body() {
        let router = Router::new()
            .route(
                "/v1/x",
                post(async |headers: HeaderMap, Json(body): Json<Value>| {
                    let token = headers["authorization"].to_str().unwrap().to_owned();
                    Json(json!([token, body]))
                }),
            )
            .route(
                "/v1/no",
                post(async || {
                    let body = Json(json!({ "error": "not now", "left": 2 }));
                    (StatusCode::CONFLICT, body)
                }),
            );
        let token = Some("secret".to_owned());
        let door = Door::new(vec![(0, serve(router).await)], Vec::new(), token);
        let answer: Value = door
            .post(At::Any, "/v1/x", &json!({ "a": 1 }))
            .await
            .unwrap();
        assert_eq!(answer, json!(["Bearer secret", { "a": 1 }]));
        let refused = door.post::<Value>(At::Any, "/v1/no", &Value::Null).await;
        let refused = refused.unwrap_err();
        assert_eq!(refused.to_string(), "broker 0 answers 409: not now");
        let DoorError::Refused { status, body, .. } = refused else {
            panic!("{refused}");
        };
        assert_eq!((status, &body["left"]), (409, &json!(2)));
    }

    #[tokio::test]
    async fn a_broker_that_accepts_and_never_answers_costs_one_attempt() {
        let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = silent.local_addr().unwrap().to_string();
        let here = serve(Router::new().route("/v1/x", get(async || Json(json!(7))))).await;
        let door = Door::new(vec![(0, address), (1, here)], Vec::new(), None);
        assert_eq!(door.get::<i32>(At::Any, "/v1/x").await.unwrap(), 7);
    }

    #[tokio::test(start_paused = true)]
    async fn a_change_that_takes_long_is_waited_for_by_who_says_so() {
        let slow = async || {
            tokio::time::sleep(2 * ATTEMPT).await;
            Json(json!(7))
        };
        let slow = serve(Router::new().route("/v1/x", post(slow))).await;
        let door = Door::new(vec![(0, slow), (1, nowhere().await)], Vec::new(), None);
        let body = Value::Null;
        let short = door.post::<i32>(At::Any, "/v1/x", &body).await;
        assert!(short.is_err());
        door.first.store(0, Ordering::Relaxed);
        let long = door.post_within::<i32>(At::Any, "/v1/x", &body, 2 * WITHIN);
        assert_eq!(long.await.unwrap(), 7);
    }
}
