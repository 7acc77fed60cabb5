//! Who this broker is, as far as it is known yet: for whoever asks before it serves.

use parking_lot::Mutex;

/// What a broker's data directory is bound to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Identity {
    pub broker: i32,
    /// Its cluster, from the first time on that it was in one.
    pub cluster_id: Option<String>,
    /// The id of the directory of its metadata: drawn at the first start, so that it tells a wiped broker from the one
    /// that was.
    pub directory_id: Option<String>,
    /// The uid of the claim of its volume, once it was told.
    pub claim_uid: Option<String>,
}

/// The same, while it becomes known.
#[derive(Debug, Default)]
pub struct Known(Mutex<Identity>);

impl Known {
    /// As far as it is known now.
    pub fn get(&self) -> Identity {
        self.0.lock().clone()
    }

    pub fn set(&self, identity: Identity) {
        *self.0.lock() = identity;
    }

    /// From now on the volume's claim is known.
    pub fn set_claim(&self, uid: &str) {
        self.0.lock().claim_uid = Some(uid.to_owned());
    }
}
