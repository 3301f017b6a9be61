//! `cargo run -p cofferdam-guests -- dist` refreshes `plugins/dist`; `build`
//! builds every guest and prints where it is; `archive` keeps guests of this
//! version of the contract for good.

use anyhow::{Result, bail};
use cofferdam_guests::{FIRST_PARTY, FOR_TESTS, add_missing, built, refresh};

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
        Some("archive") => {
            for (guest, added) in add_missing()? {
                let (name, size) = (&guest.name, guest.bytes.div_ceil(1024));
                let what = if added { "added" } else { "is there, and stays as it is" };
                anstream::println!("{name:<18} {size:>4} KiB  {what}");
            }
        }
        _ => bail!("say what to do: `dist`, `build` or `archive`"),
    }
    Ok(())
}
