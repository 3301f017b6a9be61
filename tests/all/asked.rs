//! Who answers for calls that no rule decides, over random runs: held against a walk that knows of no gateway. What was answered
//! before comes first, then the program, then a person; nobody is a no.

use crate::crash::chances;
use crate::permissions::{Person, Said, decided_by};
use crate::support::user_directory;
use cofferdam::core::id::ToolName;
use cofferdam::core::permission::{Origin, Outcome, Request, Rule, Rules, Stance, decide};
use cofferdam::core::port::{Answer, Effects};
use cofferdam::{Orchestrator, PermissionAnswer, PermissionRequest, UserDirs};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::sync::Arc;
use tempfile::TempDir;

const WRITER: &str = "name: w\nsteps: [{ id: a, instructions: Write. }]";

/// A call of a model: what it writes, and where.
type Call = (&'static str, Value);

/// What is so in one run of a project.
struct Life {
    rules: Rules,
    calls: Vec<Call>,
    /// What the program says about writing to each of two places: yes, no, or that a person is asked; none = no program.
    program: Option<[PermissionAnswer; 2]>,
    /// What a person says, one answer after another; none = nobody is there.
    person: Option<Vec<Answer>>,
}

/// A life by chance.
fn life(chance: &mut impl FnMut(u64) -> u64) -> Life {
    let mut pick = |from: &[&str]| -> Vec<Rule> {
        let some = from.iter().filter(|_| chance(10) == 0);
        some.map(|rule| Rule::parse(rule).unwrap()).collect()
    };
    let texts = ["write", "edit", "write(path=out:a)", "*"];
    let (deny, allow, ask) = (pick(&texts[..3]), pick(&texts[..3]), pick(&texts));
    let stances = [Stance::Ask, Stance::Ask, Stance::Ask, Stance::Strict, Stance::Sandbox];
    let stance = stances[usize::try_from(chance(5)).unwrap()];
    let call = |number| match number {
        0 => ("write", json!({ "path": "out:a", "content": "x" })),
        1 => ("write", json!({ "content": "x", "path": "out:b" })),
        _ => ("edit", json!({ "path": "out:a", "old": "x", "new": "x x" })),
    };
    let calls = (0..2 + chance(3)).map(|_| call(chance(3))).collect();
    let says = |number| match number {
        0 => PermissionAnswer::Allow,
        1 => PermissionAnswer::Deny("no".to_owned()),
        _ => PermissionAnswer::Ask,
    };
    let program = (chance(4) == 0).then(|| [says(chance(4)), says(chance(4))]);
    let answer = |number| match number {
        0 | 4 => Answer::Always,
        1 => Answer::No(None),
        2 => Answer::Nobody,
        _ => Answer::Yes,
    };
    let person = (chance(4) > 0).then(|| (0..10).map(|_| answer(chance(5))).collect());
    Life { rules: Rules { deny, allow, ask, stance }, calls, program, person }
}

fn place(args: &Value) -> usize {
    usize::from(args["path"] == "out:b")
}

/// Which calls run, and how often a person is asked. What is allowed for good stays so in the next life.
fn walk(life: &Life, for_good: &mut BTreeSet<&'static str>) -> (Vec<bool>, usize) {
    let (mut denied, mut asked, mut ran) = (Vec::new(), 0, Vec::new());
    for call in &life.calls {
        let (tool, args) = (ToolName::parse(call.0).unwrap(), &call.1);
        let effects = Effects { stays_within: true, ..Effects::default() };
        let request = Request { tool: &tool, args, effects, origin: Origin::Model };
        let outcome = decide(&request, &life.rules).outcome;
        let lasting = outcome == Outcome::Undecided;
        let program = life.program.as_ref().map(|program| &program[place(args)]);
        ran.push(match (outcome, program, &life.person) {
            (Outcome::Allow, ..) => true,
            (Outcome::Deny, ..) => false,
            _ if denied.contains(call) => false,
            _ if lasting && for_good.contains(call.0) => true,
            (_, Some(PermissionAnswer::Allow), _) => true,
            (_, Some(PermissionAnswer::Deny(_)), _) | (_, _, None) => false,
            (.., Some(answers)) => {
                let answer = &answers[asked];
                asked += 1;
                for_good.extend((lasting && *answer == Answer::Always).then_some(call.0));
                let kept = matches!(answer, Answer::No(_)) || lasting && *answer == Answer::Nobody;
                denied.extend(kept.then(|| call.clone()));
                matches!(answer, Answer::Yes | Answer::Always)
            }
        });
    }
    (ran, asked)
}

/// The same as a run; where the project and the user are.
fn live(life: &Life, project: &TempDir, user: &TempDir) -> (Vec<bool>, usize) {
    let mut script = "answers:\n".to_owned();
    for (turn, (tool, args)) in life.calls.iter().enumerate() {
        writeln!(script, "  - {{ turn: {}, toolCalls: [{{ tool: {tool}, args: {args} }}] }}", turn + 1).unwrap();
    }
    script.push_str("default: { text: done }\n");
    let dirs = UserDirs { cache: user_directory().join("cache/cofferdam"), state: user.path().into() };
    let mut builder = Orchestrator::builder().project(project.path().join(".cofferdam")).user_dirs(dirs);
    builder = builder.permissions(life.rules.clone());
    if let Some(program) = life.program.clone() {
        builder = builder.permission_handler(move |request: &PermissionRequest| program[place(&request.args)].clone());
    }
    let person = life.person.clone().map(|answers| Person::new(answers.into_iter().map(Said::This)));
    if let Some(person) = &person {
        builder = builder.approval(Arc::clone(person) as _, None);
    }
    let decided = decided_by(builder, WRITER, &script);
    (decided.iter().map(|(_, ran, _)| *ran).collect(), person.map_or(0, |person| person.asked()))
}

#[test]
fn who_answers_for_a_call_is_as_the_page_for_users_says() {
    let mut chance = chances();
    let (mut asked, mut remembered) = (0, 0);
    for number in 0..40 {
        let (project, user) = (TempDir::new().unwrap(), TempDir::new().unwrap());
        let mut for_good = BTreeSet::new();
        // A project in the hands of one user, three times.
        for turn in 0..3 {
            let life = life(&mut chance);
            let before = for_good.len();
            let wanted = walk(&life, &mut for_good);
            let shown = || {
                let Life { rules, calls, program, person } = &life;
                format!("project {number}, run {turn}: {rules:?} {calls:?} {program:?} {person:?}")
            };
            assert_eq!(live(&life, &project, &user), wanted, "{}", shown());
            (asked, remembered) = (asked + wanted.1, remembered + before);
        }
    }
    assert!(asked > 60 && remembered > 10, "{asked} questions, {remembered} remembered");
}
