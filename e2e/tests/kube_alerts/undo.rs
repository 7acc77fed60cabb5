//! What takes a fault back, also where the test fails while it lasts.

use std::panic::Location;

use anyhow::{Context, Result};

type Act<'a> = Box<dyn FnOnce() -> Result<()> + 'a>;

/// Takes a fault back: by [`Undo::end`], or when it is dropped.
#[must_use]
pub struct Undo<'a> {
    act: Option<Act<'a>>,
    made: &'static Location<'static>,
}

impl<'a> Undo<'a> {
    /// To be made before what it takes back is done, so that half of it is taken back as well.
    #[track_caller]
    pub fn by(act: impl FnOnce() -> Result<()> + 'a) -> Self {
        Self {
            act: Some(Box::new(act)),
            made: Location::caller(),
        }
    }

    /// Of a fault that is over by itself.
    #[track_caller]
    pub fn nothing() -> Self {
        Self::by(|| Ok(()))
    }

    /// Takes it back.
    pub fn end(mut self) -> Result<()> {
        let act = self.act.take();
        act.map_or(Ok(()), |act| act())
            .with_context(|| format!("take back the fault of {}", self.made))
    }

    /// It has been taken back in another way.
    pub fn forget(mut self) {
        self.act = None;
    }
}

impl Drop for Undo<'_> {
    fn drop(&mut self) {
        if let Some(Err(error)) = self.act.take().map(|act| act()) {
            eprintln!("the fault of {} stays: {error:#}", self.made);
        }
    }
}
