//! Copies what a run has in its output directory into that of a branch of it.
//!
//! It must not leave either directory, whatever links a step made there.

use cap_std::fs::Dir;
use std::io;
use std::path::PathBuf;

/// Copies all that is below one directory to below another one, which is empty. Links that lead out of it are left out.
pub(crate) fn copy(from: &Dir, to: &Dir) -> io::Result<()> {
    let mut folders = vec![PathBuf::from(".")];
    while let Some(folder) = folders.pop() {
        for entry in from.read_dir(&folder)? {
            let entry = entry?;
            let (path, kind) = (folder.join(entry.file_name()), entry.file_type()?);
            if kind.is_dir() {
                to.create_dir(&path)?;
                folders.push(path);
            } else if kind.is_symlink() {
                if let Ok(target) = from.read_link(&path) {
                    to.symlink(target, &path)?;
                }
            } else if kind.is_file() {
                from.copy(&path, to, &path)?;
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::symlink;

    #[test]
    fn all_is_copied_but_what_leads_out() {
        let folder = tempfile::tempdir().unwrap();
        let (from, to) = (folder.path().join("from"), folder.path().join("to"));
        fs::create_dir_all(from.join("a/b")).unwrap();
        fs::create_dir(&to).unwrap();
        fs::write(folder.path().join("secret"), "secret").unwrap();
        fs::write(from.join("a/b/x.txt"), "x").unwrap();
        fs::write(from.join("y.txt"), "y").unwrap();
        symlink("a/b/x.txt", from.join("inside")).unwrap();
        symlink(folder.path().join("secret"), from.join("outside")).unwrap();
        let open = |path| Dir::open_ambient_dir(path, cap_std::ambient_authority()).unwrap();
        copy(&open(&from), &open(&to)).unwrap();
        assert_eq!(fs::read_to_string(to.join("inside")).unwrap(), "x");
        assert_eq!(fs::read_to_string(to.join("y.txt")).unwrap(), "y");
        assert!(fs::symlink_metadata(to.join("outside")).is_err());
    }
}
