//! What a program adds when a coordinator is woken.

use cofferdam_core::id::RunId;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;
use std::sync::Arc;

/// A coordinator is about to be woken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CoordinatorWake {
    /// The run that it hears of.
    pub run_id: RunId,
    /// How often it was woken in the run, this time included; the start of the run is no wake, and has 0.
    pub number: u32,
    /// All steps have ended.
    pub is_last: bool,
}

type Function = Arc<dyn Fn(&CoordinatorWake) -> Option<String> + Send + Sync>;

/// The function that says something more at each wake. Records tell that there is one, and no more.
#[derive(Clone, Default)]
pub(crate) enum WakeContext {
    #[default]
    None,
    Here(Function),
    /// A record tells of one.
    Elsewhere,
}

impl WakeContext {
    pub(super) fn is_none(&self) -> bool {
        matches!(self, Self::None)
    }
}

impl fmt::Debug for WakeContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::None => "None",
            Self::Here(_) => "Here",
            Self::Elsewhere => "Elsewhere",
        })
    }
}

impl PartialEq for WakeContext {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::None, Self::None) | (Self::Elsewhere, Self::Elsewhere) => true,
            (Self::Here(one), Self::Here(other)) => Arc::ptr_eq(one, other),
            _ => false,
        }
    }
}

impl Eq for WakeContext {}

impl Serialize for WakeContext {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bool(!self.is_none())
    }
}

impl<'de> Deserialize<'de> for WakeContext {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(if bool::deserialize(deserializer)? { Self::Elsewhere } else { Self::None })
    }
}
