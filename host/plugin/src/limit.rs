//! What a running guest may take, and which bound it ran into.
//!
//! It must not know interfaces or grants: it counts bytes, elements and instances.

use cofferdam_core::policy::KindLimits;
use std::fmt;
use std::time::Duration;
use wasmtime::ResourceLimiter;

/// A bound that a guest ran into, and how much it allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Limit {
    /// Linear memory, summed over all memories, in bytes.
    Memory(usize),
    /// Elements, summed over all tables.
    TableElements(usize),
    /// Recursion: bytes of wasm stack.
    Stack(usize),
    /// Time from start to end, waiting included.
    Wall(Duration),
    /// Instructions.
    Fuel(u64),
    /// Bytes that one host call or result copies out of the guest.
    Copied(usize),
    /// Bytes of a result.
    Result(usize),
    /// Handles or resources alive at once.
    Handles(usize),
    /// Core instances, memories or tables of one component.
    Instances(u32),
}

impl Limit {
    /// The bound's name in documents and in `plugin inspect`.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Memory(_) => "memory",
            Self::TableElements(_) => "table_elements",
            Self::Stack(_) => "stack",
            Self::Wall(_) => "wall",
            Self::Fuel(_) => "fuel",
            Self::Copied(_) => "copied",
            Self::Result(_) => "result",
            Self::Handles(_) => "handles",
            Self::Instances(_) => "instances",
        }
    }
}

impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Memory(bytes) => write!(f, "needs more than its {} of memory", Bytes(*bytes)),
            Self::TableElements(elements) => write!(f, "needs tables of more than {elements} elements"),
            Self::Stack(bytes) => write!(f, "recurses deeper than its {} of stack", Bytes(*bytes)),
            Self::Wall(time) => write!(f, "ran longer than its {time:?}"),
            Self::Fuel(units) => write!(f, "computed longer than its {units} units of fuel"),
            Self::Copied(bytes) => write!(f, "handed over more than {} at once", Bytes(*bytes)),
            Self::Result(bytes) => write!(f, "returned more than {}", Bytes(*bytes)),
            Self::Handles(count) => write!(f, "holds more than {count} handles"),
            Self::Instances(parts) => write!(f, "has more than {parts} core instances, memories or tables"),
        }
    }
}

/// A size for people: whole KiB or MiB where it is one.
pub(crate) struct Bytes(pub(crate) usize);

impl fmt::Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const KIB: usize = 1024;
        const MIB: usize = KIB * KIB;
        match self.0 {
            bytes if bytes >= MIB && bytes.is_multiple_of(MIB) => write!(f, "{} MiB", bytes / MIB),
            bytes if bytes >= KIB && bytes.is_multiple_of(KIB) => write!(f, "{} KiB", bytes / KIB),
            bytes => write!(f, "{bytes} bytes"),
        }
    }
}

/// Counts what one store takes. Growth beyond a bound is refused as the specification has it (the guest sees
/// -1) and remembered, so that the trap which usually follows is reported as what it is.
#[derive(Debug)]
pub(crate) struct Limiter {
    limits: KindLimits,
    memory_used: usize,
    elements_used: usize,
    hit: Option<Limit>,
}

impl Limiter {
    pub(crate) fn new(limits: KindLimits) -> Self {
        Self { limits, memory_used: 0, elements_used: 0, hit: None }
    }

    /// Begins another call: what was refused before does not explain how this one ends.
    pub(crate) fn begin(&mut self) {
        self.hit = None;
    }

    /// Linear memory in bytes, summed over all memories. It never shrinks.
    pub(crate) fn memory_used(&self) -> usize {
        self.memory_used
    }

    /// The last bound that refused something.
    pub(crate) fn hit(&self) -> Option<Limit> {
        self.hit
    }
}

/// A bound of the table as a size in this address space.
pub(crate) fn size(bound: u64) -> usize {
    usize::try_from(bound).unwrap_or(usize::MAX)
}

/// What is used in all once one part grows, if that is within the bound.
fn grown(used: usize, current: usize, desired: usize, bound: u64) -> Option<usize> {
    let total = used.saturating_sub(current).saturating_add(desired);
    (total <= size(bound)).then_some(total)
}

impl ResourceLimiter for Limiter {
    fn memory_growing(&mut self, current: usize, desired: usize, _maximum: Option<usize>) -> wasmtime::Result<bool> {
        let total = grown(self.memory_used, current, desired, self.limits.memory_bytes);
        self.memory_used = total.unwrap_or(self.memory_used);
        if total.is_none() {
            self.hit = Some(Limit::Memory(size(self.limits.memory_bytes)));
        }
        Ok(total.is_some())
    }

    fn table_growing(&mut self, current: usize, desired: usize, _maximum: Option<usize>) -> wasmtime::Result<bool> {
        let total = grown(self.elements_used, current, desired, self.limits.table_elements);
        self.elements_used = total.unwrap_or(self.elements_used);
        if total.is_none() {
            self.hit = Some(Limit::TableElements(size(self.limits.table_elements)));
        }
        Ok(total.is_some())
    }

    fn instances(&self) -> usize {
        size(self.limits.core_instances.into())
    }

    fn tables(&self) -> usize {
        size(self.limits.tables.into())
    }

    fn memories(&self) -> usize {
        size(self.limits.memories.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use cofferdam_core::policy::PluginKind;

    #[test]
    fn memory_is_summed_over_all_memories() {
        let limits = KindLimits { memory_bytes: 10, ..PluginKind::Tool.limits() };
        let mut limiter = Limiter::new(limits);
        assert!(limiter.memory_growing(0, 6, None).unwrap());
        assert!(limiter.memory_growing(0, 4, None).unwrap());
        assert!(!limiter.memory_growing(6, 7, None).unwrap());
        assert_eq!(limiter.hit(), Some(Limit::Memory(10)));
    }

    #[test]
    fn sizes_read_well() {
        assert_eq!(Bytes(64 << 20).to_string(), "64 MiB");
        assert_eq!(Bytes(1500).to_string(), "1500 bytes");
    }
}
