//! What plugins are run with: memory for guests, the compiler in a process of its own, the directories of the user, and
//! what the kernel says of itself.

use super::Check;
use crate::environment;
use crate::session;
use crate::terminal;
use cofferdam::plugin::CompileChild;
use cofferdam::plugin::machine::{self, Memory};
use cofferdam::sink::bytes;
use std::fs;
use std::path::Path;

pub(super) async fn checks() -> Vec<Check> {
    vec![kernel(), memory(), compiler().await, key(), directory("cache", "components"), directory("fetched", "fetched")]
}

fn memory() -> Check {
    match machine::memory() {
        Ok(Memory::Pooled { slots }) => Check::good("memory", format!("a pool of {slots} instances")),
        Ok(Memory::OnDemand) => Check::warn(
            "memory",
            "mapped for each instance: the address space is too small for a pool",
            "calls are slower, nothing else; look at `ulimit -v`",
        ),
        Err(error) => Check::bad("memory", format!("there is no engine for this machine: {error}"), ""),
    }
}

async fn compiler() -> Check {
    let program = match std::env::current_exe() {
        Ok(program) => program,
        Err(error) => return Check::bad("compiler", format!("this program does not find itself: {error}"), ""),
    };
    let child = CompileChild { program, args: vec![session::COMPILE_CHILD.into()] };
    match machine::try_compiler(child).await {
        Ok(time) => Check::good("compiler", format!("works, in a process of its own ({} ms)", time.as_millis())),
        Err(error) => Check::bad("compiler", error.to_string(), "look at `ulimit -a`: it needs 4 GiB of address space"),
    }
}

/// The secret that compiled code is authenticated with. It is made by the first plugin, and not here.
fn key() -> Check {
    let Some(dirs) = environment::user_dirs() else {
        return Check::warn("key", "none; without HOME plugins are compiled each time", "set HOME");
    };
    if !dirs.state.is_dir() {
        return Check::good("key", format!("none yet; {} is made by the first plugin", terminal::name(&dirs.state)));
    }
    match cofferdam::plugin::user_key(&dirs.state) {
        Ok(_) => Check::good("key", format!("in {}", terminal::name(&dirs.state))),
        Err(error) => {
            let found = format!("{}: {error}", terminal::name(&dirs.state));
            Check::bad("key", found, "plugins are compiled each time; whoever owns the directory can mend it")
        }
    }
}

/// A directory below that of the cache: whose it is, whether it can be written, how much is in it.
fn directory(name: &'static str, folder: &str) -> Check {
    let Some(dirs) = environment::user_dirs() else {
        return Check::warn(name, "none without HOME", "set HOME");
    };
    let path = dirs.cache.join(folder);
    let shown = terminal::name(&path);
    match fs::symlink_metadata(&path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            Check::good(name, format!("none yet; {shown} is made by the first plugin"))
        }
        Err(error) => Check::bad(name, format!("{shown}: {error}"), ""),
        Ok(metadata) if !metadata.is_dir() => Check::bad(name, format!("{shown} is not a directory"), "move it away"),
        Ok(metadata) => match fault(&path, &metadata) {
            Some((found, hint)) => Check::bad(name, format!("{shown} {found}"), hint),
            None => Check::good(name, format!("{}, {shown}", filling(&path))),
        },
    }
}

/// What is the matter with a directory, and what to do about it.
#[cfg(unix)]
fn fault(path: &Path, metadata: &fs::Metadata) -> Option<(String, String)> {
    use std::os::unix::fs::MetadataExt as _;
    let shown = terminal::name(path);
    // Whoever runs this made the process's own directory below /proc.
    let own = fs::metadata("/proc/self").map(|own| own.uid());
    if own.is_ok_and(|own| own != metadata.uid()) {
        return Some(("belongs to another user".to_owned(), format!("look who made it; `rm -r {shown}` starts anew")));
    }
    if metadata.mode() & 0o077 != 0 {
        let mode = metadata.mode() & 0o777;
        return Some((format!("is open to others (mode {mode:o})"), format!("chmod 700 {shown}")));
    }
    let writable = tempfile::Builder::new().prefix(".doctor-").tempfile_in(path);
    writable.err().map(|error| (format!("cannot be written: {error}"), "look at its mode and at the disk".to_owned()))
}

#[cfg(not(unix))]
fn fault(_: &Path, _: &fs::Metadata) -> Option<(String, String)> {
    None
}

fn filling(path: &Path) -> String {
    let sizes =
        fs::read_dir(path).into_iter().flatten().flatten().filter_map(|entry| Some(entry.metadata().ok()?.len()));
    let (count, total) = sizes.fold((0_u64, 0), |(count, total), size| (count + 1, total + size));
    format!("{count} files, {}", bytes(total))
}

/// What bears on guests: the architecture, the processors, and how much memory may be promised.
fn kernel() -> Check {
    let read = |path: &str| fs::read_to_string(path).ok().map(|text| text.trim().to_owned());
    let release = read("/proc/sys/kernel/osrelease").map(|release| format!(" {release}")).unwrap_or_default();
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    let found = format!("{}{release}, {}, {processors} processors", std::env::consts::OS, std::env::consts::ARCH);
    match read("/proc/sys/vm/overcommit_memory").as_deref() {
        Some("2") => Check::warn(
            "kernel",
            format!("{found}, never promises more memory than there is"),
            "guests are mapped one by one then; `sysctl vm.overcommit_memory=0` lets them have a pool",
        ),
        _ => Check::good("kernel", found),
    }
}
