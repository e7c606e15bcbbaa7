//! A mark of what plans and events look like.
//!
//! Their encoding names no field and no variant: a launcher of another build could read a plan as another plan,
//! with other layers and limits. Programs are replaced under running servers, so each plan starts with
//! this mark, and a launcher takes none that is marked otherwise.

/// Differs as soon as one of the sources does that say what is encoded.
pub(super) const MARK: [u8; 8] = {
    let sources: [&[u8]; 4] = [
        include_bytes!("../plan.rs"),
        include_bytes!("path.rs"),
        include_bytes!("../layer.rs"),
        include_bytes!("../report.rs"),
    ];
    let (mut hash, mut source) = (FNV_OFFSET, 0);
    while source < sources.len() {
        let mut at = 0;
        while at < sources[source].len() {
            hash = (hash ^ sources[source][at] as u64).wrapping_mul(FNV_PRIME);
            at += 1;
        }
        source += 1;
    }
    hash.to_be_bytes()
};

/// Of FNV-1a; nobody forges a mark, since whoever can write plans needs none.
const FNV_OFFSET: u64 = 0xcbf2_9ce4_8422_2325;
const FNV_PRIME: u64 = 0x0000_0100_0000_01b3;
