//! What proves that a file is whole and unchanged, gathered while it flows by.

use sha2::{Digest as _, Sha256};

use super::manifest::Part;
use super::rdb::{Checker, Soundness, Unsound};

/// Gathers it.
pub(super) struct Proof {
    sum: Sha256,
    checker: Checker,
}

/// Why a file is not the one that its manifest names.
#[derive(Debug, thiserror::Error)]
pub(super) enum Fault {
    #[error("{0}")]
    Unsound(#[from] Unsound),
    #[error("it has {found} bytes instead of {wanted}")]
    Length { wanted: u64, found: u64 },
    #[error("its SHA-256 is {found} instead of {wanted}")]
    Sum { wanted: String, found: String },
}

impl Proof {
    pub(super) fn new() -> Self {
        Self { sum: Sha256::new(), checker: Checker::new() }
    }

    pub(super) fn feed(&mut self, piece: &[u8]) {
        self.sum.update(piece);
        self.checker.feed(piece);
    }

    /// The SHA-256 in hexadecimal digits, and what the file says of itself.
    pub(super) fn finish(self) -> Result<(String, Soundness), Unsound> {
        let sum = self.sum.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
        Ok((sum, self.checker.finish()?))
    }

    /// Whether the file is the one of the manifest.
    pub(super) fn compare(self, part: &Part) -> Result<(), Fault> {
        let (found, soundness) = self.finish()?;
        if soundness.bytes != part.bytes {
            return Err(Fault::Length { wanted: part.bytes, found: soundness.bytes });
        }
        if found != part.sha256 {
            return Err(Fault::Sum { wanted: part.sha256.clone(), found });
        }
        Ok(())
    }
}
