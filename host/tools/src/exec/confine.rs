//! The program that a command is run by: it confines itself, starts the command, and ends it with its host.
//!
//! It must not know runs or tools. What is confined is what the kernel can: files, and where it is new enough TCP, signals and
//! abstract sockets.

use cofferdam_child::{kill_own_group, lead_session};
use serde::{Deserialize, Serialize};
use std::io::Read as _;
use std::os::unix::process::ExitStatusExt as _;
use std::path::PathBuf;
use std::process::{Command, ExitCode, Stdio};
use std::sync::OnceLock;

/// What a command is run with, as an argument of the program.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Order {
    pub(super) command: String,
    /// What may be read and written, all below; the directory that it starts in always may.
    pub(super) write: Vec<PathBuf>,
    /// What may be read and executed, all below.
    pub(super) read: Vec<PathBuf>,
    /// Whether TCP may be used.
    pub(super) network: bool,
}

/// What shells say when they cannot run something.
const CANNOT_RUN: u8 = 126;

/// Runs a command as the argument says. It ends when its standard input does: then nobody waits for it.
pub fn main() -> ExitCode {
    let order = std::env::args().next_back().and_then(|order| serde_json::from_str::<Order>(&order).ok());
    let Some(order) = order else {
        return refuse("this is how cofferdam runs commands for itself");
    };
    // Without the terminal of the host: there, a command could type for whoever sits at it.
    if let Err(error) = lead_session() {
        return refuse(&format!("the command cannot be parted from the terminal: {error}"));
    }
    if let Err(error) = confine(&order) {
        return refuse(&format!("the command cannot be confined: {error}"));
    }
    let mut shell = Command::new("/bin/sh");
    let started = shell.arg("-c").arg(&order.command).stdin(Stdio::null()).spawn();
    let mut command = match started {
        Ok(command) => command,
        Err(error) => return refuse(&format!("/bin/sh cannot be started: {error}")),
    };
    let watch = std::thread::Builder::new().name("host".to_owned()).spawn(|| {
        let mut ignored = [0_u8; 64];
        while matches!(std::io::stdin().read(&mut ignored), Ok(read) if read > 0) {}
        kill_own_group();
    });
    if let Err(error) = watch {
        return refuse(&format!("the host cannot be watched: {error}"));
    }
    match command.wait() {
        // As shells do it: 128 and the signal.
        Ok(status) => {
            let code = status.code().or_else(|| status.signal().map(|signal| 128 + signal));
            ExitCode::from(code.and_then(|code| u8::try_from(code).ok()).unwrap_or(CANNOT_RUN))
        }
        Err(error) => refuse(&format!("the command was lost: {error}")),
    }
}

fn refuse(why: &str) -> ExitCode {
    use std::io::Write as _;
    // Nobody may read it any more.
    let _ = writeln!(std::io::stderr(), "cofferdam: {why}");
    ExitCode::from(CANNOT_RUN)
}

#[cfg(target_os = "linux")]
fn confine(order: &Order) -> Result<(), landlock::RulesetError> {
    use landlock::{
        ABI, Access as _, AccessFs, AccessNet, PathBeneath, PathFd, Ruleset, RulesetAttr as _, RulesetCreatedAttr as _,
        Scope,
    };
    // The newest that is known here; what the kernel lacks of it is left out.
    let abi = ABI::V6;
    let mut ruleset = Ruleset::default().handle_access(AccessFs::from_all(abi))?.scope(Scope::from_all(abi))?;
    if !order.network {
        ruleset = ruleset.handle_access(AccessNet::from_all(abi))?;
    }
    let mut created = ruleset.create()?;
    let here = PathBuf::from(".");
    let all = AccessFs::from_all(abi) & !(AccessFs::MakeChar | AccessFs::MakeBlock);
    let write = order.write.iter().chain([&here]).map(|path| (path, all));
    let read = order.read.iter().map(|path| (path, AccessFs::from_read(abi)));
    let devices = DEVICES.map(PathBuf::from);
    let devices = devices.iter().map(|path| (path, all));
    for (path, access) in write.chain(read).chain(devices) {
        // What is not there cannot be reached either.
        let Ok(opened) = PathFd::new(path) else { continue };
        let access = if path.is_dir() { access } else { access & AccessFs::from_file(abi) };
        created = created.add_rule(PathBeneath::new(opened, access))?;
    }
    created.restrict_self().map(drop)
}

#[cfg(not(target_os = "linux"))]
fn confine(_: &Order) -> Result<(), std::convert::Infallible> {
    Ok(())
}

/// Devices that hold nothing.
#[cfg(target_os = "linux")]
const DEVICES: [&str; 5] = ["/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom"];

/// Whether the kernel confines files. Asked once, before the first command could have a say in it.
pub(super) fn is_supported() -> bool {
    static SUPPORTED: OnceLock<bool> = OnceLock::new();
    *SUPPORTED.get_or_init(ask_kernel)
}

fn ask_kernel() -> bool {
    #[cfg(target_os = "linux")]
    {
        use landlock::{ABI, Access as _, AccessFs, CompatLevel, Compatible as _, Ruleset, RulesetAttr as _};
        let hard = Ruleset::default().set_compatibility(CompatLevel::HardRequirement);
        hard.handle_access(AccessFs::from_all(ABI::V1)).and_then(Ruleset::create).is_ok()
    }
    #[cfg(not(target_os = "linux"))]
    false
}
