//! The directories that a guest sees: `/step`, `/out` and further ones, each only as granted.
//!
//! It must not resolve paths: WASI does, below the directory, on handles. Without a grant the list is empty.

use crate::grant::Denial;
use crate::instance::Guest;
use crate::mount::{Mounted, overlap};
use crate::tap::Outcome;
use cofferdam_core::policy::FsGrant;
use cofferdam_core::port::{DirHandle, StepDirs};
use std::os::fd::AsRawFd as _;
use std::sync::Arc;
use wasmtime::component::Resource;
use wasmtime_wasi::filesystem::{Descriptor, WasiFilesystemView as _};
use wasmtime_wasi::p2::bindings::filesystem::preopens;
use wasmtime_wasi::{FsPerms, WasiCtxBuilder};

/// The directories of one call.
pub(crate) struct Preopens<'a> {
    pub(crate) dirs: &'a StepDirs,
    pub(crate) grant: &'a FsGrant,
    /// The further directories that the plugin was granted; which of them this call sees, the grant says.
    pub(crate) mounts: &'a [Mounted],
}

/// A granted directory that the guest cannot get. Names it as the guest sees it.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DirectoryError {
    /// It could not be opened.
    #[error("the directory `{0}` cannot be opened")]
    Unopened(String),
    /// It could be written by the step's directory, or the other way round.
    #[error("the directories `/step` and `{0}` are one tree, and only one of them may be written")]
    Overlap(String),
}

impl Preopens<'_> {
    /// Shows them to the guest.
    pub(crate) fn open(&self, wasi: &mut WasiCtxBuilder) -> Result<(), DirectoryError> {
        let step = match (self.grant.read, self.grant.write) {
            (true, true) => Some(FsPerms::ReadWrite),
            (true, false) => Some(FsPerms::ReadOnly),
            // WASI has no directory that can be written and not read, and granting more than was said is no option.
            (false, _) => None,
        };
        if let Some(access) = step {
            open(wasi, &self.dirs.step, "/step", access)?;
        }
        if self.grant.out {
            open(wasi, &self.dirs.out, "/out", FsPerms::ReadWrite)?;
        }
        self.mounts.iter().try_for_each(|mounted| self.mount(wasi, mounted))
    }

    fn mount(&self, wasi: &mut WasiCtxBuilder, mounted: &Mounted) -> Result<(), DirectoryError> {
        let granted = self.grant.also.iter().find(|mount| mount.at == mounted.at && mount.read);
        let Some(mount) = granted else { return Ok(()) };
        // The output directory may lie in a tree that is only read: it is the run's own.
        if self.grant.read && self.grant.write != mount.write && overlap(&self.dirs.step, &mounted.dir) {
            return Err(DirectoryError::Overlap(mount.at.clone()));
        }
        let access = if mount.write { FsPerms::ReadWrite } else { FsPerms::ReadOnly };
        open(wasi, &mounted.dir, &mount.at, access)
    }
}

/// Shows a guest that belongs to no step the further directories that it was granted.
pub(crate) fn open_mounts(
    wasi: &mut WasiCtxBuilder,
    mounts: &[Mounted],
    grant: &FsGrant,
) -> Result<(), DirectoryError> {
    for mounted in mounts {
        let Some(mount) = grant.also.iter().find(|mount| mount.at == mounted.at && mount.read) else { continue };
        let access = if mount.write { FsPerms::ReadWrite } else { FsPerms::ReadOnly };
        open(wasi, &mounted.dir, &mount.at, access)?;
    }
    Ok(())
}

/// Opens the very directory that the handle holds, not whatever stands at its path by now.
fn open(wasi: &mut WasiCtxBuilder, dir: &DirHandle, at: &str, access: FsPerms) -> Result<(), DirectoryError> {
    let descriptors = if cfg!(target_os = "linux") { "/proc/self/fd" } else { "/dev/fd" };
    let handle = format!("{descriptors}/{}", dir.as_file().as_raw_fd());
    match wasi.preopened_dir(&handle, at, access) {
        Ok(_) => Ok(()),
        Err(error) => {
            tracing::debug!(directory = at, %error, "a granted directory cannot be opened");
            Err(DirectoryError::Unopened(at.to_owned()))
        }
    }
}

impl preopens::Host for Guest {
    fn get_directories(&mut self) -> wasmtime::Result<Vec<(Resource<Descriptor>, String)>> {
        let rights = Arc::clone(&self.call.rights);
        if !rights.sees_files() && self.call.ctx.is_some() {
            let denial = Denial::new(&self.call.plugin.alias, &rights, "fs".to_owned(), &rights.wanted_files());
            let begun = self.call.begin(|| "the directories".to_owned());
            self.call.end_with(begun, ("files", "preopens"), || Outcome::Denied);
            if rights.requested.fs.is_empty() {
                self.call.denials.suspect(denial);
            } else {
                self.call.deny(denial);
            }
        }
        self.filesystem().get_directories()
    }
}
