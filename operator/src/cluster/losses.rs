//! Records that would be lost with a broker's volume: partitions of which it has the only in-sync replica.

use crate::door::Door;

/// Of the partitions, so many are named.
const NAMED_MAX: usize = 5;

/// Partitions of which this broker is the only in-sync replica.
pub async fn only_at(door: &Door, id: i32) -> Result<Vec<String>, milena_client::Error> {
    let cluster = door.kafka().refresh_all().await?;
    let mut lost = Vec::new();
    for topic in cluster.topics.values() {
        for partition in &topic.partitions {
            let here = partition.replicas.contains(&id);
            let elsewhere = partition.isr.iter().any(|other| *other != id);
            if here && !elsewhere {
                lost.push(format!("{}-{}", topic.name, partition.index));
            }
        }
    }
    lost.sort();
    Ok(lost)
}

/// The first of them and a count.
pub fn in_words(lost: &[String]) -> String {
    let named: Vec<&str> = lost.iter().take(NAMED_MAX).map(String::as_str).collect();
    match lost.len() - named.len() {
        0 => named.join(", "),
        more => format!("{} and {more} more", named.join(", ")),
    }
}
