//! Claims that the API server did not let grow. They are remembered, so that each is asked for once a minute and not at
//! every look; a new operator asks once.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::Instant;

use super::observed::{Claim, NoGrowth};

/// A StorageClass may be changed to allow it: it is asked for again after this.
const AGAIN_AFTER: Duration = Duration::from_secs(60);

/// What is remembered, by the claims' uids.
#[derive(Debug, Default)]
pub struct Refusals(BTreeMap<String, Refusal>);

#[derive(Debug)]
struct Refusal {
    size: String,
    text: String,
    asked: Instant,
}

impl Refusals {
    /// Those of claims that are still there.
    pub fn of(&mut self, claims: &BTreeMap<i32, Claim>) -> BTreeMap<String, NoGrowth> {
        let is_there = |uid: &String| claims.values().any(|claim| claim.uid == *uid);
        self.0.retain(|uid, _| is_there(uid));
        let known = self.0.iter().map(|(uid, refusal)| {
            let known = NoGrowth {
                size: refusal.size.clone(),
                text: refusal.text.clone(),
                is_due: refusal.asked.elapsed() >= AGAIN_AFTER,
            };
            (uid.clone(), known)
        });
        known.collect()
    }

    /// What was refused just now.
    pub fn note(&mut self, refused: BTreeMap<String, NoGrowth>) {
        let asked = Instant::now();
        let refused = refused.into_iter().map(|(uid, refused)| {
            let NoGrowth { size, text, .. } = refused;
            (uid, Refusal { size, text, asked })
        });
        self.0.extend(refused);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::step::samples;

    #[tokio::test(start_paused = true)]
    async fn a_refused_growth_is_due_after_a_minute_and_forgotten_with_its_claim() {
        let (_, observed) = samples::healthy();
        let mut refusals = Refusals::default();
        let refused = NoGrowth::default();
        refusals.note(BTreeMap::from([("claim-1".to_owned(), refused)]));
        assert!(!refusals.of(&observed.claims)["claim-1"].is_due);
        tokio::time::advance(AGAIN_AFTER).await;
        assert!(refusals.of(&observed.claims)["claim-1"].is_due);
        assert!(refusals.of(&BTreeMap::new()).is_empty());
        assert!(refusals.of(&observed.claims).is_empty());
    }
}
