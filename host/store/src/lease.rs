//! Who gets the right to write to a run.
//!
//! It must not know how leases are kept: a store gives the present one and keeps the answer.

use cofferdam_core::port::{JournalError, Lease, LeaseRequest};

/// Decides a request against the lease that is there.
///
/// A lease is renewed by the epoch that it was given, also late, as long as nobody took the run in between. The
/// same owner asking anew gets a new epoch, which fences off what it started before. An owner that is said to be gone is replaced
/// only if it still holds the run: with `epoch` given, only that epoch of its.
pub(crate) fn decide(present: Option<Lease>, request: &LeaseRequest) -> Result<Lease, JournalError> {
    let granted = |epoch| Lease { owner: request.owner.clone(), epoch, until: request.now.after(request.hold) };
    let Some(present) = present else {
        return match request.epoch {
            0 => Ok(granted(1)),
            expected => Err(JournalError::Conflict { expected, found: 0 }),
        };
    };
    let is_same_owner = present.owner == request.owner;
    let is_same_epoch = present.epoch == request.epoch;
    let is_alive = present.until > request.now;
    let next = present.epoch.saturating_add(1);
    match request.epoch {
        _ if is_same_owner && is_same_epoch => Ok(granted(present.epoch)),
        0 if is_same_owner || !is_alive || request.owner_is_gone => Ok(granted(next)),
        0 => Err(JournalError::Held(Box::new(present))),
        _ if request.owner_is_gone && is_same_epoch => Ok(granted(next)),
        _ if is_alive && !is_same_owner => Err(JournalError::Held(Box::new(present))),
        expected => Err(JournalError::Conflict { expected, found: present.epoch }),
    }
}
