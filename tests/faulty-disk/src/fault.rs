//! Which call fails, and how.
//!
//! It must not know what the calls do.

use std::sync::atomic::{AtomicUsize, Ordering};

/// The kinds of calls, as a fault names them. All that changes names is one kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Open,
    Write,
    Sync,
    Truncate,
    Name,
}

impl Kind {
    fn parse(text: &str) -> Option<Self> {
        Some(match text {
            "open" => Self::Open,
            "write" => Self::Write,
            "sync" => Self::Sync,
            "truncate" => Self::Truncate,
            "name" => Self::Name,
            _ => return None,
        })
    }
}

/// What becomes of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Passes,
    /// Only the first half of what is to be written is.
    Short,
    /// It fails with this number.
    Fails(i32),
}

/// A fault, as `FAULTY_DISK_FAULT` says it: the number counts calls of its kind from 1; how it fails is the number of
/// an error, or `short`.
pub(crate) struct Fault {
    kind: Kind,
    number: usize,
    /// None is a short write.
    error: Option<i32>,
    is_lasting: bool,
    calls: AtomicUsize,
}

impl Fault {
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let mut words = text.split(':');
        let (kind, number) = (Kind::parse(words.next()?)?, words.next()?.parse().ok()?);
        let error = match words.next()? {
            "short" => None,
            number => Some(number.parse().ok()?),
        };
        let is_lasting = words.next()? == "lasting";
        Some(Self { kind, number, error, is_lasting, calls: AtomicUsize::new(0) })
    }

    /// Counts a call and judges it.
    pub(crate) fn judge(&self, kind: Kind) -> Verdict {
        if kind != self.kind {
            return Verdict::Passes;
        }
        let call = self.calls.fetch_add(1, Ordering::SeqCst) + 1;
        let is_hit = call == self.number || (self.is_lasting && call > self.number);
        match self.error {
            _ if !is_hit => Verdict::Passes,
            None => Verdict::Short,
            // A disk that fills up takes a part of what does not fit.
            Some(libc::ENOSPC) if kind == Kind::Write && self.is_lasting && call == self.number => Verdict::Short,
            Some(error) => Verdict::Fails(error),
        }
    }
}
