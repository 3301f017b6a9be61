//! The table of all probes.

mod components;
mod files;
mod floods;
mod growth;
mod lies;
mod loops;
mod network;
mod surroundings;

use crate::probe::Probe;

/// Every probe there is.
pub(crate) fn all() -> Vec<Probe> {
    [
        loops::probes(),
        growth::probes(),
        lies::probes(),
        floods::probes(),
        surroundings::probes(),
        files::probes(),
        network::probes(),
        components::probes(),
    ]
    .into_iter()
    .flatten()
    .collect()
}
