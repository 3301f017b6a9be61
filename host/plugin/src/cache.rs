//! Compiled code on disk, authenticated: an entry is used only if its MAC under our own key is right.
//!
//! wasmtime runs whatever it is given as precompiled code, flipped bytes included, so the check comes before
//! it sees a single byte. A failure here costs time, never correctness: it is logged and the component is
//! compiled again. It must not know what an entry holds.

use cofferdam_core::limits;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

const MAGIC: &[u8; 8] = b"CFDAM\x00\x00\x02";
const MAC_BYTES: usize = 32;
const HEADER_BYTES: usize = MAGIC.len() + MAC_BYTES;
const KEY_FILE: &str = "plugin-cache.key";
/// Compiled code is some times larger than its component.
const ENTRY_BYTES: u64 = 16 * limits::PLUGIN_COMPONENT_BYTES as u64;

/// What an entry is of. Part of the MAC, so that one kind never passes for another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Precompiled code.
    Code,
    /// What the component says about itself, as JSON.
    Description,
}

impl Kind {
    fn extension(self) -> &'static str {
        match self {
            Self::Code => "code",
            Self::Description => "json",
        }
    }
}

/// A directory of entries and the key that authenticates them.
pub(crate) struct Cache {
    directory: PathBuf,
    key: [u8; 32],
}

/// An authenticated entry.
pub(crate) struct Entry(Vec<u8>);

impl Entry {
    /// What was stored.
    pub(crate) fn payload(&self) -> &[u8] {
        self.0.get(HEADER_BYTES..).unwrap_or_default()
    }
}

impl Cache {
    /// Opens the cache, making its directory and key where they are missing.
    ///
    /// # Errors
    /// When either belongs to somebody else, or cannot be made.
    pub(crate) fn open(directory: &Path, state: &Path) -> io::Result<Self> {
        private_directory(directory)?;
        Ok(Self { key: user_key(state)?, directory: directory.to_owned() })
    }

    /// The entry, if there is one and it is ours.
    pub(crate) fn load(&self, key: &str, kind: Kind) -> Option<Entry> {
        let path = self.path(key, kind);
        match self.read(&path, key, kind) {
            Ok(entry) => Some(entry),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => {
                tracing::warn!(entry = %key, %error, "a cached plugin is not usable and is built again");
                drop(fs::remove_file(&path));
                None
            }
        }
    }

    /// Stores an entry; a failure is logged and otherwise ignored.
    pub(crate) fn store(&self, key: &str, kind: Kind, payload: &[u8]) {
        if let Err(error) = self.write(key, kind, payload) {
            tracing::warn!(entry = %key, %error, "a compiled plugin could not be kept; it is compiled again next time");
        }
    }

    fn read(&self, path: &Path, key: &str, kind: Kind) -> io::Result<Entry> {
        let file = File::open(path)?;
        let length = file.metadata()?.len();
        if length > ENTRY_BYTES {
            return Err(io::Error::other("the file is larger than anything stored here"));
        }
        let mut bytes = Vec::with_capacity(usize::try_from(length).unwrap_or(0));
        file.take(ENTRY_BYTES).read_to_end(&mut bytes)?;
        let payload = bytes.get(HEADER_BYTES..).ok_or_else(|| io::Error::other("the file is cut off"))?;
        let found = bytes.get(MAGIC.len()..HEADER_BYTES).unwrap_or_default();
        // The comparison of hashes takes the same time wherever they differ.
        let mac = <[u8; MAC_BYTES]>::try_from(found).map(blake3::Hash::from_bytes);
        if !bytes.starts_with(MAGIC) || mac.ok() != Some(self.mac(key, kind, payload)) {
            return Err(io::Error::other("the file was changed after it was written"));
        }
        Ok(Entry(bytes))
    }

    fn write(&self, key: &str, kind: Kind, payload: &[u8]) -> io::Result<()> {
        self.make_room();
        let path = self.path(key, kind);
        let mac = self.mac(key, kind, payload);
        let temporary = path.with_extension(format!("{}.tmp", uuid::Uuid::new_v4().simple()));
        let mut file = private_file(&temporary)?;
        let written = [MAGIC.as_slice(), mac.as_bytes(), payload].iter().try_for_each(|part| file.write_all(part));
        // Renaming shows either nothing or the whole entry to other processes.
        let done = written.and_then(|()| fs::rename(&temporary, &path));
        if done.is_err() {
            drop(fs::remove_file(&temporary));
        }
        done
    }

    /// BLAKE3 in its keyed mode: checking an entry must not cost more than loading it.
    fn mac(&self, key: &str, kind: Kind, payload: &[u8]) -> blake3::Hash {
        let mut mac = blake3::Hasher::new_keyed(&self.key);
        for part in [kind.extension().as_bytes(), b":", key.as_bytes(), b":", payload] {
            mac.update(part);
        }
        mac.finalize()
    }

    fn path(&self, key: &str, kind: Kind) -> PathBuf {
        self.directory.join(format!("{key}.{}", kind.extension()))
    }

    /// Removes the oldest entries when there are too many.
    fn make_room(&self) {
        let Ok(listing) = fs::read_dir(&self.directory) else { return };
        let mut entries: Vec<(SystemTime, PathBuf)> = listing
            .filter_map(Result::ok)
            .filter_map(|entry| Some((entry.metadata().ok()?.modified().ok()?, entry.path())))
            .collect();
        if entries.len() < limits::PLUGIN_CACHE_ENTRIES {
            return;
        }
        entries.sort();
        for (_, path) in entries.iter().take(entries.len() - limits::PLUGIN_CACHE_ENTRIES / 2) {
            drop(fs::remove_file(path));
        }
    }
}

/// The user's secret key, made when there is none. It authenticates what this program wrote for this user.
///
/// # Errors
/// When the directory or the key belongs to somebody else, when others can read the key, or when it cannot be made.
pub fn user_key(state: &Path) -> io::Result<[u8; 32]> {
    private_directory(state)?;
    key(&state.join(KEY_FILE))
}

/// Makes sure that the directory exists, is ours, and is closed to everybody else.
pub(crate) fn private_directory(path: &Path) -> io::Result<()> {
    use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, PermissionsExt as _};
    DirBuilder::new().recursive(true).mode(0o700).create(path)?;
    let metadata = fs::symlink_metadata(path)?;
    if !metadata.is_dir() || metadata.uid() != rustix::process::geteuid().as_raw() {
        return Err(io::Error::other("the directory belongs to another user"));
    }
    if metadata.mode() & 0o077 != 0 {
        fs::set_permissions(path, fs::Permissions::from_mode(0o700))?;
    }
    Ok(())
}

pub(crate) fn private_file(path: &Path) -> io::Result<File> {
    use std::os::unix::fs::OpenOptionsExt as _;
    OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)
}

/// Reads the key, or makes one. Two processes that make it at once end with the same.
fn key(path: &Path) -> io::Result<[u8; 32]> {
    if let Some(key) = read_key(path)? {
        return Ok(key);
    }
    let temporary = path.with_extension(format!("{}.tmp", uuid::Uuid::new_v4().simple()));
    let mut fresh = [0; 32];
    let random = [uuid::Uuid::new_v4(), uuid::Uuid::new_v4(), uuid::Uuid::new_v4()];
    let mut hash = blake3::Hasher::new();
    for part in random {
        hash.update(part.as_bytes());
    }
    fresh.copy_from_slice(hash.finalize().as_bytes());
    private_file(&temporary)?.write_all(&fresh)?;
    // A link fails where the file exists, so the first one wins.
    let linked = fs::hard_link(&temporary, path);
    drop(fs::remove_file(&temporary));
    match linked {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
        _ => read_key(path)?.ok_or_else(|| io::Error::other("the key of the plugin cache vanished")),
    }
}

fn read_key(path: &Path) -> io::Result<Option<[u8; 32]>> {
    use std::os::unix::fs::MetadataExt as _;
    let mut file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let metadata = file.metadata()?;
    if metadata.uid() != rustix::process::geteuid().as_raw() {
        return Err(io::Error::other(format!("the key `{}` belongs to another user", path.display())));
    }
    // Whoever could read it may have used it: closing it now would not make it secret again.
    if metadata.mode() & 0o077 != 0 {
        let shown = path.display();
        return Err(io::Error::other(format!("the key `{shown}` is open to other users; delete it to get a new one")));
    }
    let mut key = [0; 32];
    file.read_exact(&mut key)?;
    Ok(Some(key))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Scratch;

    fn cache(scratch: &Scratch) -> Cache {
        Cache::open(&scratch.path().join("cache"), &scratch.path().join("state")).unwrap()
    }

    #[test]
    fn an_entry_comes_back_also_from_another_process() {
        let scratch = Scratch::new();
        cache(&scratch).store("abc", Kind::Code, b"code");
        let entry = cache(&scratch).load("abc", Kind::Code).unwrap();
        assert_eq!(entry.payload(), b"code");
        assert!(cache(&scratch).load("other", Kind::Code).is_none());
    }

    #[test]
    fn a_flipped_bit_anywhere_makes_the_entry_worthless() {
        let scratch = Scratch::new();
        let cache = cache(&scratch);
        cache.store("abc", Kind::Code, b"some compiled code");
        let path = cache.path("abc", Kind::Code);
        let whole = fs::read(&path).unwrap();
        for index in 0..whole.len() {
            let mut changed = whole.clone();
            changed[index] ^= 1;
            fs::write(&path, &changed).unwrap();
            assert!(cache.load("abc", Kind::Code).is_none(), "byte {index}");
        }
        for end in 0..whole.len() {
            fs::write(&path, &whole[..end]).unwrap();
            assert!(cache.load("abc", Kind::Code).is_none(), "cut at {end}");
        }
        fs::write(&path, &whole).unwrap();
        assert!(cache.load("abc", Kind::Code).is_some());
    }

    #[test]
    fn an_entry_does_not_pass_under_another_name_or_kind() {
        let scratch = Scratch::new();
        let cache = cache(&scratch);
        cache.store("abc", Kind::Code, b"code");
        fs::copy(cache.path("abc", Kind::Code), cache.path("xyz", Kind::Code)).unwrap();
        fs::copy(cache.path("abc", Kind::Code), cache.path("abc", Kind::Description)).unwrap();
        assert!(cache.load("xyz", Kind::Code).is_none());
        assert!(cache.load("abc", Kind::Description).is_none());
    }

    #[test]
    fn another_key_opens_nothing() {
        let scratch = Scratch::new();
        cache(&scratch).store("abc", Kind::Code, b"code");
        fs::remove_file(scratch.path().join("state").join(KEY_FILE)).unwrap();
        assert!(cache(&scratch).load("abc", Kind::Code).is_none());
    }

    #[test]
    fn a_key_that_others_can_read_is_refused_and_stays_as_it_is() {
        use std::os::unix::fs::PermissionsExt as _;
        let scratch = Scratch::new();
        let state = scratch.path().join("state");
        let key = user_key(&state).unwrap();
        assert_eq!(user_key(&state).unwrap(), key);
        let path = state.join(KEY_FILE);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        assert!(user_key(&state).unwrap_err().to_string().contains("open to other users"));
        assert!(Cache::open(&scratch.path().join("cache"), &state).is_err());
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o640);
    }

    #[test]
    fn the_directory_is_closed_to_others() {
        use std::os::unix::fs::PermissionsExt as _;
        let scratch = Scratch::new();
        let directory = scratch.path().join("cache");
        fs::create_dir(&directory).unwrap();
        fs::set_permissions(&directory, fs::Permissions::from_mode(0o777)).unwrap();
        drop(cache(&scratch));
        assert_eq!(fs::metadata(&directory).unwrap().permissions().mode() & 0o777, 0o700);
    }
}
