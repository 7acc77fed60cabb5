//! Plans as a person is told of them, and what is asked of a broker for them.

use std::sync::Arc;

use parking_lot::Mutex;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::*;

/// Serves one client's HTTP with what `answer` says of each request, and tells all requests.
async fn served(answer: fn(&str) -> String) -> (Http, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let asked: Arc<Mutex<Vec<String>>> = Arc::default();
    let seen = asked.clone();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut buffer = vec![0; 4096];
            let read = stream.read(&mut buffer).await.unwrap();
            let text = String::from_utf8_lossy(&buffer[..read]);
            let line = text.lines().next().unwrap_or_default();
            let line = line.trim_end_matches(" HTTP/1.1").to_owned();
            let answer = format!("HTTP/1.1 200 OK\r\n\r\n{}", answer(&line));
            seen.lock().push(line);
            stream.write_all(answer.as_bytes()).await.unwrap();
        }
    });
    (Http::new(vec![address], Duration::from_secs(10)), asked)
}

#[tokio::test]
async fn a_drain_that_can_move_nothing_marks_nobody() {
    let (http, asked) = served(|_| {
        let stuck = NotMoved {
            topic: "t".into(),
            partition: 0,
            reason: "too few brokers".into(),
        };
        let plan = ShownPlan {
            moves: Vec::new(),
            stuck: vec![stuck],
            copies: 0,
            applied: false,
            refused: Vec::new(),
        };
        serde_json::to_string(&plan).unwrap()
    })
    .await;
    let cluster = ClusterArgs {
        bootstrap: "localhost:1".into(),
        output: Format::Json,
        timeout: Duration::from_secs(1),
    };
    let moving = Moving {
        dry_run: false,
        throttle: None,
        wait: None,
    };
    let refused = drain(&Mover::new(http, &cluster, &moving), &[1, 2]).await;
    let told = refused.unwrap_err().to_string();
    for word in ["t-0: too few brokers", "no broker was marked"] {
        assert!(told.contains(word), "{told}");
    }
    let only = "POST /v1/plans/drain?brokers=1,2&apply=false";
    assert_eq!(*asked.lock(), [only]);
}

#[test]
fn what_can_not_be_moved_is_told_by_reason_and_not_all_of_it() {
    let stuck = |partition, reason: &str| NotMoved {
        topic: "t".into(),
        partition,
        reason: reason.into(),
    };
    let mut all: Vec<NotMoved> = (0..12).map(|number| stuck(number, "too few")).collect();
    all.push(stuck(12, "gone"));
    let lines = by_reason(&all.iter().collect::<Vec<_>>());
    assert_eq!(lines.len(), 2, "{lines:?}");
    assert_eq!(lines[0], "t-12: gone");
    assert!(lines[1].ends_with("t-9 and 2 more: too few"), "{lines:?}");
}

fn moved(from: &[i32], to: &[i32]) -> ShownMove {
    ShownMove {
        topic: "t".into(),
        partition: 0,
        from: from.to_vec(),
        to: to.to_vec(),
    }
}

#[test]
fn what_is_to_copy_is_the_size_for_each_new_replica() {
    let of = |bytes, from: &[i32], to: &[i32]| {
        let one = moved(from, to);
        let weighed = WeighedMove { one: &one, bytes };
        weighed.bytes_to_copy()
    };
    assert_eq!(of(Some(100), &[1, 2, 3], &[3, 4, 5]), Some(200));
    assert_eq!(of(None, &[1, 2], &[2, 3]), None);
    assert_eq!(of(None, &[1, 2], &[2, 1]), Some(0), "nothing is copied");
}

#[test]
fn a_cancelled_drain_names_what_goes_on_and_what_gives_it_up() {
    assert_eq!(takes_again(3, &[]), "broker 3: takes replicas");
    let away: Vec<String> = (0..21).map(|number| format!("t-{number}")).collect();
    let told = takes_again(3, &away);
    for word in [
        "21 partitions",
        " t-19 and 1 more",
        "topic move t-0 --cancel",
    ] {
        assert!(told.contains(word), "{word}: {told}");
    }
}
