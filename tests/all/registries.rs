//! Plugins of registries: pushed, added, locked and run without one; and registries that lie, hang, refuse or lead
//! elsewhere.

use crate::support::{Fault, Gate, Outcome, Project, Registry, repository};
use cofferdam::core::digest::sha256_hex;
use std::fs;
use std::path::PathBuf;

/// A small plugin with a tool, which is compiled once for all tests.
pub(crate) fn component() -> Vec<u8> {
    fs::read(repository().join("plugins/dist/text.wasm")).unwrap()
}

/// The same component with other bytes: a custom section says nothing.
pub(crate) fn rebuilt() -> Vec<u8> {
    [&component()[..], &[0, 3, 1, b'x', 0]].concat()
}

pub(crate) fn digest(bytes: &[u8]) -> String {
    format!("sha256:{}", sha256_hex(bytes))
}

/// A project with `text.wasm` and, in `flow.yaml`, a document that uses it from the registry.
pub(crate) fn project(registry: &Registry) -> Project {
    let project = Project::with_plugins();
    project.file("text.wasm", component());
    document(&project, &registry.reference("acme/text:1.0.0"));
    project
}

pub(crate) fn document(project: &Project, source: &str) {
    let text = format!(
        "name: flow\nplugins: {{ text: \"{source}\" }}\nsteps: [{{ id: count, tool: text.words, args: {{ text: two words }} }}]\n"
    );
    project.file("flow.yaml", text);
}

/// Another machine: the same user, who has fetched nothing.
fn elsewhere(project: Project) -> Project {
    let cache = project.path("other-cache").display().to_string();
    project.variable("XDG_CACHE_HOME", &cache)
}

pub(crate) fn push(project: &Project, registry: &Registry, file: &str) -> Outcome {
    project.run(&["plugin", "push", file, &registry.reference("acme/text:1.0.0")]).expect(0)
}

pub(crate) fn add(project: &Project, registry: &Registry, more: &[&str]) -> Outcome {
    let reference = registry.reference("acme/text:1.0.0");
    project.run(&[&["plugin", "add", &reference, "--as", "text"], more].concat())
}

fn run(project: &Project, more: &[&str]) -> Outcome {
    project.run(&[&["run", "flow.yaml", "-q"], more].concat())
}

/// The file of a fetched component.
fn kept(project: &Project, component: &[u8]) -> PathBuf {
    project.path("other-cache").join(format!("cofferdam/fetched/{}.wasm", sha256_hex(component)))
}

#[test]
fn a_plugin_is_pushed_added_and_run_without_the_registry() {
    let mut registry = Registry::start();
    let project = elsewhere(project(&registry));
    let pushed = push(&project, &registry, "text.wasm").says(&["pushed", "cofferdam/text"]);
    let manifest = registry.manifest("acme/text:1.0.0").unwrap();
    assert_eq!(pushed.stdout.trim(), registry.reference(&format!("acme/text@{}", digest(&manifest))));
    add(&project, &registry, &[]).expect(0).says(&["cofferdam.toml was written", "cofferdam.lock was written"]);
    let settings = project.read("cofferdam.toml");
    let lock = project.read("cofferdam.lock");
    let (component, source) = (component(), registry.reference("acme/text:1.0.0"));
    for part in ["[plugins.text]", &format!("source = \"{source}\""), &format!("digest = \"{}\"", digest(&component))] {
        assert!(settings.contains(part), "`{part}` is not in\n{settings}");
    }
    for part in [&format!("manifest = \"{}\"", digest(&manifest)), &format!("digest = \"{}\"", digest(&component))] {
        assert!(lock.contains(part), "`{part}` is not in\n{lock}");
    }
    registry.stop();
    assert!(run(&project, &["--locked"]).expect(0).stdout.contains('2'));
    add(&project, &registry, &[]).expect(0).says(&["on this machine already", "cofferdam.toml is as it was"]);
    // Whoever may write into the cache cannot change a plugin.
    let file = kept(&project, &component);
    let mut changed = component.clone();
    *changed.last_mut().unwrap() ^= 1;
    fs::write(&file, changed).unwrap();
    run(&project, &[]).expect(2).says(&["was changed", "cofferdam plugin add oci://"]);
    fs::remove_file(&file).unwrap();
    run(&project, &[]).expect(2).says(&["is not on this machine", &format!("cofferdam plugin add {source} --as text")]);
}

#[test]
fn what_is_pushed_twice_is_the_same_and_is_sent_once() {
    let registry = Registry::start();
    let project = project(&registry);
    let push = || {
        let reference = registry.reference("acme/text:1.0.0");
        let outcome = project.run(&["plugin", "push", "text.wasm", &reference, "--json"]).expect(0);
        outcome.json_lines().remove(0)
    };
    let (first, second) = (push(), push());
    assert_eq!(first["digest"], digest(&component()));
    assert_eq!(first["pinned"], second["pinned"]);
    assert!(first["sent_bytes"].as_u64() > Some(0));
    assert_eq!(second["sent_bytes"], 0);
    let manifest: serde_json::Value = serde_json::from_slice(&registry.manifest("acme/text:1.0.0").unwrap()).unwrap();
    assert_eq!(manifest["config"]["mediaType"], "application/vnd.wasm.config.v0+json");
    assert_eq!(manifest["layers"][0]["mediaType"], "application/wasm");
    assert_eq!(manifest["annotations"]["org.opencontainers.image.title"], "cofferdam/text");
}

#[test]
fn nothing_is_fetched_by_looking_validating_or_running() {
    let registry = Registry::start();
    let project = project(&registry);
    push(&project, &registry, "text.wasm");
    registry.seen();
    let command = format!("cofferdam plugin add {} --as text", registry.reference("acme/text:1.0.0"));
    for args in
        [&["run", "flow.yaml"][..], &["run", "flow.yaml", "--locked"], &["run", "flow.yaml", "--grant-requested"]]
    {
        project.run(args).expect(2).says(&["was never fetched", &command]);
    }
    // The document may be right: what this machine lacks is a warning.
    project.run(&["validate", "flow.yaml"]).expect(0).says(&["was never fetched"]);
    project.run(&["validate", "flow.yaml", "--strict"]).expect(2);
    let reference = registry.reference("acme/text:1.0.0");
    project.run(&["plugin", "inspect", &reference]).expect(2).says(&["was never fetched"]);
    project.run(&["plugin", "doctor", "flow.yaml"]).expect(1);
    assert_eq!(registry.seen(), Vec::<String>::new());
    add(&project, &registry, &[]).expect(0);
    assert!(project.run(&["plugin", "inspect", &reference]).expect(0).stdout.contains("cofferdam/text"));
    project.run(&["validate", "flow.yaml"]).expect(0);
}

#[test]
fn a_document_is_locked_and_a_moved_tag_is_not_taken() {
    let registry = Registry::start();
    let project = project(&registry);
    project.file("again.wasm", rebuilt());
    push(&project, &registry, "text.wasm");
    project.run(&["plugin", "lock", "flow.yaml"]).expect(0).says(&["was written"]);
    let lock = project.read("cofferdam.lock");
    push(&project, &registry, "again.wasm");
    // A machine that has nothing gets what is locked, by its manifest, wherever the tag points.
    let project = elsewhere(project);
    project.run(&["plugin", "lock", "flow.yaml"]).expect(0).says(&["is as it was"]);
    assert_eq!(project.read("cofferdam.lock"), lock);
    run(&project, &["--locked"]).expect(0);
    add(&project, &registry, &[]).expect(0).says(&["as it is locked"]);
    assert!(project.read("cofferdam.toml").contains(&digest(&component())));
    // The document and the project's file name one component.
    fs::write(kept(&project, &component()), "x").unwrap();
    registry.forget_digests();
    let outcome = project.run(&["plugin", "lock", "flow.yaml"]).expect(1);
    outcome.says(&["has no `acme/text`", "look at the spelling"]);
    add(&project, &registry, &["--update"]).expect(0).says(&["cofferdam.lock was written"]);
    for file in ["cofferdam.toml", "cofferdam.lock"] {
        assert!(project.read(file).contains(&digest(&rebuilt())), "{file}");
    }
    run(&project, &["--locked"]).expect(0);
}

#[test]
fn a_lock_without_the_manifest_does_not_follow_the_tag_either() {
    let registry = Registry::start();
    let project = project(&registry);
    project.file("again.wasm", rebuilt());
    push(&project, &registry, "text.wasm");
    project.run(&["plugin", "lock", "flow.yaml"]).expect(0);
    let lock = project.read("cofferdam.lock");
    let without: Vec<&str> = lock.lines().filter(|line| !line.starts_with("manifest")).collect();
    project.file("cofferdam.lock", without.join("\n"));
    push(&project, &registry, "again.wasm");
    let project = elsewhere(project);
    project.run(&["plugin", "lock", "flow.yaml"]).expect(2).says(&[&digest(&component()), "is locked", "--update"]);
    add(&project, &registry, &[]).expect(2).says(&["the tag was moved"]);
    project.run(&["plugin", "lock", "flow.yaml", "--update"]).expect(0).says(&["was written"]);
    run(&project, &["--locked"]).expect(0);
}

#[test]
fn who_locks_what_the_settings_pin_otherwise_is_told_what_changes_both() {
    let registry = Registry::start();
    let project = project(&registry);
    push(&project, &registry, "text.wasm");
    add(&project, &registry, &[]).expect(0);
    project.file("again.wasm", rebuilt());
    push(&project, &registry, "again.wasm");
    let outcome = project.run(&["plugin", "lock", "flow.yaml", "--update"]).expect(2);
    outcome.says(&["pinned as", "cofferdam plugin add oci://", "--as text --update"]);
    add(&project, &registry, &["--update"]).expect(0);
    run(&project, &["--locked"]).expect(0);
}

#[test]
fn a_registry_that_gives_other_bytes_is_found_out() {
    let registry = Registry::start();
    let project = elsewhere(project(&registry));
    let pinned = push(&project, &registry, "text.wasm").stdout.trim().to_owned();
    for (fault, texts) in [
        (Fault::OtherBlob, ["another component", "nothing was kept"]),
        (Fault::OtherHeader, ["another manifest", "nothing was kept"]),
        (Fault::Truncated, ["cannot be used", "127.0.0.1"]),
        (Fault::Endless, ["gives more than", "its manifest says"]),
        (Fault::HugeManifest, ["the manifest is larger than", "4194304"]),
    ] {
        registry.fault(fault);
        let code = if fault == Fault::Truncated { 1 } else { 2 };
        add(&project, &registry, &[]).expect(code).says(&texts);
    }
    registry.fault(Fault::OtherManifest);
    project.run(&["plugin", "add", &pinned]).expect(2).says(&["another manifest"]);
    registry.fault(Fault::Stalls);
    add(&project, &registry, &["--timeout", "500ms"]).expect(1).says(&["within 500ms", "--timeout"]);
    for file in ["cofferdam.toml", "cofferdam.lock", "other-cache/cofferdam/fetched"] {
        assert!(!project.path(file).exists(), "{file}");
    }
}

#[test]
fn a_registry_that_refuses_is_quoted_and_the_code_says_what_to_do() {
    let registry = Registry::start();
    let project = project(&registry);
    push(&project, &registry, "text.wasm");
    for (status, texts) in [
        (404, ["has no `acme/text` at 1.0.0", "look at the spelling"]),
        (403, ["wants to know who asks", "--username"]),
        (429, ["too many requests", "try again in 7 s"]),
        (500, ["failed to give the manifest (500)", "try again later"]),
        (503, ["failed to give the manifest (503)", "come back"]),
    ] {
        registry.fault(Fault::Status(status));
        let outcome = add(&project, &registry, &[]).expect(1).says(&texts);
        assert!(!outcome.stderr.contains('\u{1b}'), "{}", outcome.stderr);
        let reference = registry.reference("acme/text:2");
        project.run(&["plugin", "push", "text.wasm", &reference]).expect(1);
    }
    let mut registry = registry;
    registry.stop();
    add(&project, &registry, &[]).expect(1).says(&["cannot connect to", "look at the host"]);
}

#[test]
fn who_asks_is_said_by_flag_variable_or_docker_and_never_shown() {
    const AUTHS: &str = r#"{"auths": {"127.0.0.1:PORT": {"auth": "YW5uOmNhbmFyeS1wYXNz"}}}"#;
    const HELPER: &str = r#"{"auths": {}, "credHelpers": {"127.0.0.1:PORT": "vault"}}"#;
    for gate in [Gate::Basic, Gate::Token] {
        let registry = Registry::start();
        registry.gate(gate);
        let project = project(&registry);
        let reference = registry.reference("acme/text:1.0.0");
        let args = ["plugin", "push", "text.wasm", &reference, "-vv"];
        let mut said = Vec::new();
        said.push(project.run(&args).expect(1).says(&["wants to know who asks", "--password-stdin"]));
        let with_name = [&args[..], &["--username", "ann", "--password-stdin"]].concat();
        registry.fault(Fault::Echo);
        said.push(project.run_reading(&with_name, "canary-wrong\n").expect(1).says(&["refuses (401)"]));
        registry.fault(Fault::None);
        said.push(project.run_reading(&with_name, "canary-pass\n").expect(0));
        said.push(project.run_reading(&with_name, "").expect(3).says(&["standard input is empty"]));
        said.push(project.run(&[&args[..], &["--username", "ann"]].concat()).expect(3).says(&["no password"]));
        let docker = |text: &str| text.replace("PORT", &registry.port.to_string());
        project.file("home/.docker/config.json", docker(HELPER));
        said.push(add(&project, &registry, &[]).expect(1).says(&["docker-credential-vault", "not run"]));
        project.file("home/.docker/config.json", "{\"auths\": {\"x\": {\"auth\": 7canary}}}");
        said.push(add(&project, &registry, &[]).expect(1).says(&["config.json", "not docker's configuration"]));
        project.file("home/.docker/config.json", docker(AUTHS));
        said.push(add(&project, &registry, &["-vv"]).expect(0));
        let project = project.variable("DOCKER_CONFIG", "/nowhere");
        let project = project
            .variable("COFFERDAM_REGISTRY_USERNAME", "ann")
            .variable("COFFERDAM_REGISTRY_PASSWORD", "canary-pass");
        said.push(add(&project, &registry, &["--update", "-vv"]).expect(0));
        // A document names registries, too: what is in the environment is not for those.
        said.push(project.run(&["plugin", "lock", "flow.yaml", "--update"]).expect(1).says(&["who asks"]));
        for outcome in said {
            for text in [&outcome.stdout, &outcome.stderr] {
                assert!(!text.contains("canary") && !text.contains("YW5uOmNhbmFyeS1"), "{text}");
            }
        }
        for file in ["cofferdam.toml", "cofferdam.lock"] {
            assert!(!project.read(file).contains("canary"));
        }
    }
}

#[test]
fn a_public_registry_gives_everybody_a_token_to_read() {
    let registry = Registry::start();
    let project = project(&registry);
    push(&project, &registry, "text.wasm");
    registry.gate(Gate::PublicToken);
    add(&project, &registry, &[]).expect(0);
    let reference = registry.reference("acme/text:2");
    project.run(&["plugin", "push", "text.wasm", &reference]).expect(1).says(&["wants to know who asks"]);
}

#[test]
fn a_blob_elsewhere_is_fetched_without_the_key() {
    let (registry, cdn) = (Registry::start(), Registry::start());
    let project = project(&registry);
    registry.gate(Gate::Token);
    let project =
        project.variable("COFFERDAM_REGISTRY_USERNAME", "ann").variable("COFFERDAM_REGISTRY_PASSWORD", "canary-pass");
    push(&project, &registry, "text.wasm");
    cdn.copy_blobs(&registry);
    registry.fault(Fault::BlobsAt(cdn.port));
    add(&project, &registry, &[]).expect(0);
    let seen = cdn.seen();
    assert_eq!(seen.len(), 1, "{seen:?}");
    assert!(!seen[0].contains("authorization") && !seen[0].contains("canary"), "{seen:?}");
    assert!(registry.seen().iter().any(|request| request.contains("canary-token")));
    // An upload carries what is uploaded and the key: it stays where it was asked for.
    registry.fault(Fault::UploadsAt(cdn.port));
    project.file("again.wasm", rebuilt());
    let reference = registry.reference("acme/text:2");
    project.run(&["plugin", "push", "again.wasm", &reference]).expect(2).says(&["leads the upload to another host"]);
    assert!(cdn.seen().is_empty());
}

#[test]
fn a_place_that_blobs_are_led_to_gets_no_password_by_naming_a_token_server() {
    for gate in [Gate::Token, Gate::Basic] {
        let (registry, cdn) = (Registry::start(), Registry::start());
        let project = project(&registry);
        let project = project
            .variable("COFFERDAM_REGISTRY_USERNAME", "ann")
            .variable("COFFERDAM_REGISTRY_PASSWORD", "canary-pass");
        push(&project, &registry, "text.wasm");
        cdn.copy_blobs(&registry);
        cdn.gate(gate);
        registry.fault(Fault::BlobsAt(cdn.port));
        add(&project, &registry, &[]).says(&["no key goes there"]);
        let seen = cdn.seen();
        assert_eq!(seen.len(), 1, "{seen:?}");
        assert!(!seen[0].contains("authorization"), "{seen:?}");
    }
}

#[test]
fn what_names_nothing_is_answered_with_what_to_write() {
    let registry = Registry::start();
    let project = project(&registry);
    for (text, hint) in [
        ("oci:127.0.0.1/a:1", "`oci://127.0.0.1/a:1`"),
        ("oci://acme/text:1", "host comes first"),
        ("oci://ghcr.io/acme/text", ":1.0.0`"),
        ("oci://ghcr.io/Acme/text:1", "`acme/text`"),
        ("oci://ghcr.io/acme/text@sha256:1", "64 hexadecimal"),
        ("oci://ghcr.io/acme/text:1.0+x", "`1.0_x`"),
    ] {
        project.run(&["plugin", "add", text]).expect(3).says(&[hint]);
        project.run(&["plugin", "push", "text.wasm", text]).expect(3).says(&[hint]);
        document(&project, text);
        project.run(&["validate", "flow.yaml"]).expect(2).says(&["W070", "flow.yaml:2", hint]);
    }
    let pinned = format!("oci://ghcr.io/acme/text@{}", digest(b"x"));
    project.run(&["plugin", "push", "text.wasm", &pinned]).expect(3).says(&["not where it goes", "name a tag"]);
    let reference = registry.reference("acme/text:1");
    project.run(&["plugin", "add", &reference, "--timeout", "soon"]).expect(3).says(&["`30s`"]);
    assert!(registry.seen().is_empty());
}

#[test]
fn what_is_no_component_is_neither_pushed_nor_added() {
    const IMAGE: &str = "application/vnd.oci.image.manifest.v1+json";
    let registry = Registry::start();
    let project = project(&registry);
    let reference = registry.reference("acme/text:1.0.0");
    project.file("no.wasm", "not wasm").file("module.wasm", b"\0asm\x01\0\0\0");
    for file in ["no.wasm", "module.wasm"] {
        project.run(&["plugin", "push", file, &reference]).expect(2).says(&["does not pass `plugin check`"]);
    }
    project.run(&["plugin", "push", "absent.wasm", &reference]).expect(3).says(&["no file `absent.wasm`"]);
    assert!(registry.seen().is_empty());
    let blob = format!(
        "{{\"mediaType\": \"application/vnd.oci.image.config.v1+json\", \"digest\": \"{}\", \"size\": 1}}",
        digest(b"x")
    );
    let image = format!("{{\"schemaVersion\": 2, \"config\": {blob}, \"layers\": [{blob}]}}");
    for (text, said) in [
        (image.as_str(), "application/vnd.oci.image.config.v1+json"),
        ("{\"manifests\": [{\"digest\": \"sha256:abc\"}]}", "a list of artifacts"),
        ("<html>", "not JSON"),
        ("[1]", "not one of the OCI image specification"),
    ] {
        registry.put_manifest("acme/text:1.0.0", IMAGE, text);
        add(&project, &registry, &[]).expect(2).says(&["no WebAssembly component", said]);
    }
    assert!(!project.path("cofferdam.toml").exists());
}

#[test]
fn tls_is_the_rule_and_plain_http_is_asked_for() {
    let registry = Registry::start();
    let project = project(&registry);
    push(&project, &registry, "text.wasm");
    let table = |on: bool| format!("[registries.\"127.0.0.1:{}\"]\nplain_http = {on}\n", registry.port);
    project.file("cofferdam.toml", table(false));
    registry.seen();
    add(&project, &registry, &[]).expect(1).says(&["127.0.0.1", "--insecure-http"]);
    add(&project, &registry, &["--insecure-http"]).expect(0);
    project.file("cofferdam.toml", table(true));
    add(&project, &registry, &["--update"]).expect(0);
    project.file("cofferdam.toml", "[registries.\"127.0.0.1\"]\npassword = \"canary\"\n");
    let outcome = add(&project, &registry, &[]).expect(3).says(&["unknown setting `password`"]);
    assert!(!outcome.stderr.contains("canary"));
}

/// The commands of a section of a page: those behind `$ `, or in a block of text.
fn commands(page: &str, section: &str) -> Vec<String> {
    let text = fs::read_to_string(repository().join(page)).unwrap();
    let (_, rest) = text.split_once(&format!("\n## {section}\n")).unwrap();
    let lines = rest.split("\n## ").next().unwrap().lines();
    let lines = lines.map(|line| line.strip_prefix("$ ").unwrap_or(line));
    lines.filter(|line| line.starts_with("cofferdam plugin ")).map(str::to_owned).collect()
}

#[test]
fn the_pages_about_sharing_are_true() {
    for (page, section) in [("sdk/README.md", "Sharing a plugin"), ("host/docs/plugins.md", "Plugins from registries")]
    {
        let registry = Registry::start();
        let project = project(&registry);
        document(&project, &registry.reference("acme/github-tools:1.4.2"));
        fs::rename(project.path("flow.yaml"), project.path("review.yaml")).unwrap();
        for file in ["target/wasm32-wasip2/release/acme_text.wasm", "github.wasm"] {
            project.file(file, component());
        }
        let mut commands = commands(page, section);
        assert!(commands.len() >= 2, "{page}: {commands:?}");
        // A page may say first how something is used, and then how it came there.
        commands.sort_by_key(|command| !command.starts_with("cofferdam plugin push"));
        for command in commands {
            let command = command.replace("ghcr.io", &format!("127.0.0.1:{}", registry.port));
            let args: Vec<&str> = command.split_whitespace().skip(1).collect();
            project.run(&args).expect(0);
        }
        assert!(project.read("cofferdam.toml").contains("[plugins."));
    }
}
