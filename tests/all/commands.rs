//! The tool `exec`: off unless a rule names it, in the step's directory, confined, and gone when its call is.

use crate::support::Project;
use rustix::process::Signal;
use serde_json::{Value, json};
use std::net::TcpListener;
use std::path::Path;
use std::time::{Duration, Instant};

/// A project whose document runs one command.
fn project(command: &str) -> Project {
    let project = Project::new();
    let step = json!({ "id": "a", "tool": "exec", "args": { "command": command, "timeout_s": 30 } });
    project.file("w.yaml", json!({ "name": "w", "steps": [step], "output": "steps.a.result" }).to_string());
    project
}

/// What came of a command.
fn ran(project: &Project) -> Value {
    let said = project.run(&["run", "w.yaml", "--allow", "exec"]).expect(0);
    serde_json::from_str(&said.stdout).unwrap_or_else(|error| panic!("{error}: {}", said.stdout))
}

fn outcome(command: &str) -> Value {
    ran(&project(command))
}

#[test]
fn commands_are_run_only_where_a_rule_says_so() {
    let project = project("echo hello");
    for flags in [&[][..], &["--allow", "write"], &["--sandbox"], &["--sandbox", "--allow", "exec"]] {
        let refused = project.run(&[&["run", "w.yaml"], flags].concat()).expect(2);
        assert!(refused.stderr.contains("`--allow exec`"), "{flags:?}: {}", refused.stderr);
    }
    for flags in [&["--allow", "exec"][..], &["--allow", "exec(echo *)"], &["--yolo"]] {
        let said = project.run(&[&["run", "w.yaml"], flags].concat()).expect(0);
        assert!(said.stdout.contains("hello"), "{flags:?}: {}", said.stdout);
    }
    project.run(&["run", "w.yaml", "--allow", "exec", "--deny", "exec(echo *)"]).expect(1);
}

#[test]
fn a_command_gives_its_code_and_what_it_wrote() {
    let found = outcome("echo out; echo err >&2; exit 3");
    assert_eq!(
        (&found["exit_code"], &found["stdout"], &found["stderr"]),
        (&json!(3), &json!("out\n"), &json!("err\n"))
    );
    assert_eq!((&found["truncated"], &found["timed_out"]), (&json!(false), &json!(false)));
    assert_eq!(outcome("kill -9 $$")["exit_code"], 137);
    let long = outcome("echo begin; yes | head -c 3000000; echo the end");
    let text = long["stdout"].as_str().unwrap();
    assert!(text.starts_with("begin\n") && text.ends_with("the end\n") && text.len() < 40_000, "{}", text.len());
    assert_eq!(long["truncated"], true);
    let unread = outcome("cat; echo read");
    assert_eq!(unread["stdout"], "read\n", "there is no input");
}

#[test]
fn a_command_sees_its_directories_and_no_variable_that_is_not_its_own() {
    let project = project("pwd; ls; echo x > made; echo y > $OUT/result; echo z > $TMPDIR/t && cat $TMPDIR/t; env");
    let project = project.variable("SECRET_KEY", "hunter2");
    project.file("given.txt", "given");
    let found = ran(&project);
    let text = found["stdout"].as_str().unwrap();
    let here = project.path("").canonicalize().unwrap();
    assert!(text.starts_with(&format!("{}\n", here.display())) && text.contains("given.txt\n"), "{text}");
    assert!(text.contains("z\n") && !text.contains("hunter2"), "{text}");
    assert_eq!(project.read("made"), "x\n");
    let temporary = text.lines().find_map(|line| line.strip_prefix("TMPDIR=")).unwrap();
    assert!(!Path::new(temporary).exists(), "{temporary} stays");
}

#[test]
fn the_temporary_directory_goes_whatever_is_in_it() {
    let found = outcome("mkdir -p $TMPDIR/a/b && touch $TMPDIR/a/b/c && chmod 0 $TMPDIR/a/b $TMPDIR/a && echo $TMPDIR");
    assert!(!Path::new(found["stdout"].as_str().unwrap().trim()).exists());
}

/// A project with two commands, one after the other.
fn two(first: &str, second: &str) -> Project {
    let project = Project::new();
    let step = |id: &str, command: &str, after: Value| json!({ "id": id, "dependsOn": after, "tool": "exec", "args": { "command": command } });
    let steps = [step("a", first, json!([])), step("b", second, json!(["a"]))];
    project.file("w.yaml", json!({ "name": "w", "steps": steps, "output": "steps.b.result" }).to_string());
    project
}

#[test]
fn a_command_cannot_make_the_next_one_reach_further() {
    let outside = tempfile::TempDir::new().unwrap();
    std::fs::write(outside.path().join("secret"), "hunter2").unwrap();
    let secret = outside.path().display();
    let second = format!("cat {secret}/secret; echo x > {secret}/new");
    let tricks = [
        format!("rmdir $OUT; ln -s {secret} \"$OUT (deleted)\""),
        format!("mv bin old; ln -s {secret} bin"),
        format!("rm -r build; ln -s {secret} build"),
    ];
    for trick in tricks {
        let project = two(&trick, &second);
        project.file("bin/x", "").file("build/x", "");
        let here = project.path("").canonicalize().unwrap();
        let (search, settings) = (
            format!("{}/bin:/usr/bin:/bin", here.display()),
            format!("[exec]\nwrite = [\"{}/build\"]\n", here.display()),
        );
        project.file("cofferdam.toml", settings);
        let found = ran(&project.variable("PATH", &search));
        if found["confined"] == true {
            assert_eq!(found["stdout"], "", "{trick}");
            assert!(!outside.path().join("new").exists(), "{trick}");
        }
    }
}

#[test]
fn what_was_written_is_kept_when_somebody_holds_the_pipe() {
    let found = outcome("echo before; setsid sh -c 'touch left; sleep 5' & until [ -e left ]; do :; done; echo after");
    assert_eq!(
        (&found["stdout"], &found["truncated"], &found["exit_code"]),
        (&json!("before\nafter\n"), &json!(true), &json!(0))
    );
}

/// The kernel's version: signals are confined from 6.12, TCP from 6.7.
fn kernel() -> (u32, u32) {
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let mut parts = release.split(['.', '-']).map(|part| part.trim().parse().unwrap_or(0));
    (parts.next().unwrap_or(0), parts.next().unwrap_or(0))
}

#[test]
fn a_command_is_confined() {
    let outside = tempfile::TempDir::new().unwrap();
    std::fs::write(outside.path().join("secret"), "hunter2").unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let (secret, own) = (outside.path().display(), std::process::id());
    let mut probes = vec![
        format!("cat {secret}/secret && echo LEAK"),
        format!("echo x > {secret}/new && echo LEAK"),
        format!("ls {secret} && echo LEAK"),
        format!("ln {secret}/secret link && cat link && echo LEAK"),
        format!("cat /proc/{own}/environ && echo LEAK"),
        format!("cat /proc/{own}/cmdline && echo LEAK"),
        format!("sh -c 'cat {secret}/secret' && echo LEAK"),
    ];
    if kernel() >= (6, 12) {
        probes.push(format!("kill -0 {own} && echo LEAK"));
        probes.push(format!("bash -c 'exec 3<>/dev/tcp/127.0.0.1/{port}' && echo LEAK"));
    }
    let probes: Vec<String> = probes.into_iter().map(|probe| format!("({probe}) 2>/dev/null")).collect();
    let found = outcome(&probes.join("; "));
    if found["confined"] == false {
        // What the kernel cannot, the result says.
        return;
    }
    let text = found["stdout"].as_str().unwrap();
    assert!(!text.contains("LEAK") && !text.contains("hunter2"), "{text}");
    assert!(!outside.path().join("new").exists());
    assert_eq!(outcome("echo x > /dev/null && ls /usr > /dev/null && echo fine")["stdout"], "fine\n");
}

#[test]
fn what_commands_may_reach_is_set() {
    let outside = tempfile::TempDir::new().unwrap();
    std::fs::write(outside.path().join("given"), "given\n").unwrap();
    let place = outside.path().display();
    let project = project(&format!("cat {place}/given; echo x > {place}/new || echo closed; echo $MINE"));
    let project = project.variable("MINE", "mine");
    project.file("cofferdam.toml", format!("[exec]\nread = [\"{place}\"]\nenv = [\"MINE\"]\n"));
    assert_eq!(ran(&project)["stdout"], "given\nclosed\nmine\n");
    project.file("cofferdam.toml", format!("[exec]\nwrite = [\"{place}\"]\n"));
    assert_eq!(ran(&project)["stdout"], "given\n\n");
    for (table, says) in
        [("[exec]\nreed = []", "reed"), ("[exec]\nread = [\"a\"]", "absolute"), ("[exec]\nread = 1", "list")]
    {
        project.file("cofferdam.toml", table);
        let refused = project.run(&["run", "w.yaml", "--allow", "exec"]).expect(3);
        assert!(refused.stderr.contains(says), "{table}: {}", refused.stderr);
    }
}

/// The session of a process.
fn session(pid: &str) -> String {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", pid.trim())).unwrap();
    stat.rsplit_once(") ").unwrap().1.split(' ').nth(3).unwrap().to_owned()
}

/// Whether a process is there that still runs.
fn runs(pid: &str) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", pid.trim())).unwrap_or_default();
    let state = stat.rsplit_once(") ").and_then(|(_, rest)| rest.chars().next());
    !matches!(state, None | Some('Z' | 'X'))
}

/// Waits until a process has gone.
fn is_gone(pid: &str) -> bool {
    let until = Instant::now() + Duration::from_secs(10);
    while runs(pid) && Instant::now() < until {
        std::thread::yield_now();
    }
    !runs(pid)
}

#[test]
fn what_a_command_leaves_running_ends_with_it() {
    let project = project("sleep 1000 & echo $! > pid; echo done");
    assert_eq!(ran(&project)["stdout"], "done\n");
    assert!(is_gone(&project.read("pid")));
}

#[test]
fn a_command_that_takes_too_long_is_killed_with_its_group() {
    let project = Project::new();
    let args = json!({ "command": "echo begun; sleep 1000 & echo $! > pid; sleep 1000", "timeout_s": 1 });
    let step = json!({ "id": "a", "tool": "exec", "args": args });
    project.file("w.yaml", json!({ "name": "w", "steps": [step], "output": "steps.a.result" }).to_string());
    let found = ran(&project);
    let seen = (&found["exit_code"], &found["timed_out"], &found["stdout"]);
    assert_eq!(seen, (&Value::Null, &json!(true), &json!("begun\n")));
    assert!(is_gone(&project.read("pid")));
}

#[test]
fn a_command_ends_with_the_run_that_is_interrupted_or_killed() {
    for (signal, code) in [(Signal::INT, Some(130)), (Signal::KILL, None)] {
        let project = project("sleep 1000 & echo $! > pid.new; mv pid.new pid; sleep 1000");
        let running = project.start(&["run", "w.yaml", "--allow", "exec"]);
        let until = Instant::now() + Duration::from_secs(30);
        while !project.path("pid").exists() && Instant::now() < until {
            std::thread::yield_now();
        }
        let pid = project.read("pid");
        // It has no terminal to type at: its session is its own.
        assert_ne!(session(&pid), session("self"));
        running.signal(signal);
        assert_eq!(running.wait().code, code);
        assert!(is_gone(&pid), "after {signal:?}");
    }
}
