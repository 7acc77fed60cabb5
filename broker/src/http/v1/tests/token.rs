//! What changes something needs the token, where one is set.

use std::path::Path;
use std::time::{Duration, Instant};

use super::*;

/// More than a file that has changed is believed unchanged.
const SEEN_WITHIN: Duration = Duration::from_secs(10);
const CHANGE: &str = "POST /v1/brokers/1/drain";
const BODY: &str = r#"{"draining":false}"#;

async fn served(token: &Path) -> Served {
    let token = token.display().to_string();
    Served::with(&[("http.admin.token.file", &token)]).await
}

/// The status line, the other headers, and the answer, to a request with a header of ours.
async fn ask_with(served: &Served, header: &str) -> (u16, String, Value) {
    let mut stream = TcpStream::connect(served.http.address.unwrap())
        .await
        .unwrap();
    let request = format!(
        "{CHANGE} HTTP/1.1\r\nhost: here\r\nconnection: close\r\ncontent-type: application/json\r\n{header}\
         content-length: {}\r\n\r\n{BODY}",
        BODY.len()
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    (status, head.to_owned(), serde_json::from_str(body).unwrap())
}

async fn status_with(served: &Served, token: &str) -> u16 {
    let header = format!("authorization: Bearer {token}\r\n");
    ask_with(served, &header).await.0
}

async fn until_status(served: &Served, token: &str, wanted: u16) {
    let begun = Instant::now();
    while status_with(served, token).await != wanted {
        assert!(begun.elapsed() < SEEN_WITHIN, "never {wanted}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test]
async fn only_what_changes_something_needs_the_token() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("token");
    std::fs::write(&file, "s3cret\n").unwrap();
    let served = served(&file).await;
    assert_eq!(served.ask("GET /v1/cluster", "").await.0, 200);
    let (status, head, answer) = ask_with(&served, "").await;
    assert_eq!(status, 401);
    assert!(head.to_lowercase().contains("www-authenticate: bearer"));
    assert!(answer["error"].as_str().unwrap().contains("token"));
    for header in [
        "authorization: Bearer s3cret\r\n",
        "Authorization:  bearer s3cret \r\n",
    ] {
        assert_eq!(ask_with(&served, header).await.0, 200, "{header}");
    }
    for header in [
        "authorization: Bearer s3cre\r\n",
        "authorization: Bearer\r\n",
        "authorization: Basic s3cret\r\n",
        "authorization: s3cret\r\n",
    ] {
        let (status, _, answer) = ask_with(&served, header).await;
        assert_eq!(status, 401, "{header}");
        assert!(!answer.to_string().contains("s3cret"));
    }
    // Whatever is asked for, and however wrongly: nobody learns more without the token.
    for request in [
        "DELETE /v1/brokers/1/stop-lease",
        "POST /v1/cluster/stopping",
        "POST /v1/brokers/9/unregister",
        "POST /v1/plans/tidy",
    ] {
        assert_eq!(served.ask(request, "").await.0, 401, "{request}");
    }
}

#[tokio::test]
async fn a_new_token_counts_when_its_link_has_another_target() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    for (folder, token) in [("first", "one"), ("second", "two")] {
        std::fs::create_dir(at(folder)).unwrap();
        std::fs::write(at(folder).join("token"), token).unwrap();
    }
    // As Kubernetes does it: token -> data/token, and data -> first.
    std::os::unix::fs::symlink("first", at("data")).unwrap();
    std::os::unix::fs::symlink("data/token", at("token")).unwrap();
    let served = served(&at("token")).await;
    assert_eq!(status_with(&served, "one").await, 200);
    std::os::unix::fs::symlink("second", at("data.new")).unwrap();
    std::fs::rename(at("data.new"), at("data")).unwrap();
    until_status(&served, "two", 200).await;
    assert_eq!(status_with(&served, "one").await, 401);
}

#[tokio::test]
async fn while_there_is_no_token_nothing_is_changed_and_the_file_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("token");
    let served = served(&file).await;
    let (status, _, answer) = ask_with(&served, "authorization: Bearer \r\n").await;
    let error = answer["error"].as_str().unwrap();
    assert_eq!(status, 503);
    assert!(error.contains(&file.display().to_string()), "{error}");
    assert_eq!(served.ask("GET /v1/brokers", "").await.0, 200);
    std::fs::write(&file, "s3cret").unwrap();
    until_status(&served, "s3cret", 200).await;
    std::fs::write(&file, "").unwrap();
    until_status(&served, "s3cret", 503).await;
    assert_eq!(status_with(&served, "").await, 503, "empty is no token");
}
