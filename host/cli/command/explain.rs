//! `explain`: what the code of a finding means.

use super::validate;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::settings;
use crate::terminal;
use crate::ui::paint;
use cofferdam::core::spec::code::{self, Code};
use cofferdam::core::spec::suggest::did_you_mean;

pub(super) fn run(given: &str) -> anyhow::Result<Exit> {
    let Some(code) = all().find(|code| code.id.eq_ignore_ascii_case(given)) else {
        return Err(unknown(given).into());
    };
    terminal::print(&format!("{}: {}\n\n{}\n", paint::strong(code.id), code.title, code.about))?;
    Ok(Exit::Done)
}

/// Every code and its title, below the nearest one.
fn unknown(given: &str) -> Failure {
    let near = did_you_mean(&given.to_uppercase(), all().map(|code| code.id)).map(|near| format!("{near}\n"));
    let list: Vec<String> = all().map(|code| format!("{}  {}", code.id, code.title)).collect();
    let hint = format!("{}the codes are:\n{}", near.unwrap_or_default(), list.join("\n"));
    Failure::usage(format!("there is no code `{given}`")).with_hint(hint)
}

fn all() -> impl Iterator<Item = &'static Code> {
    static HOST: Code = validate::HOST;
    static GUARANTEE: Code = validate::GUARANTEE;
    code::ALL.iter().chain(&settings::CODES).chain([&HOST, &GUARANTEE])
}

#[cfg(test)]
mod tests {
    use super::all;

    #[test]
    fn every_code_is_explained_once() {
        let mut ids: Vec<&str> = all().map(|code| code.id).collect();
        let count = ids.len();
        ids.sort_unstable();
        ids.dedup();
        assert_eq!(ids.len(), count);
    }
}
