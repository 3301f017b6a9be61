//! A tool as a program: reads its arguments as JSON, writes its result as JSON. For the comparison with components.

use anyhow::{Result, bail};
use cofferdam_sdk::{Context, Payload, Plugin as _};
use std::io::{Read as _, Write as _};

fn main() -> Result<()> {
    let mut args = String::new();
    std::io::stdin().read_to_string(&mut args)?;
    match plugin_text::Plugin::call(&Context::fake(), "words", &args) {
        Ok(output) => match output.value {
            Payload::Json(value) => Ok(std::io::stdout().write_all(value.to_string().as_bytes())?),
            _ => bail!("the word count is data"),
        },
        Err(error) => bail!("{}", error.message()),
    }
}
