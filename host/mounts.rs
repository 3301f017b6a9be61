//! Further directories in grants (`fs.also`): what their templates give for the inputs of a run.
//!
//! It must not open anything.

use cofferdam_core::expr::Names;
use cofferdam_core::policy::Grants;
use cofferdam_core::template::Template;
use cofferdam_core::value::{self, Map};
use serde_json::Value;

/// The grants with the directories that they name for these inputs, in one spelling. Without inputs, directories that
/// depend on them are left out.
///
/// # Errors
/// A template that cannot be rendered, or gives no path; with the template.
pub(crate) fn render(grants: &Grants, inputs: Option<&Map>) -> Result<Grants, String> {
    let mut rendered = grants.clone();
    rendered.fs.also.clear();
    for mount in &grants.fs.also {
        let wrong = |why: String| format!("the directory `{}` of `fs.also`: {why}", mount.from);
        let names = Names { steps: &[], roots: &["inputs"] };
        let template = Template::text(&mount.from, &names).map_err(|error| wrong(error.to_string()))?;
        let from = match (template.is_constant(), inputs) {
            (true, _) => mount.from.clone(),
            (false, None) => continue,
            (false, Some(inputs)) => {
                let variables = [("inputs".to_owned(), Value::Object(inputs.clone()))].into_iter().collect();
                value::to_text(&template.render(&variables).map_err(|error| wrong(error.to_string()))?)
            }
        };
        let from = one_spelling(&from);
        if from.is_empty() || from.chars().any(char::is_control) {
            return Err(wrong("it names no directory".to_owned()));
        }
        let mut mount = mount.clone();
        mount.from = from;
        rendered.fs.also.push(mount);
    }
    Ok(rendered)
}

/// `./data/` and `data` are one directory; more is not guessed.
fn one_spelling(from: &str) -> String {
    let mut text = from.trim();
    while let Some(rest) = text.strip_prefix("./") {
        text = rest;
    }
    let cut = text.trim_end_matches('/');
    if cut.is_empty() && text.starts_with('/') { "/".to_owned() } else { cut.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn from(from: &str, inputs: Option<&Map>) -> Result<Vec<String>, String> {
        let table = json!({ "fs": { "also": [{ "from": from, "at": "/in", "read": true }] } });
        let rendered = render(&Grants::parse(&table).unwrap(), inputs)?;
        Ok(rendered.fs.also.into_iter().map(|mount| mount.from).collect())
    }

    #[test]
    fn a_directory_may_be_named_by_an_input() {
        let inputs: Map = [("dir".to_owned(), json!("./data/"))].into_iter().collect();
        assert_eq!(from("{{ inputs.dir }}", Some(&inputs)), Ok(vec!["data".to_owned()]));
        assert_eq!(from("{{ inputs.dir }}", None), Ok(vec![]));
        for (written, one) in [("././data", "data"), ("/", "/"), ("/data//", "/data"), ("..", "..")] {
            assert_eq!(from(written, None), Ok(vec![one.to_owned()]));
        }
        assert!(from("{{ inputs.missing }}", Some(&inputs)).is_err());
        let empty: Map = [("dir".to_owned(), json!(""))].into_iter().collect();
        assert!(from("{{ inputs.dir }}", Some(&empty)).is_err());
    }
}
