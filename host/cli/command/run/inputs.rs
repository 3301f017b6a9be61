//! Inputs and answers as they are typed: `--input k=v`, `--input k=@file`, `--inputs file.json`, `--answer step=v`, and
//! text after the document.

use crate::args::InputArgs;
use crate::failure::Failure;
use crate::terminal;
use crate::ui::paint;
use cofferdam::InputText;
use cofferdam::core::limits;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;
use std::path::Path;
use std::time::Duration;

/// The text after the document; `-` reads standard input.
pub(super) fn text(given: Option<&str>) -> Result<Option<String>, Failure> {
    match given {
        Some("-") => read(std::io::stdin().lock(), "standard input").map(Some),
        other => Ok(other.map(str::to_owned)),
    }
}

/// What is piped in, or read from a file; none at a terminal, and where standard input is a device.
pub(in crate::command) fn piped() -> Result<Option<String>, Failure> {
    use rustix::fs::FileType;
    use std::os::fd::AsFd as _;
    let stdin = std::io::stdin();
    // Closed, or a device: there is nothing that somebody meant to say.
    let Ok(kind) = rustix::fs::fstat(stdin.as_fd()).map(|stat| FileType::from_raw_mode(stat.st_mode)) else {
        return Ok(None);
    };
    match kind {
        FileType::Fifo | FileType::RegularFile | FileType::Socket => read_patiently().map(Some),
        _ => Ok(None),
    }
}

/// After this time whoever waits is told what for.
const SILENCE: Duration = Duration::from_secs(2);

/// Reads standard input to its end; where that takes a while, it is said.
fn read_patiently() -> Result<String, Failure> {
    let (done, outcome) = std::sync::mpsc::channel();
    std::thread::spawn(move || done.send(read(std::io::stdin().lock(), "standard input")));
    let first = outcome.recv_timeout(SILENCE).or_else(|_| {
        terminal::tell(&paint::quiet("reading standard input to its end"));
        outcome.recv()
    });
    first.unwrap_or_else(|_| Err(Failure::usage("standard input cannot be read")))
}

/// A text, or with `@` that of a file; `@@` begins a text with the sign.
pub(in crate::command) fn text_or_file(given: &str) -> Result<String, Failure> {
    match given.strip_prefix('@') {
        Some(text) if text.starts_with('@') => Ok(text.to_owned()),
        Some(path) => file(Path::new(path)).map_err(|failure| {
            failure.with_hint(format!("`@` takes the value from a file; `@@{path}` is the text `@{path}`"))
        }),
        None => Ok(given.to_owned()),
    }
}

/// Inputs by name; what is typed comes after the file, and so beats it.
pub(in crate::command) fn named(args: &InputArgs) -> Result<Vec<(String, InputText)>, Failure> {
    let mut inputs = match &args.file {
        Some(path) => of_file(path)?,
        None => Vec::new(),
    };
    let mut typed = BTreeSet::new();
    for text in &args.each {
        let (name, value) = pair("--input", text)?;
        if !typed.insert(name.clone()) {
            return Err(Failure::usage(format!("the input `{name}` is given twice"))
                .with_hint(format!("give `--input {name}=VALUE` once")));
        }
        inputs.push((name, value));
    }
    Ok(inputs)
}

/// Answers to the questions of steps.
pub(in crate::command) fn answers(given: &[String]) -> Result<BTreeMap<String, InputText>, Failure> {
    let mut answers = BTreeMap::new();
    for text in given {
        let (step, answer) = pair("--answer", text)?;
        if answers.contains_key(&step) {
            return Err(Failure::usage(format!("the question of `{step}` is answered twice"))
                .with_hint(format!("give `--answer {step}=VALUE` once")));
        }
        answers.insert(step, answer);
    }
    Ok(answers)
}

fn pair(flag: &str, text: &str) -> Result<(String, InputText), Failure> {
    let Some((name, value)) = text.split_once('=') else {
        return Err(
            Failure::usage(format!("`{flag} {text}` has no value")).with_hint(format!("write `{flag} {text}=VALUE`"))
        );
    };
    Ok((name.to_owned(), InputText::Text(text_or_file(value)?)))
}

fn of_file(path: &Path) -> Result<Vec<(String, InputText)>, Failure> {
    let text = file(path)?;
    let value = cofferdam::core::value::parse(&text)
        .map_err(|error| Failure::usage(format!("the inputs in `{}` cannot be read: {error}", terminal::name(path))))?;
    match value {
        Value::Object(map) => Ok(map.into_iter().map(|(name, value)| (name, InputText::Value(value))).collect()),
        _ => Err(Failure::usage(format!("the inputs in `{}` are no JSON object", terminal::name(path)))
            .with_hint("write `{\"name\": value}`")),
    }
}

/// The text of a file.
pub(in crate::command) fn file(path: &Path) -> Result<String, Failure> {
    let shown = format!("`{}`", terminal::name(path));
    let refuse = |error: std::io::Error| Failure::usage(format!("{shown} cannot be read: {error}"));
    // Asked before it is opened: opening a pipe waits for somebody to write into it.
    if !std::fs::metadata(path).map_err(refuse)?.is_file() {
        return Err(Failure::usage(format!("{shown} is not a regular file")));
    }
    let file = std::fs::File::open(path).map_err(refuse)?;
    read(file, &shown)
}

fn read(from: impl Read, shown: &str) -> Result<String, Failure> {
    let mut text = String::new();
    let count = from
        .take(limits::INPUT_BYTES as u64 + 1)
        .read_to_string(&mut text)
        .map_err(|error| Failure::usage(format!("{shown} cannot be read: {error}")))?;
    if count > limits::INPUT_BYTES {
        return Err(Failure::usage(format!("{shown} has more than {} MiB", limits::INPUT_BYTES >> 20)));
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_question_is_answered_once() {
        let given = |texts: &[&str]| answers(&texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>());
        assert_eq!(given(&["a=yes", "b=x=y"]).unwrap()["b"], InputText::Text("x=y".to_owned()));
        assert!(given(&["a"]).unwrap_err().to_string().contains("--answer a"));
        assert!(given(&["a=1", "a=1"]).unwrap_err().to_string().contains("twice"));
    }

    #[test]
    fn an_input_is_given_once() {
        let given = |each: &[&str]| {
            let each = each.iter().map(|text| (*text).to_owned()).collect();
            named(&InputArgs { each, file: None }).map(|inputs| inputs.len())
        };
        assert_eq!(given(&["s=a", "t=a"]).unwrap(), 2);
        assert_eq!(given(&["s=a", "s=b"]).unwrap_err().to_string(), "the input `s` is given twice");
    }

    #[test]
    fn an_input_is_a_name_and_a_value() {
        let pair = |text| pair("--input", text);
        assert_eq!(pair("a=b=c").unwrap(), ("a".to_owned(), InputText::Text("b=c".to_owned())));
        assert_eq!(pair("a=").unwrap(), ("a".to_owned(), InputText::Text(String::new())));
        assert!(pair("a").is_err());
        assert!(pair("a=@/no/such/file").unwrap_err().to_string().contains("/no/such/file"));
        assert!(pair("a=@/dev/zero").unwrap_err().to_string().contains("is not a regular file"));
    }

    #[test]
    fn a_text_may_begin_with_the_sign_of_files() {
        assert!(matches!(pair("--input", "a=@@home"), Ok((_, InputText::Text(text))) if text == "@home"));
        assert!(pair("--input", "a=@gone.txt").is_err());
    }
}
