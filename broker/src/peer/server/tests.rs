use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use openraft::SnapshotMeta;
use tokio::sync::Notify;

use super::*;
use crate::peer::{Probed, SnapshotPart, client::Connection};
use crate::quorum::types::{Node, Vote};

/// As long as a busy machine may take; nothing waits for it that goes well.
const BOUND: Duration = Duration::from_secs(20);

/// Holds each snapshot's part until enough have come, or it is clear that no more will.
#[derive(Default)]
struct Slow {
    in_hand: AtomicUsize,
    most: AtomicUsize,
    came: Notify,
}

/// Parts that would be more than a frame together.
const TOO_MANY: usize = 3;
const PART_BYTES: usize = FRAME_BYTES_MAX / 2 - 1_000;

impl Answers for Slow {
    fn hello(&self, hello: &Hello) -> Result<Hello, String> {
        Ok(hello.clone())
    }

    async fn answer(&self, _from: NodeId, request: Request) -> Answer {
        match request {
            Request::Snapshot(part) => {
                let now = 1 + self.in_hand.fetch_add(1, Ordering::SeqCst);
                self.most.fetch_max(now, Ordering::SeqCst);
                self.came.notify_waiters();
                let enough = async {
                    while self.most.load(Ordering::SeqCst) < TOO_MANY {
                        self.came.notified().await;
                    }
                };
                let _ = timeout(Duration::from_millis(500), enough).await;
                self.in_hand.fetch_sub(1, Ordering::SeqCst);
                Answer::Snapshot(part.vote)
            }
            _ => Answer::Probe(Probed {
                id: 1,
                node: Node::default(),
                empty: false,
                voters: Vec::new(),
            }),
        }
    }

    fn closed(&self, _hello: &Hello, _by_peer: bool) {}
}

fn hello() -> Hello {
    Hello {
        cluster: None,
        from: 2,
        broker: 2,
        to: None,
    }
}

/// A listener, and its port.
fn serving(answers: &Arc<Slow>) -> u16 {
    let socket = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    socket.set_nonblocking(true).unwrap();
    let port = socket.local_addr().unwrap().port();
    let listener = network::listen(socket).unwrap();
    let serving = serve(
        listener,
        answers.clone(),
        Others::default(),
        CancellationToken::new(),
    );
    tokio::spawn(serving);
    port
}

async fn say(stream: &mut Stream, request: &impl serde::Serialize) -> Answer {
    let frame = frame::request(request, b"").unwrap();
    stream.write_all(&frame).await.unwrap();
    let mut reader = Reader::new(stream);
    let answer = timeout(BOUND, reader.next(FRAME_BYTES_MAX)).await.unwrap();
    let frame = answer.unwrap().expect("the connection goes on");
    frame::open_answer(frame).unwrap().1.parse().unwrap()
}

#[tokio::test]
async fn a_request_of_newer_software_fails_by_itself_and_its_connection_goes_on() {
    let port = serving(&Arc::default());
    let mut stream = network::connect("127.0.0.1", port).await.unwrap();
    let greeted = say(&mut stream, &Request::Hello(hello())).await;
    assert!(matches!(greeted, Answer::Hello(_)));
    let newer = serde_json::json!({ "FromTheFuture": { "of": "9.0" } });
    let failed = say(&mut stream, &newer).await;
    assert!(
        matches!(&failed, Answer::Failed(why) if why.contains("FromTheFuture")),
        "{failed:?}"
    );
    let probed = say(&mut stream, &Request::Probe).await;
    assert!(matches!(probed, Answer::Probe(_)));
}

#[tokio::test]
async fn what_a_peer_has_in_hand_is_a_frames_bytes_and_the_next_waits() {
    let answers = Arc::new(Slow::default());
    let port = serving(&answers);
    let opened = Connection::open("127.0.0.1", port, hello()).await;
    let (connection, _) = opened.unwrap();
    let part = |offset| {
        let bytes = Bytes::from(vec![0; PART_BYTES]);
        Request::Snapshot(SnapshotPart {
            vote: Vote::new(1, 2),
            meta: SnapshotMeta::default(),
            offset,
            last: false,
            bytes,
        })
    };
    let sent: Vec<_> = (0..TOO_MANY as u64)
        .map(|number| connection.send(&part(number)).unwrap())
        .collect();
    for answer in sent {
        let answer = timeout(BOUND, answer).await.unwrap().unwrap();
        assert!(matches!(answer, Answer::Snapshot(_)));
    }
    assert_eq!(answers.most.load(Ordering::SeqCst), TOO_MANY - 1);
}
