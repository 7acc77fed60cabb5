//! Volumes that are there already and belong to what the spec names.

use super::{Elsewhere, Found, POOL_IDS, Problems, Reason};
use crate::crd::cluster::{Pool, PoolVolume};

pub(super) fn check(
    field: &str,
    pool: &Pool,
    volume: &PoolVolume,
    found: &Found,
    problems: &mut Problems,
) {
    let name = &pool.name;
    let classes = found.claim_classes.get(name);
    let other = classes.and_then(|classes| {
        let said = volume.class_name.as_ref()?;
        classes.first().filter(|_| !classes.contains(said))
    });
    if let Some(class) = other {
        let message = format!(
            "pool {name} has volumes of the class {class}: leave className at that; for volumes of another class add a \
             pool with another name and firstBrokerId, and take this one out"
        );
        let field = format!("{field}.volumes[0].className");
        problems.add(Reason::InvalidPool, field, message);
    }
    let start = pool.first_broker_id;
    let ids = start..start.saturating_add(pool.replicas.clamp(0, POOL_IDS));
    let mut elsewhere = found.elsewhere.iter();
    if let Some(left) = elsewhere.find(|left| ids.contains(&left.id)) {
        let Elsewhere {
            id,
            pool: was,
            claim,
        } = left;
        let message = format!(
            "broker {id} was of pool {was}, and its records are on {claim}: call the pool {was} again; where these records \
             are not needed any more, delete that claim"
        );
        problems.add(Reason::InvalidPool, format!("{field}.name"), message);
    }
}
