//! What a job writes to stdout and stderr, up to a bound.

use stap_policy::Limits;
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio_util::sync::CancellationToken;

/// The beginning of a stream.
#[derive(Debug, Default)]
pub struct Kept {
    /// At most as many bytes as were allowed.
    pub bytes: Vec<u8>,
    /// How many there were.
    pub total: u64,
    /// Whether there was more than is kept.
    pub is_cut: bool,
}

/// Who wrote more than is kept, and whether anybody still listens.
#[derive(Debug, Default)]
pub(super) struct Floods {
    /// Cancelled when there is more than is kept.
    pub(super) stdout: CancellationToken,
    /// Cancelled when there is more than is kept.
    pub(super) stderr: CancellationToken,
    abandoned: CancellationToken,
}

impl Floods {
    /// Reads both streams to their ends.
    pub(super) async fn keep(
        &self,
        stdout: impl AsyncRead + Unpin,
        stderr: impl AsyncRead + Unpin,
        limits: &Limits,
    ) -> (Kept, Kept) {
        tokio::join!(
            keep(stdout, limits.stdout.bytes(), &self.stdout, &self.abandoned),
            keep(stderr, limits.stderr.bytes(), &self.stderr, &self.abandoned),
        )
    }

    /// Stops reading wherever it is.
    pub(super) fn abandon(&self) {
        self.abandoned.cancel();
    }
}

/// Reads a stream to its end and keeps its beginning. A writer is never held up, so that a job
/// cannot be made to hang by its own output. `flooded` is cancelled when there is more than is kept;
/// reading stops when `abandoned` is.
async fn keep(
    mut stream: impl AsyncRead + Unpin,
    most: u64,
    flooded: &CancellationToken,
    abandoned: &CancellationToken,
) -> Kept {
    let mut kept = Kept::default();
    let most = usize::try_from(most).unwrap_or(usize::MAX);
    let mut piece = vec![0; PIECE];
    loop {
        let read = tokio::select! {
            read = stream.read(&mut piece) => read,
            () = abandoned.cancelled() => return kept,
        };
        // A pipe ends; it does not fail in a way that would leave more to be read.
        let length = match read {
            Ok(0) | Err(_) => return kept,
            Ok(length) => length,
        };
        kept.total = kept.total.saturating_add(length as u64);
        let room = length.min(most - kept.bytes.len());
        kept.bytes.extend_from_slice(&piece[..room]);
        if room < length {
            kept.is_cut = true;
            flooded.cancel();
        }
    }
}

/// The size of a pipe.
const PIECE: usize = 64 << 10;

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_fits_is_kept_and_the_rest_is_read_and_dropped() {
        for (length, is_cut) in [
            (0, false),
            (9, false),
            (10, false),
            (11, true),
            (1 << 20, true),
        ] {
            let flooded = CancellationToken::new();
            let stream = tokio::io::repeat(b'x').take(length);
            let kept = keep(stream, 10, &flooded, &CancellationToken::new()).await;
            assert_eq!(kept.bytes.len() as u64, length.min(10));
            assert_eq!(kept.total, length);
            assert_eq!(
                (kept.is_cut, flooded.is_cancelled()),
                (is_cut, is_cut),
                "{length}"
            );
        }
    }
}
