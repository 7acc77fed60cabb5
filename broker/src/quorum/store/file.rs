//! Where the store's bytes are.

use std::path::Path;

use redb::{Builder, Database, DatabaseError};

/// Whether there is a store at this path.
#[cfg(not(feature = "simulation"))]
pub fn exists(path: &Path) -> bool {
    path.exists()
}

/// Opens the store, or makes it.
#[cfg(not(feature = "simulation"))]
pub fn create(builder: &Builder, path: &Path) -> Result<Database, DatabaseError> {
    builder.create(path)
}

#[cfg(feature = "simulation")]
pub use simulated::{create, exists};

#[cfg(feature = "simulation")]
mod simulated {
    use std::io;
    use std::sync::Arc;

    use milena_simulation::disk::{self, Store};
    use redb::StorageBackend;

    use super::{Builder, Database, DatabaseError, Path};

    /// Whether the simulated disk has a store at this path.
    pub fn exists(path: &Path) -> bool {
        disk::has_store(path)
    }

    /// Opens the store on the simulated disk, or makes it.
    pub fn create(builder: &Builder, path: &Path) -> Result<Database, DatabaseError> {
        builder.create_with_backend(Disk(disk::store(path)))
    }

    #[derive(Debug)]
    struct Disk(Arc<Store>);

    fn place(value: u64) -> io::Result<usize> {
        usize::try_from(value).map_err(io::Error::other)
    }

    impl StorageBackend for Disk {
        fn len(&self) -> io::Result<u64> {
            Ok(self.0.len() as u64)
        }

        fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
            self.0.read(place(offset)?, out)
        }

        fn set_len(&self, len: u64) -> io::Result<()> {
            self.0.set_len(place(len)?);
            Ok(())
        }

        fn sync_data(&self) -> io::Result<()> {
            self.0.sync();
            Ok(())
        }

        fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
            self.0.write(place(offset)?, data);
            Ok(())
        }
    }
}
