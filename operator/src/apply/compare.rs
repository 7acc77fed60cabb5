//! Whether an object is as it was built: what was built is all there. What the API server adds by itself does not count.

use serde_json::Value;

/// Whether all of `built` is in `live`. Versions and the status are nobody's wish.
pub(super) fn fits(built: &Value, live: &Value) -> bool {
    match (built, live) {
        (Value::Object(built), Value::Object(live)) => built
            .iter()
            .filter(|(name, _)| *name != "resourceVersion" && *name != "status")
            .all(|(name, member)| live.get(name).is_some_and(|live| fits(member, live))),
        (Value::Array(built), Value::Array(live)) => {
            built.len() == live.len()
                && built
                    .iter()
                    .zip(live)
                    .all(|(built, live)| fits(built, live))
        }
        (Value::String(built), Value::String(live)) => built == live || is_same_amount(built, live),
        (Value::Number(built), Value::Number(live)) => built.as_f64() == live.as_f64(),
        _ => built == live,
    }
}

/// The API server writes an amount as short as can be: 1024Mi as 1Gi.
fn is_same_amount(one: &str, other: &str) -> bool {
    let (one, other) = (thousandths(one), thousandths(other));
    one.is_some() && one == other
}

fn thousandths(text: &str) -> Option<u128> {
    match text.strip_suffix('m') {
        Some(number) => number.parse().ok(),
        None => crate::cluster::validate::bytes(text).map(|bytes| u128::from(bytes) * 1_000),
    }
}

/// A StatefulSet's claim templates can't be changed: those that are there are kept. It is made anew once its claims have
/// grown (see the step `volumes`).
pub(super) fn keep_claims(built: &mut Value, live: &Value) {
    const CLAIMS: &str = "volumeClaimTemplates";
    let there = &live["spec"][CLAIMS];
    if built["spec"].get(CLAIMS).is_none() || there.is_null() {
        return;
    }
    if !fits(&built["spec"][CLAIMS], there) {
        built["spec"][CLAIMS] = there.clone();
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_the_server_adds_makes_no_difference() {
        let built =
            json!({"spec": {"ports": [{"port": 9092}]}, "metadata": {"resourceVersion": "1"}});
        let live = json!({"spec": {"ports": [{"port": 9092, "nodePort": 31000}], "type": "ClusterIP"},
            "metadata": {"resourceVersion": "7"}, "status": {}});
        assert!(fits(&built, &live));
    }

    #[test]
    fn what_was_changed_or_taken_away_is_noticed() {
        let built = json!({"spec": {"ports": [{"port": 9092}]}});
        assert!(!fits(&built, &json!({"spec": {"ports": [{"port": 9093}]}})));
        assert!(!fits(&built, &json!({"spec": {"ports": []}})));
        assert!(!fits(
            &built,
            &json!({"spec": {"ports": [{"port": 9092}, {"port": 1}]}})
        ));
        assert!(!fits(&built, &json!({"spec": {}})));
    }

    #[test]
    fn amounts_are_the_same_however_they_are_written() {
        assert!(fits(&json!("1024Mi"), &json!("1Gi")));
        assert!(fits(&json!("1000m"), &json!("1")));
        assert!(!fits(&json!("1Gi"), &json!("1G")));
        assert!(!fits(&json!("text"), &json!("other")));
    }

    #[test]
    fn claims_that_can_not_be_changed_stay() {
        let claims = |size: &str| json!({"spec": {"volumeClaimTemplates": [{"size": size}]}});
        let mut built = claims("2Gi");
        keep_claims(&mut built, &claims("1Gi"));
        assert_eq!(built, claims("1Gi"));
        let mut same = claims("1024Mi");
        keep_claims(&mut same, &claims("1Gi"));
        assert_eq!(same, claims("1024Mi"));
    }
}
