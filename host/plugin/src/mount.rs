//! The further directories of a plugin (`fs.also`): opened once, when it is loaded, and compared with each other.
//!
//! It must not render templates or decide grants: it gets directories that are granted.

use crate::error::LoadFault;
use cofferdam_core::policy::FsGrant;
use cofferdam_core::port::DirHandle;
use rustix::fs::{self, Mode, OFlags};
use std::fs::File;
use std::io::ErrorKind;
use std::path::Path;

/// Levels above a directory that are looked at; file systems are not deeper.
const LEVELS: usize = 512;

/// A directory and where the guest sees it.
#[derive(Clone, Debug)]
pub(crate) struct Mounted {
    pub(crate) dir: DirHandle,
    pub(crate) at: String,
}

/// Opens what is granted, and refuses a tree that could be written by a place where it may only be read.
pub(crate) fn open(grant: &FsGrant, base: &Path) -> Result<Vec<Mounted>, LoadFault> {
    let mut opened: Vec<(Mounted, bool)> = Vec::with_capacity(grant.also.len());
    for mount in &grant.also {
        if !mount.read {
            return Err(LoadFault::Unserved(WRITE_ONLY));
        }
        let unreadable = |reason: String| LoadFault::Mount { from: mount.from.clone(), reason };
        let file = File::open(base.join(&mount.from)).map_err(|error| match error.kind() {
            ErrorKind::NotFound => unreadable("there is no such directory; it is not made by itself".to_owned()),
            _ => unreadable(error.to_string()),
        })?;
        if !file.metadata().is_ok_and(|metadata| metadata.is_dir()) {
            return Err(unreadable("it is not a directory".to_owned()));
        }
        let dir = DirHandle::new(file);
        // A link that somebody put there would lead a grant of `data` anywhere.
        if Path::new(&mount.from).is_relative() && !is_inside(base, &dir) {
            return Err(unreadable("it leads out of the project; name it by its absolute path".to_owned()));
        }
        for (other, writes) in &opened {
            if *writes != mount.write && overlap(&other.dir, &dir) {
                return Err(unreadable(format!(
                    "it and `{}` are one tree, and only one of them may be written",
                    other.at
                )));
            }
        }
        opened.push((Mounted { dir, at: mount.at.clone() }, mount.write));
    }
    Ok(opened.into_iter().map(|(mounted, _)| mounted).collect())
}

fn is_inside(base: &Path, dir: &DirHandle) -> bool {
    // An empty path is this directory.
    File::open(Path::new(".").join(base)).is_ok_and(|base| holds(&DirHandle::new(base), dir) == Some(true))
}

/// A directory that can be written can be looked into; WASI knows no other.
pub(crate) const WRITE_ONLY: &str = "`write` without `read`: a directory that can be written can be read";

/// Whether one of two directories is the other, or inside of it. Compares what the handles hold, not paths, so that no
/// link hides it.
pub(crate) fn overlap(one: &DirHandle, other: &DirHandle) -> bool {
    // When it cannot be found out, the answer is the cautious one.
    [holds(one, other), holds(other, one)].into_iter().any(|found| found != Some(false))
}

/// Whether a directory is another, or above it; none when that cannot be found out.
fn holds(outer: &DirHandle, inner: &DirHandle) -> Option<bool> {
    let identity = |file: &File| fs::fstat(file).map(|stat| (stat.st_dev, stat.st_ino)).ok();
    let (wanted, mut at) = (identity(outer.as_file())?, inner.as_file().try_clone().ok()?);
    for _ in 0..LEVELS {
        let here = identity(&at)?;
        if here == wanted {
            return Some(true);
        }
        let flags = OFlags::DIRECTORY | OFlags::RDONLY | OFlags::CLOEXEC;
        at = File::from(fs::openat(&at, "..", flags, Mode::empty()).ok()?);
        // Above the root is the root.
        if identity(&at)? == here {
            return Some(false);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use cofferdam_core::policy::Grants;
    use serde_json::json;

    fn folder() -> std::path::PathBuf {
        let folder = std::env::temp_dir().join(format!("cofferdam-mount-{}", uuid::Uuid::new_v4().simple()));
        std::fs::create_dir_all(folder.join("a/b")).unwrap();
        std::fs::create_dir(folder.join("c")).unwrap();
        std::os::unix::fs::symlink("../a/b", folder.join("c/link")).unwrap();
        folder
    }

    fn opened(folder: &Path, mounts: &[(&str, bool)]) -> Result<Vec<Mounted>, LoadFault> {
        let also: Vec<_> = mounts
            .iter()
            .enumerate()
            .map(|(index, (from, write))| {
                json!({ "from": from, "at": format!("/in{index}"), "read": true, "write": write })
            })
            .collect();
        open(&Grants::parse(&json!({ "fs": { "also": also } })).unwrap().fs, folder)
    }

    #[test]
    fn a_tree_is_not_both_read_only_and_writable() {
        let folder = folder();
        for (one, other) in [("a", "a"), ("a", "a/b"), ("a/b", "a"), ("a", "c/link"), ("c/link", "a/b")] {
            assert!(opened(&folder, &[(one, false), (other, true)]).is_err(), "{one} and {other}");
            assert!(opened(&folder, &[(one, false), (other, false)]).is_ok(), "{one} and {other}");
        }
        assert_eq!(opened(&folder, &[("a", true), ("c", false)]).unwrap().len(), 2);
        std::fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn a_link_does_not_lead_a_grant_out_of_the_project() {
        let folder = folder();
        std::os::unix::fs::symlink("../..", folder.join("c/out")).unwrap();
        for from in ["c/out", "..", "a/../.."] {
            assert!(opened(&folder, &[(from, false)]).is_err(), "{from}");
        }
        assert!(opened(&folder, &[(folder.parent().unwrap().to_str().unwrap(), false)]).is_ok());
        assert!(opened(&folder, &[("c/link", false), (".", false)]).is_ok());
        std::fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn what_is_no_directory_is_refused_by_the_name_that_was_written() {
        let folder = folder();
        std::fs::write(folder.join("file"), "x").unwrap();
        for from in ["file", "missing"] {
            let error = opened(&folder, &[(from, false)]).unwrap_err().to_string();
            assert!(error.contains(from), "{error}");
        }
        std::fs::remove_dir_all(folder).unwrap();
    }
}
