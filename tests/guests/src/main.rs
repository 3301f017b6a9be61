//! `cargo run -p cofferdam-guests -- dist` refreshes `plugins/dist`; `build`
//! builds every guest and prints where it is.

use anyhow::{Result, bail};
use cofferdam_guests::{FIRST_PARTY, FOR_TESTS, built, refresh};

fn main() -> Result<()> {
    match std::env::args().nth(1).as_deref() {
        Some("dist") => {
            for (name, digest, bytes) in refresh()? {
                anstream::println!("{name:<14} {:>4} KiB  {digest}", bytes.div_ceil(1024));
            }
        }
        Some("build") => {
            for name in FIRST_PARTY.iter().chain(&FOR_TESTS) {
                anstream::println!("{name:<14} {}", built(name)?.display());
            }
        }
        _ => bail!("say what to do: `dist` or `build`"),
    }
    Ok(())
}
