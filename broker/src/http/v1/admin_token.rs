//! The token without which nothing is changed under `/v1`: the content of `http.admin.token.file`.
//!
//! | request | answer |
//! | --- | --- |
//! | `GET`, `HEAD` | no token is asked for |
//! | any other, with `Authorization: Bearer TOKEN` | as without a token |
//! | any other, without the token or with another | 401 |
//! | any other, while the file has no token | 503, which names the file |
//!
//! The file is read on demand, at most once a second, so that a new token counts without a restart. Kubernetes gives
//! links another target where a Secret changes; a path that is read anew follows them. No token is ever logged.

use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::extract::{Request, State};
use axum::http::{HeaderMap, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use parking_lot::Mutex;

use super::{Failure, Stage};

/// How long what was read counts.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Far more than a token has.
const TOKEN_BYTES_MAX: u64 = 4_096;
const BEARER: &[u8] = b"Bearer ";

/// The token that a file holds: visible ASCII. It has no `Debug`, so that no log has it.
pub struct Token(String);

impl Token {
    /// Reads a file, without the space around its content; or says why there is no token in it.
    pub fn read(path: &Path) -> Result<Self, String> {
        let told = |why: &dyn std::fmt::Display| format!("{}: {why}", path.display());
        let file = File::open(path).map_err(|error| told(&error))?;
        let mut text = String::new();
        file.take(TOKEN_BYTES_MAX + 1)
            .read_to_string(&mut text)
            .map_err(|error| told(&error))?;
        let token = text.trim();
        if token.is_empty() {
            Err(told(&"the file is empty"))
        } else if text.len() as u64 > TOKEN_BYTES_MAX {
            Err(told(&"the file is too long for a token"))
        } else if !token.bytes().all(|byte| byte.is_ascii_graphic()) {
            Err(told(&"the file holds no token: a word in ASCII"))
        } else {
            Ok(Self(token.to_owned()))
        }
    }

    /// For the header of a request.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// Takes as long for a first letter that differs as for a last one: the time tells the length, and nothing else.
    fn is(&self, given: &[u8]) -> bool {
        let own = self.0.as_bytes();
        let differing = |differs: u8, (own, given): (&u8, &u8)| differs | (own ^ given);
        let differs = own.iter().zip(given).fold(0, differing);
        own.len() == given.len() && std::hint::black_box(differs) == 0
    }
}

/// Who may change something.
pub struct AdminToken {
    path: PathBuf,
    /// What the file held, and when.
    seen: Mutex<Option<(Instant, Result<Token, String>)>>,
}

/// Why a request is not let in.
#[derive(Debug, PartialEq, Eq)]
enum Barred {
    /// There is no token to compare with.
    NoToken(String),
    /// The request has none.
    Missing,
    /// The request has another.
    Wrong,
}

impl AdminToken {
    /// The token in a file, which is looked at with the first request.
    pub fn of(path: PathBuf) -> Self {
        let seen = Mutex::default();
        Self { path, seen }
    }

    /// May read the file, and so waits for it.
    fn admits(&self, given: Option<&[u8]>) -> Result<(), Barred> {
        let mut seen = self.seen.lock();
        let seen = match seen.take() {
            Some(fresh) if fresh.0.elapsed() < LOOK_EVERY => seen.insert(fresh),
            _ => seen.insert((Instant::now(), Token::read(&self.path))),
        };
        match (&seen.1, given) {
            (Err(why), _) => Err(Barred::NoToken(why.clone())),
            (Ok(_), None) => Err(Barred::Missing),
            (Ok(token), Some(given)) if token.is(given) => Ok(()),
            (Ok(_), Some(_)) => Err(Barred::Wrong),
        }
    }
}

/// Lets in what only reads, and with the token what changes something.
pub(in crate::http) async fn guard(
    State(stage): State<Arc<Stage>>,
    request: Request,
    next: Next,
) -> Response {
    let reads = [Method::GET, Method::HEAD].contains(request.method());
    let Some(token) = stage.admin_token.clone().filter(|_| !reads) else {
        return next.run(request).await;
    };
    let given = bearer(request.headers()).map(<[u8]>::to_vec);
    let admitted = crate::blocking::spawn(move || token.admits(given.as_deref())).await;
    match admitted {
        Ok(Ok(())) => next.run(request).await,
        Ok(Err(barred)) => refuse(barred),
        Err(error) => Failure::internal(&error).into_response(),
    }
}

fn bearer(headers: &HeaderMap) -> Option<&[u8]> {
    let value = headers.get(header::AUTHORIZATION)?.as_bytes();
    let (scheme, token) = value.split_at_checked(BEARER.len())?;
    let is_bearer = scheme.eq_ignore_ascii_case(BEARER);
    is_bearer.then(|| token.trim_ascii())
}

fn refuse(barred: Barred) -> Response {
    let (status, error) = match barred {
        Barred::NoToken(why) => (
            StatusCode::SERVICE_UNAVAILABLE,
            format!(
                "nothing can be changed over HTTP: the broker has no token in http.admin.token.file: {why}"
            ),
        ),
        Barred::Missing => (
            StatusCode::UNAUTHORIZED,
            "the request needs the cluster's token, as `Authorization: Bearer TOKEN`".to_owned(),
        ),
        Barred::Wrong => (
            StatusCode::UNAUTHORIZED,
            "the token of the request is not this cluster's".to_owned(),
        ),
    };
    let failure = Failure { status, error };
    match status {
        StatusCode::UNAUTHORIZED => {
            ([(header::WWW_AUTHENTICATE, "Bearer")], failure).into_response()
        }
        _ => failure.into_response(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_a_word_whatever_space_is_around_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("token");
        let read = |text: &[u8]| {
            std::fs::write(&path, text).unwrap();
            Token::read(&path).map(|token| token.0)
        };
        assert_eq!(read(b" s3cret\n").unwrap(), "s3cret");
        let cases: [(&[u8], &str); 6] = [
            (b"", "empty"),
            (b" \n", "empty"),
            (b"two words", "no token"),
            (b"line\r\nx: y", "no token"),
            (&[b'a'; 4_097], "too long"),
            (b"\xff", "UTF-8"),
        ];
        for (text, word) in cases {
            let why = read(text).unwrap_err();
            assert!(why.contains(word) && why.contains("token"), "{why}");
        }
        let why = Token::read(&dir.path().join("none")).err().unwrap();
        assert!(why.contains("none: No such file"), "{why}");
    }

    #[test]
    fn only_the_very_token_is_let_in() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("token");
        std::fs::write(&path, "s3cret").unwrap();
        let token = AdminToken::of(path);
        assert_eq!(token.admits(Some(b"s3cret")), Ok(()));
        assert_eq!(token.admits(None), Err(Barred::Missing));
        for wrong in [&b""[..], b"s3cre", b"s3crex", b"x3cret", b"s3crets"] {
            assert_eq!(token.admits(Some(wrong)), Err(Barred::Wrong));
        }
    }
}
