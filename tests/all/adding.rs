//! What `plugin add` and `plugin doctor` do with the files of a project: what a person wrote stays, grants belong to a
//! plugin and not to its name, and what is lacking is said.

use crate::registries::{add, component, digest, document, project, push, rebuilt};
use crate::support::{Fault, Project, Registry, repository};
use std::fs;

#[test]
fn what_a_person_wrote_stays_and_nothing_is_replaced_unasked() {
    let registry = Registry::start();
    let project = project(&registry);
    project.file("again.wasm", rebuilt());
    push(&project, &registry, "text.wasm");
    let own = "# mine\n[plugins.text] # a remark\nsource = \"./again.wasm\"\ngrants = { kv = { scope = \"run\" } }\n\n[run]\nmodel = \"x\"\n";
    project.file("cofferdam.toml", own);
    registry.seen();
    add(&project, &registry, &[]).expect(3).says(&["`text` is `./again.wasm`", "--force"]);
    assert!(registry.seen().is_empty(), "it was known before");
    assert_eq!(project.read("cofferdam.toml"), own);
    add(&project, &registry, &["--force", "--grant", "text:fs=read"]).expect(0).says(&["`text` may read"]);
    let text = project.read("cofferdam.toml");
    for part in ["# mine\n[plugins.text] # a remark\n", "[run]\nmodel = \"x\"\n", "[plugins.text.grants]\nfs = {"] {
        assert!(text.contains(part), "`{part}` is not in\n{text}");
    }
    assert!(!text.contains("kv"), "what the other one might do is not for this one: {text}");
    add(&project, &registry, &["--grant", "other:fs=read"]).expect(3).says(&["the grant is for `other`"]);
    project.file("local.wasm", component());
    project.run(&["plugin", "add", "local.wasm"]).expect(0);
    project.file("local.wasm", rebuilt());
    project.run(&["plugin", "add", "local.wasm"]).expect(3).says(&["another component", "--update"]);
    project.run(&["plugin", "add", "local.wasm", "--update"]).expect(0);
    project.run(&["plugin", "add", "builtin:csv"]).expect(0);
    project.run(&["plugin", "add", "builtin:nothing"]).expect(2).says(&["no builtin plugin"]);
    project.file("cofferdam.toml", "plugins = 3\n");
    project.run(&["plugin", "add", "builtin:csv"]).expect(3);
}

#[test]
fn grants_of_the_project_hold_for_its_plugin_and_for_no_other_of_the_name() {
    let project = crate::support::with_echo();
    let with = |source: &str| {
        let document = format!(
            "name: own\nplugins: {{ it: {{ source: {source}, grants: {{ kv: {{ scope: run }} }} }} }}\n\
             steps: [{{ id: keep, tool: it.keep, args: {{ key: k, value: v }} }}]\n"
        );
        project.file("own.yaml", document);
        project.run(&["run", "own.yaml", "-q", "--strict"])
    };
    project.run(&["plugin", "add", "echo.wasm", "--as", "it", "--grant", "it:kv=run"]).expect(0);
    with("./echo.wasm").expect(0);
    project.file("other.wasm", fs::read(project.path("echo.wasm")).unwrap());
    with("./other.wasm").expect(2).says(&["what nobody granted"]);
    // The table says which component it is, also to a document that does not.
    project.file("echo.wasm", component());
    with("./echo.wasm").expect(2).says(&["its digest is"]);
}

#[test]
fn what_was_added_is_said_as_json() {
    let registry = Registry::start();
    let project = project(&registry);
    push(&project, &registry, "text.wasm");
    let value = add(&project, &registry, &["--json"]).expect(0).json_lines().remove(0);
    assert_eq!(value["alias"], "text");
    assert_eq!(value["digest"], digest(&component()));
    assert_eq!(value["fetched"], true);
    assert_eq!(value["settings"]["changed"], true);
    assert_eq!(value["plugin"]["about"]["id"], "cofferdam/text");
    registry.fault(Fault::Status(500));
    let failed = add(&project, &registry, &["--json", "--update"]).expect(1).json_lines().remove(0);
    assert_eq!((&failed["kind"], &failed["exit_code"]), (&"error".into(), &1.into()));
}

#[test]
fn what_cannot_be_added_is_not_approved_either() {
    use std::os::unix::fs::PermissionsExt as _;
    let project = Project::new();
    project.file("cofferdam.toml", "[run]\n");
    let settings = project.path("cofferdam.toml");
    fs::set_permissions(&settings, fs::Permissions::from_mode(0o444)).unwrap();
    project.run(&["plugin", "add", "builtin:csv"]).expect(1).says(&["cofferdam.toml", "it is write-protected"]);
    assert!(!project.path("cofferdam.lock").exists());
}

#[test]
fn looking_at_a_plugin_shows_what_a_run_would_grant_it() {
    let project = Project::new();
    project.run(&["plugin", "add", "builtin:csv", "--as", "table", "--grant", "table:fs=read"]).expect(0);
    let granted = |source: &str, flags: &[&str]| {
        let args = [&["plugin", "inspect", source, "--alias", "table", "--json"], flags].concat();
        serde_json::from_str::<serde_json::Value>(&project.run(&args).expect(0).stdout).unwrap()["granted"].clone()
    };
    assert_eq!(granted("builtin:csv", &[]).as_array().unwrap().len(), 1);
    // Another plugin under that name gets nothing, as in a run.
    assert_eq!(granted("builtin:text", &["--grant", "table:fs=read"]), serde_json::json!([]));
}

#[test]
fn programs_that_add_at_the_same_time_keep_each_others_lines() {
    let project = Project::new();
    project.run(&["plugin", "add", "builtin:csv"]).expect(0);
    let names: Vec<String> = (0..6).map(|number| format!("p{number}")).collect();
    std::thread::scope(|scope| {
        for name in &names {
            scope.spawn(|| project.run(&["plugin", "add", "builtin:csv", "--as", name]).expect(0));
        }
    });
    let (settings, lock) = (project.read("cofferdam.toml"), project.read("cofferdam.lock"));
    for name in &names {
        assert!(settings.contains(&format!("[plugins.{name}]")), "{name} is not in\n{settings}");
        assert!(lock.contains(&format!("alias = \"{name}\"")), "{name} is not in\n{lock}");
    }
}

#[test]
fn a_plugin_that_serves_the_host_comes_from_a_registry_as_well() {
    let registry = Registry::start();
    let project = Project::with_plugins();
    project.file("log.wasm", fs::read(repository().join("plugins/dist/ndjson-file.wasm")).unwrap());
    project.file("hello.yaml", "name: hello\nsteps: [{ id: hi, instructions: Say hello. }]\n");
    project.file("model.yaml", "default: { text: Hello. }\n");
    let reference = registry.reference("acme/log:1");
    project.run(&["plugin", "push", "log.wasm", &reference]).expect(0);
    project.run(&["plugin", "add", &reference]).expect(0);
    let text = project.read("cofferdam.toml");
    fs::create_dir(project.path("logs")).unwrap();
    let grants = "[plugins.log.config]\npath = \"events.ndjson\"\n[plugins.log.grants]\nfs = { also = [{ from = \"logs\", at = \"/sink\", read = true, write = true }] }\n";
    project.file("cofferdam.toml", format!("{text}{grants}[run]\nsinks = [\"plugin:log\"]\n"));
    let mut registry = registry;
    registry.stop();
    project.run(&["run", "hello.yaml", "-q", "--model", "scripted/model.yaml", "--locked"]).expect(0);
    assert!(fs::read_dir(project.path("logs")).unwrap().count() > 0);
    // Without the digest in the table, that of the lock file holds.
    let without: Vec<&str> = text.lines().filter(|line| !line.starts_with("digest")).collect();
    project.file("cofferdam.toml", format!("{}\n{grants}[run]\nsinks = [\"plugin:log\"]\n", without.join("\n")));
    project.run(&["run", "hello.yaml", "-q", "--model", "scripted/model.yaml"]).expect(0);
    fs::remove_file(project.path("cofferdam.lock")).unwrap();
    let outcome = project.run(&["run", "hello.yaml", "-q", "--model", "scripted/model.yaml"]).expect(2);
    outcome.says(&["was never fetched", "cofferdam plugin add"]);
}

#[test]
fn the_doctor_looks_at_the_machine_and_at_each_plugin() {
    let project = Project::with_plugins();
    let nowhere = project.path("nowhere").display().to_string();
    let project = project.variable("PATH", &nowhere);
    project.file("text.wasm", component());
    let checks = |args: &[&str], code| {
        let lines = project.run(&[&["plugin", "doctor", "--json"], args].concat()).expect(code).json_lines();
        move |name: &str| lines.iter().find(|line| line["check"] == name).cloned().unwrap_or_else(|| panic!("{name}"))
    };
    let machine = checks(&[], 0);
    for name in ["kernel", "memory", "compiler", "key", "cache", "fetched"] {
        assert_ne!(machine(name)["state"], "fail", "{}", machine(name));
    }
    // No compiler is found, and that is no fault of the project.
    for name in ["rust", "target", "js", "python"] {
        assert_eq!(machine(name)["state"], "warn");
        assert!(machine(name)["hint"].is_string(), "{}", machine(name));
    }
    document(&project, "./text.wasm");
    let before = checks(&["flow.yaml"], 0)("text");
    assert_eq!(before["state"], "warn");
    assert!(before["found"].as_str().unwrap().contains("not locked"), "{before}");
    project.run(&["plugin", "lock", "flow.yaml"]).expect(0);
    let locked = checks(&["flow.yaml"], 0)("text");
    assert_eq!((&locked["state"], &locked["hint"]), (&"ok".into(), &serde_json::Value::Null));
    let asking =
        project.read("flow.yaml").replace("\"./text.wasm\"", "{ source: ./text.wasm, grants: { fs: { read: true } } }");
    project.file("asking.yaml", asking);
    let asking = checks(&["asking.yaml"], 0)("text");
    assert_eq!((&asking["state"], &asking["hint"]), (&"warn".into(), &"to grant it: --grant text:fs=read".into()));
    project.file("text.wasm", rebuilt());
    assert_eq!(checks(&["flow.yaml"], 1)("text")["state"], "fail");
    project.file("broken.wasm", "x");
    assert_eq!(checks(&["broken.wasm"], 1)("broken")["state"], "fail");
    project.file("flow.yaml", "name: f\nplugins: { text: { source: ./text.wasm, config: { no: 1 } } }\nsteps: [{ id: s, tool: text.words, args: { text: x } }]\n");
    let wrong = checks(&["flow.yaml"], 1)("text");
    assert!(wrong["found"].as_str().unwrap().contains("takes no configuration"), "{wrong}");
    let text = project.run(&["plugin", "doctor"]).expect(0).stdout;
    assert!(text.contains("hint: ") && text.contains("ok  "), "{text}");
    project.run(&["plugin", "doctor", "absent.yaml"]).expect(3).says(&["no document"]);
}
