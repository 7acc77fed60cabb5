//! Which brokers the leader fences, over real sockets. The bounds are for a busy machine; what was measured is
//! printed.

use std::time::Instant;

use super::process::{Places, Process, leader_of, until};
use super::*;

/// Longer than any of these tests waits: whoever is fenced was not waited for.
const LONG: Duration = Duration::from_secs(60);
/// Short enough to be waited for.
const SHORT: Duration = Duration::from_secs(2);
/// What a busy machine may add to milliseconds, and may take from a session: answers before it come late.
const SLACK: Duration = Duration::from_secs(1);

async fn places(count: i32, session: Duration) -> (Places, Vec<Process>) {
    let mut places = Places::new(count);
    places.session = session;
    let mut all = places.found().await;
    for place in places.all.iter().skip(3) {
        let options = places.options(place, Told::Others);
        let learner = Process::start(place.clone(), options);
        all.push(learner.await.unwrap().unwrap());
    }
    for place in &places.all {
        let registration = registration_of(place.broker);
        all[0].quorum.request(registration).await.unwrap();
    }
    until("all know all, and heartbeats reach everybody", || {
        let known = |member: &Process| member.quorum.image().brokers().count() == all.len();
        let heard = |member: &Process| {
            let status = member.quorum.status();
            let mut members = status.voters.iter().chain(&status.learners);
            members.all(|member| member.last_contact.is_some())
        };
        let mut leaders = all.iter().filter(|member| member.leads());
        all.iter().all(known) && leaders.any(heard)
    })
    .await;
    (places, all)
}

fn fenced(member: &Process) -> Vec<i32> {
    let image = member.quorum.image();
    let fenced = image.brokers().filter(|broker| broker.fenced);
    fenced.map(|broker| broker.id.get()).collect()
}

/// By reason: silent, refused, closed. They are counted a little later than they are seen.
async fn counted(member: &Process, count: u64) -> [u64; 3] {
    let counts = || member.quorum.status().fenced.map(|(_, count)| count);
    until("they are counted", || counts().iter().sum::<u64>() == count).await;
    counts()
}

/// The leader, and the others.
async fn apart(mut all: Vec<Process>) -> (Process, Vec<Process>) {
    let leader = leader_of(&all).await;
    (all.remove(leader), all)
}

#[tokio::test]
async fn a_killed_broker_is_fenced_without_waiting_for_its_session() {
    let (_places, all) = places(3, LONG).await;
    let (leader, mut others) = apart(all).await;
    let since = Instant::now();
    let killed = others.remove(0).kill();
    until("it is fenced", || fenced(&leader) == [killed.broker]).await;
    println!("fenced after {:?}", since.elapsed());
    assert_eq!(counted(&leader, 1).await[0], 0, "not for its silence");
}

#[tokio::test]
async fn a_killed_learner_is_fenced_without_waiting_for_its_session() {
    let (_places, all) = places(4, LONG).await;
    let (leader, mut others) = apart(all).await;
    let since = Instant::now();
    let killed = others.pop().map(Process::kill).unwrap();
    until("it is fenced", || fenced(&leader) == [killed.broker]).await;
    println!("fenced after {:?}", since.elapsed());
}

#[tokio::test]
async fn a_stopped_broker_is_fenced_after_its_session_and_no_earlier() {
    let (_places, all) = places(3, SHORT).await;
    let (leader, others) = apart(all).await;
    let since = Instant::now();
    let _stopped = others[0].stop();
    let broker = others[0].place.broker;
    until("it is fenced", || fenced(&leader) == [broker]).await;
    let after = since.elapsed();
    println!("fenced after {after:?}");
    assert!(after > SHORT - SLACK, "{after:?}");
    assert_eq!(counted(&leader, 1).await, [1, 0, 0]);
}

#[tokio::test]
async fn of_two_in_five_killed_together_one_waits_for_its_session() {
    let (_places, all) = places(5, SHORT * 2).await;
    let (leader, mut others) = apart(all).await;
    let since = Instant::now();
    // One voter, and one learner.
    for place in [others.remove(0), others.remove(2)] {
        place.kill();
    }
    until("one is fenced", || fenced(&leader).len() == 1).await;
    println!("the first is fenced after {:?}", since.elapsed());
    until("both are fenced", || fenced(&leader).len() == 2).await;
    let after = since.elapsed();
    println!("the second is fenced after {after:?}");
    assert!(after > SHORT * 2 - SLACK, "{after:?}");
    assert_eq!(counted(&leader, 2).await[0], 1, "one for its silence");
}

#[tokio::test]
async fn a_killed_leaders_broker_is_fenced_by_the_next_leader() {
    let (_places, all) = places(3, LONG).await;
    let (leader, others) = apart(all).await;
    let since = Instant::now();
    let killed = leader.kill();
    until("another leads", || others.iter().any(Process::leads)).await;
    println!("another leads after {:?}", since.elapsed());
    until("it is fenced", || {
        others.iter().any(|other| fenced(other) == [killed.broker])
    })
    .await;
    println!("fenced after {:?}", since.elapsed());
}

#[tokio::test]
async fn a_leader_never_fences_itself_nor_a_broker_that_answers() {
    let (_places, all) = places(3, SHORT).await;
    let (leader, others) = apart(all).await;
    // Nobody is broker 9: it is silent from the beginning.
    leader.quorum.request(registration_of(9)).await.unwrap();
    until("the one that is nowhere is fenced", || {
        fenced(&leader) == [9]
    })
    .await;
    assert!(leader.leads() && others.iter().all(|other| !other.leads()));
}

#[tokio::test]
async fn without_a_majority_the_quorum_is_not_led_though_its_leader_lives() {
    let (_places, all) = places(3, LONG).await;
    let (leader, others) = apart(all).await;
    let is_led = |member: &Process| member.quorum.status().is_led;
    until("all know that it is led", || {
        is_led(&leader) && others.iter().all(is_led)
    })
    .await;
    for other in others {
        other.kill();
    }
    until("the leader hears that it is alone", || !is_led(&leader)).await;
    assert!(leader.leads(), "to openraft it goes on leading");
}

#[tokio::test]
async fn a_voter_that_hears_of_no_leader_knows_of_none() {
    let (_places, all) = places(3, LONG).await;
    let (leader, mut others) = apart(all).await;
    others.remove(0).kill();
    leader.kill();
    let left = &others[0].quorum;
    until("the silence has lasted", || !left.status().is_led).await;
    assert!(left.status().leader.is_some(), "to openraft it has one");
}

#[tokio::test]
async fn a_broker_alone_fences_nobody() {
    let dir = tempfile::tempdir().unwrap();
    let leading = Leading {
        session_timeout: Duration::from_millis(50),
        ..Leading::default()
    };
    let options = QuorumOptions {
        leading,
        ..QuorumOptions::alone(dir.path().to_owned(), 1)
    };
    let quorum = Quorum::open(options, rules(), None, Handle::current())
        .await
        .unwrap();
    quorum.request(registration()).await.unwrap();
    let since = Instant::now();
    let mut topic = 0;
    while since.elapsed() < Duration::from_millis(300) {
        let name = format!("topic-{topic}");
        quorum.request(topics([name], 1)).await.unwrap();
        topic += 1;
    }
    assert!(quorum.image().brokers().all(|broker| !broker.fenced));
    assert!(quorum.status().fenced.iter().all(|(_, count)| *count == 0));
}
