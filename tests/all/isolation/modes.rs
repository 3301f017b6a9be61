//! Modes of isolation that an embedder has beside those of the language.

use super::Plain;
use crate::support::Project;
use cofferdam::core::port::Isolation;
use cofferdam::{Orchestrator, RunOptions, Workflow};
use std::fs;
use std::path::Path;
use std::sync::Arc;

#[test]
fn an_embedder_adds_modes_under_names_of_its_own() {
    let folder = tempfile::TempDir::new().unwrap();
    let (own, shared) = (folder.path().join("own"), folder.path().join("shared"));
    fs::create_dir(&own).unwrap();
    fs::create_dir(&shared).unwrap();
    let text = "name: w\noptions: { isolation: vm }\nsteps:
  - { id: a, tool: write, args: { path: x, content: a } }
  - { id: b, isolation: none, tool: write, args: { path: x, content: b }, dependsOn: [a] }
  - { id: c, isolation: none, tool: read, args: { path: 'out:o' }, dependsOn: [d] }
  - { id: d, isolation: workdir-per-step, tool: write, args: { path: 'out:o', content: o } }\n";
    let workflow = Workflow::parse(text, folder.path()).unwrap();
    let again = Workflow::parse(&workflow.to_yaml(), folder.path()).unwrap();
    assert_eq!(again.document().isolation_modes(), workflow.document().isolation_modes());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let with = |knows_modes| Arc::new(Plain { folder: own.clone(), knows_modes }) as Arc<dyn Isolation>;
    let builder = || Orchestrator::builder().workdir(&shared).project(folder.path().join(".cofferdam"));
    let orchestrator = builder().isolation_mode("vm", with(true)).build().unwrap();
    let result = runtime.block_on(orchestrator.run_flow(&workflow, RunOptions::default())).unwrap();
    assert_eq!(result.warnings, ["beware"], "{:?}", result.error);
    let changes = result.step("a").unwrap().changes.clone().unwrap();
    assert_eq!((changes.isolation.as_str(), changes.count()), ("vm", 3));
    let read = |path: &Path| fs::read_to_string(path).unwrap();
    assert_eq!((read(&own.join("x")), read(&shared.join("x"))), ("a".to_owned(), "b".to_owned()));
    assert_eq!(&*result.step("c").unwrap().content, "o");
    runtime.block_on(orchestrator.replay(&result.run_id)).unwrap();
    for (builder, why) in [
        (builder().isolation_mode("vm", with(false)), "none here"),
        (builder().isolation_mode("other", with(true)), "`isolation: vm` is not to be had here"),
        (builder(), "`isolation: vm` is not to be had here"),
    ] {
        let orchestrator = builder.build().unwrap();
        let refused = runtime.block_on(orchestrator.run_flow(&workflow, RunOptions::default())).unwrap_err();
        assert!(refused.to_string().contains(why), "{refused}");
        let refused = runtime.block_on(orchestrator.check_host(&workflow)).unwrap_err();
        assert!(refused.to_string().contains(why), "{refused}");
    }
    for (name, why) in [("none", "there already"), ("V M", "is no name")] {
        let refused = builder().isolation_mode(name, with(true)).build().map(|_| ()).unwrap_err();
        assert!(refused.to_string().contains(why), "{refused}");
    }
}

#[test]
fn a_mode_that_nobody_knows_is_found_at_its_place_and_a_slip_is_an_error() {
    let project = Project::new();
    project.file("w.yaml", "name: w\nsteps: [{ id: a, isolation: vm, tool: read, args: { path: x } }]\n");
    project.run(&["validate", "w.yaml"]).expect(2).says(&["`isolation: vm` is not to be had here", "w.yaml:2:"]);
    project.run(&["run", "w.yaml"]).expect(2).says(&["`isolation: vm` is not to be had here"]);
    project.file("w.yaml", "name: w\nsteps: [{ id: a, isolation: copy-per-stp, tool: read, args: { path: x } }]\n");
    project.run(&["validate", "w.yaml"]).expect(2).says(&["W010", "did you mean `copy-per-step`"]);
    project.file("w.yaml", "name: w\nsteps: [{ id: a, isolation: A Thing, tool: read, args: { path: x } }]\n");
    project.run(&["validate", "w.yaml"]).expect(2).says(&["W010", "it is one of"]);
}
