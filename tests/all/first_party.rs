//! The shipped components are those of the sources: the same call gets the same answer from both. Bytes are not
//! compared, since another compiler writes others.

use crate::support::Project;
use serde_json::Value;

/// What each call of a component answers, by step: the result, or the failure without the component's digest.
fn answers(component: &[u8], calls: &[(&str, &str)]) -> Vec<(String, Value, String)> {
    let project = Project::new();
    let mut document =
        String::from("name: same\nplugins: { it: { source: ./it.wasm, grants: { fs: { read: true } } } }");
    document += "\nsteps:\n";
    for (at, (tool, args)) in calls.iter().enumerate() {
        document += &format!("  - {{ id: s{at}, tool: it.{tool}, args: {args} }}\n");
    }
    project
        .file("it.wasm", component)
        .file("same.yaml", &document)
        .file("site/a.md", "# One\n\nto be or not to be\n")
        .file("site/a.csv", "name,size\na,3\nb,1\n")
        .file("site/run.sh", format!("export API_KEY={}{}\n", "q8Zr1Lw0pXv7", "Kd2m9Ts4Hb6y"));
    let outcome = project.run(&["run", "same.yaml", "--workdir", "site", "--grant-requested", "--json"]);
    let digest = cofferdam_guests::digest(component);
    let finished = outcome.json_lines().into_iter().filter(|event| event["kind"] == "tool_call_finished");
    let mut answers: Vec<_> = finished
        .map(|event| {
            let failure = event["error"].to_string().replace(&digest, "").replace(&digest[7..19], "");
            (event["path"].to_string(), event["result"].clone(), failure)
        })
        .collect();
    answers.sort_by(|one, other| one.0.cmp(&other.0));
    assert_eq!(answers.len(), calls.len(), "{}{}", outcome.stdout, outcome.stderr);
    let says = |(_, result, failure): &(String, Value, String)| !result.is_null() || failure != "null";
    assert!(answers.iter().all(says), "{}", outcome.stdout);
    answers
}

fn compare(name: &str, calls: &[(&str, &str)]) {
    let shipped = answers(&cofferdam_guests::dist_bytes(name).unwrap(), calls);
    let built = answers(&cofferdam_guests::built_bytes(name).unwrap(), calls);
    assert_eq!(shipped, built, "`{name}` is not what its sources say: run `cargo run -p cofferdam-guests -- dist`");
}

#[test]
fn every_shipped_plugin_answers_as_its_sources_do() {
    let sum = "{ path: a.csv, aggregates: [{ op: sum, column: size }] }";
    compare("csv", &[("read", "{ path: a.csv, sort: [-size], format: markdown }"), ("aggregate", sum)]);
    compare(
        "fetch",
        &[("get", "{ url: 'http://127.0.0.1:9/' }"), ("get", "{ url: 'http://h/', max_bytes: 99999999 }")],
    );
    compare("secrets-scan", &[("scan", "{ paths: [run.sh, a.md, none] }"), ("scan", "{ max_file_bytes: 99999999 }")]);
    compare("text", &[("words", "{ path: a.md }"), ("survey", "{ paths: [a.md, a.csv] }")]);
}
