//! Slots in which something of a trusted job may be left. It was done on the way to something else, which goes on
//! without it, but not in that slot.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use crate::jail::Fault;
use crate::slots::Slot;

/// The faults of slots, until whoever has the slot takes them.
#[derive(Debug, Default)]
pub(crate) struct Leaks(Mutex<BTreeMap<Slot, Fault>>);

impl Leaks {
    /// Notes a fault, if something may be left.
    pub(crate) fn note(&self, slot: Slot, fault: Fault) {
        if matches!(fault, Fault::Leak(_)) {
            let mut leaks = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            leaks.insert(slot, fault);
        }
    }

    /// Why nothing more may be done in a slot.
    pub(crate) fn take(&self, slot: Slot) -> Option<Fault> {
        let mut leaks = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        leaks.remove(&slot)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_may_be_left_closes_a_slot_and_no_other() {
        let leaks = Leaks::default();
        leaks.note(Slot(1), Fault::Leak("it survives".to_owned()));
        leaks.note(Slot(2), Fault::Silent("it ended".to_owned()));
        assert!(leaks.take(Slot(2)).is_none());
        assert!(matches!(leaks.take(Slot(1)), Some(Fault::Leak(_))));
        assert!(leaks.take(Slot(1)).is_none(), "it has been heard");
    }
}
