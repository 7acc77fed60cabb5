//! What each broker says of the topic's partitions: a written history goes on when they say that it may.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use tokio::time::sleep;

use super::clients::Client;

const PERIOD: Duration = Duration::from_millis(20);

/// One partition, as a broker has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Said {
    /// -1 where nobody leads.
    pub leader: i32,
    /// In ascending order.
    pub isr: Vec<i32>,
}

/// The last word of each broker; nothing of one that did not answer.
#[derive(Debug, Default)]
pub struct View(RefCell<BTreeMap<i32, Vec<Said>>>);

impl View {
    /// Whether a broker has answered, and says this of every partition.
    pub fn all(&self, broker: i32, is_so: impl Fn(&Said) -> bool) -> bool {
        let said = self.0.borrow();
        let of_it = said.get(&broker).filter(|said| !said.is_empty());
        of_it.is_some_and(|said| said.iter().all(is_so))
    }
}

/// Asks one broker again and again.
pub async fn observe(mut client: Client, broker: i32, topic: &'static str, view: Rc<View>) {
    loop {
        let answer = client.metadata(broker, &[topic]).await.ok();
        let said = answer.iter().flat_map(|answer| &answer.topics);
        let said = said.flat_map(|topic| &topic.partitions).map(|partition| {
            let mut isr = partition.isr_nodes.clone();
            isr.sort_unstable();
            let leader = partition.leader_id;
            Said { leader, isr }
        });
        let said = said.collect();
        view.0.borrow_mut().insert(broker, said);
        sleep(PERIOD).await;
    }
}
