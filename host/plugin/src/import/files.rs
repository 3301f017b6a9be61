//! The directories that a guest sees: `/step` and `/out`, each only as granted.
//!
//! It must not resolve paths: WASI does, below the directory, on handles. Without a grant the list is empty.

use crate::grant::Denial;
use crate::instance::Guest;
use cofferdam_core::policy::FsGrant;
use cofferdam_core::port::{DirHandle, StepDirs};
use std::os::fd::AsRawFd as _;
use wasmtime::component::Resource;
use wasmtime_wasi::filesystem::{Descriptor, WasiFilesystemView as _};
use wasmtime_wasi::p2::bindings::filesystem::preopens;
use wasmtime_wasi::{FsPerms, WasiCtxBuilder};

/// The directories of one call.
pub(crate) struct Preopens<'a> {
    pub(crate) dirs: &'a StepDirs,
    pub(crate) grant: &'a FsGrant,
}

/// A granted directory that could not be opened. Names it as the guest sees it.
#[derive(Debug, thiserror::Error)]
#[error("the directory `{0}` cannot be opened")]
pub(crate) struct DirectoryError(String);

impl Preopens<'_> {
    /// Shows a guest that belongs to no step the directories that its grant names, by their paths.
    pub(crate) fn open_mounts(grant: &FsGrant, wasi: &mut WasiCtxBuilder) -> Result<(), DirectoryError> {
        for mount in &grant.also {
            let access = if mount.write { FsPerms::ReadWrite } else { FsPerms::ReadOnly };
            if let Err(error) = wasi.preopened_dir(&mount.from, &mount.at, access) {
                tracing::debug!(directory = mount.at, %error, "a granted directory cannot be opened");
                return Err(DirectoryError(mount.at.clone()));
            }
        }
        Ok(())
    }

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
        Ok(())
    }
}

/// Opens the very directory that the handle holds, not whatever stands at its path by now.
fn open(wasi: &mut WasiCtxBuilder, dir: &DirHandle, at: &'static str, access: FsPerms) -> Result<(), DirectoryError> {
    let descriptors = if cfg!(target_os = "linux") { "/proc/self/fd" } else { "/dev/fd" };
    let handle = format!("{descriptors}/{}", dir.as_file().as_raw_fd());
    match wasi.preopened_dir(&handle, at, access) {
        Ok(_) => Ok(()),
        Err(error) => {
            tracing::debug!(directory = at, %error, "a granted directory cannot be opened");
            Err(DirectoryError(at.to_owned()))
        }
    }
}

impl preopens::Host for Guest {
    fn get_directories(&mut self) -> wasmtime::Result<Vec<(Resource<Descriptor>, String)>> {
        let rights = &self.call.plugin.rights;
        if !rights.sees_files() && self.call.ctx.is_some() {
            let denial = Denial::new(&self.call.plugin.alias, rights, "fs".to_owned(), &rights.wanted_files());
            if rights.requested.fs.is_empty() {
                self.call.denials.suspect(denial);
            } else {
                self.call.deny(denial);
            }
        }
        self.filesystem().get_directories()
    }
}
