//! Command lines that go on with a run, as they are printed for a person to type.
//!
//! They repeat what the run was allowed: nothing of that is recorded, and without it the run would not get as far again.

use crate::args::GrantArgs;
use cofferdam::core::id::RunId;
use cofferdam::{OpenApproval, OpenQuestion};

/// Most questions that are answered in one line.
const ANSWERS: usize = 8;

/// What goes on with a run; with the answers that it waits for.
pub(crate) fn resume(run: &RunId, questions: &[OpenQuestion], grants: &GrantArgs) -> String {
    let answers = questions.iter().take(ANSWERS);
    let answers = answers.map(|open| format!(" --answer {}=...", in_shell(open.step.as_str()))).collect::<String>();
    format!("cofferdam resume {run}{}{answers}", flags(grants, "--deny"))
}

/// What allows a call that a run waits with. It names the call, so that it cannot be about another one that comes to wait later.
pub(crate) fn approve(run: &RunId, open: &OpenApproval, grants: &GrantArgs) -> String {
    let (step, call) = (in_shell(open.step.as_str()), in_shell(&open.call));
    format!("cofferdam approve {run} {step} --call {call}{}", flags(grants, "--deny-tool"))
}

/// The flags of permissions, each with a space before it; `deny` is what the command calls the rule of that name.
fn flags(grants: &GrantArgs, deny: &str) -> String {
    let GrantArgs { grant, allow_mcp, grant_requested, locked, strict, sandbox, yolo, allow, ask, deny: denied } =
        grants;
    let valued = [("--grant", grant), ("--allow-mcp", allow_mcp), ("--allow", allow), ("--ask", ask), (deny, denied)];
    let single = [
        ("--grant-requested", *grant_requested),
        ("--locked", *locked),
        ("--strict", *strict),
        ("--sandbox", *sandbox),
        ("--yolo", *yolo),
    ];
    let single = single.into_iter().filter(|(_, is_set)| *is_set).map(|(flag, _)| format!(" {flag}"));
    let each = |(flag, values): (&str, &Vec<String>)| {
        values.iter().map(|value| format!(" {flag} {}", in_shell(value))).collect::<String>()
    };
    single.chain(valued.into_iter().map(each)).collect()
}

/// A word as a shell takes it.
fn in_shell(word: &str) -> String {
    let plain = |letter: char| letter.is_alphanumeric() || matches!(letter, '_' | '-' | '.' | '/');
    let is_plain = !word.is_empty() && word.chars().all(plain);
    if is_plain { word.to_owned() } else { format!("'{}'", word.replace('\'', "'\\''")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_run_was_allowed_is_repeated_as_a_shell_takes_it() {
        let run = RunId::parse("r1").unwrap();
        assert_eq!(resume(&run, &[], &GrantArgs::default()), "cofferdam resume r1");
        let grants = GrantArgs {
            grant: vec!["scan:fs=read".into()],
            allow_mcp: vec!["files".into()],
            grant_requested: true,
            locked: true,
            strict: true,
            sandbox: true,
            yolo: true,
            allow: vec!["exec(it's*)".into(), "write".into()],
            ask: vec!["github.*".into()],
            deny: vec!["edit".into()],
        };
        assert_eq!(
            resume(&run, &[], &grants),
            "cofferdam resume r1 --grant-requested --locked --strict --sandbox --yolo --grant 'scan:fs=read' --allow-mcp files \
             --allow 'exec(it'\\''s*)' --allow write --ask 'github.*' --deny edit"
        );
        assert!(flags(&grants, "--deny-tool").ends_with(" --deny-tool edit"));
    }
}
