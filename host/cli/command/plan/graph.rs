//! What both drawings of a plan as a graph share: names of nodes, and which are joined.

use super::Planned;
use std::collections::HashMap;

/// A name that both languages take, a different one for each path: neither allows hyphens, and `end` is a word of
/// Mermaid's. Ids have no capitals, so that what stands for other characters cannot be part of one.
pub(super) fn node(planned: &Planned<'_>) -> String {
    let path = planned.path.replace("[i].", "_IN_").replace('.', "_IN_").replace('-', "_D_");
    format!("s_{path}")
}

/// The steps of one scope that an edge joins, the earlier first.
pub(super) fn edges<'p, 'w>(steps: &'p [Planned<'w>]) -> Vec<(&'p Planned<'w>, &'p Planned<'w>)> {
    let by_id: HashMap<&str, &'p Planned<'w>> =
        steps.iter().map(|planned| (planned.step.id.as_str(), planned)).collect();
    let of = |planned: &'p Planned<'w>| {
        let before = planned.after.iter().filter_map(|step| by_id.get(step.id.as_str()).copied());
        before.map(|before| (before, planned)).collect::<Vec<_>>()
    };
    steps.iter().flat_map(of).collect()
}

#[cfg(test)]
mod tests {
    use super::super::{planned, sample};
    use super::*;

    #[test]
    fn every_step_has_a_name_of_its_own() {
        let document = sample::document(vec![
            sample::agent("a-b"),
            sample::agent("a__b"),
            sample::repeat("a", 2, vec![sample::agent("b"), sample::agent("end")]),
        ]);
        let steps = planned(&document);
        let inner = steps.iter().filter_map(|step| step.inner.as_ref()).flat_map(|inner| &inner.steps);
        let names: Vec<String> = steps.iter().chain(inner).map(node).collect();
        assert_eq!(names, ["s_a_D_b", "s_a__b", "s_a", "s_a_IN_b", "s_a_IN_end"]);
    }
}
