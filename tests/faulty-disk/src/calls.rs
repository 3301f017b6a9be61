//! The functions of the C library that change files, with its names and meanings.
//!
//! They call the kernel by number, and what is of no interest goes there unchanged. Those that take an optional mode
//! take it always: where integers are passed in registers that makes no difference.

use crate::disk::{Disk, Place};
use crate::fault::{Kind, Verdict};
use libc::{c_char, c_int, c_long, c_uint, c_void, iovec, mode_t, off_t, size_t, ssize_t};
use std::ffi::CStr;

fn fail(error: c_int) -> c_int {
    // SAFETY: the place of this thread's error number can always be written.
    unsafe { *libc::__errno_location() = error };
    -1
}

fn number(returned: c_long) -> c_int {
    c_int::try_from(returned).unwrap_or(-1)
}

/// The number of an open file that stays the same under all its names.
fn inode(file: c_int) -> u64 {
    // SAFETY: zeros are a valid `stat`, which the call fills.
    let mut about: libc::stat = unsafe { std::mem::zeroed() };
    // SAFETY: `about` lives until the call returns.
    if unsafe { libc::fstat(file, &raw mut about) } == 0 { about.st_ino } else { 0 }
}

fn text(path: *const c_char) -> Vec<u8> {
    // SAFETY: the caller gave the path as it would to the C library.
    unsafe { CStr::from_ptr(path) }.to_bytes().to_vec()
}

/// A change of names: judged, made, noted.
fn rename_like(word: &str, paths: &[*const c_char], call: impl FnOnce() -> c_long) -> c_int {
    let inside =
        Disk::get().filter(|disk| paths.iter().any(|path| matches!(disk.place_at(*path), Some(Place::Inside(_)))));
    let Some(disk) = inside else { return number(call()) };
    let _turn = disk.turn();
    if let Verdict::Fails(error) = disk.judge(Kind::Name) {
        return fail(error);
    }
    let returned = number(call());
    if returned == 0 {
        let paths: Vec<_> = paths.iter().map(|path| text(*path)).collect();
        disk.note(&[word.as_bytes(), b" ", &paths.join(&b'\t')].concat(), b"");
    }
    returned
}

#[unsafe(no_mangle)]
extern "C" fn mkdir(path: *const c_char, mode: mode_t) -> c_int {
    // SAFETY: all goes to the kernel as it came.
    rename_like("folder", &[path], || unsafe { libc::syscall(libc::SYS_mkdirat, libc::AT_FDCWD, path, mode) })
}

#[unsafe(no_mangle)]
extern "C" fn rename(from: *const c_char, to: *const c_char) -> c_int {
    let here = libc::AT_FDCWD;
    // SAFETY: all goes to the kernel as it came.
    rename_like("rename", &[from, to], || unsafe { libc::syscall(libc::SYS_renameat2, here, from, here, to, 0) })
}

#[unsafe(no_mangle)]
extern "C" fn link(from: *const c_char, to: *const c_char) -> c_int {
    linkat(libc::AT_FDCWD, from, libc::AT_FDCWD, to, 0)
}

#[unsafe(no_mangle)]
extern "C" fn linkat(at: c_int, from: *const c_char, to_at: c_int, to: *const c_char, flags: c_int) -> c_int {
    // SAFETY: all goes to the kernel as it came.
    rename_like("link", &[from, to], || unsafe { libc::syscall(libc::SYS_linkat, at, from, to_at, to, flags) })
}

#[unsafe(no_mangle)]
extern "C" fn unlink(path: *const c_char) -> c_int {
    unlinkat(libc::AT_FDCWD, path, 0)
}

#[unsafe(no_mangle)]
extern "C" fn unlinkat(at: c_int, path: *const c_char, flags: c_int) -> c_int {
    // SAFETY: all goes to the kernel as it came.
    rename_like("unlink", &[path], || unsafe { libc::syscall(libc::SYS_unlinkat, at, path, flags) })
}

#[unsafe(no_mangle)]
extern "C" fn open(path: *const c_char, flags: c_int, mode: c_uint) -> c_int {
    openat(libc::AT_FDCWD, path, flags, mode)
}

#[unsafe(no_mangle)]
extern "C" fn open64(path: *const c_char, flags: c_int, mode: c_uint) -> c_int {
    openat(libc::AT_FDCWD, path, flags, mode)
}

#[unsafe(no_mangle)]
extern "C" fn openat64(at: c_int, path: *const c_char, flags: c_int, mode: c_uint) -> c_int {
    openat(at, path, flags, mode)
}

#[unsafe(no_mangle)]
extern "C" fn openat(at: c_int, path: *const c_char, flags: c_int, mode: c_uint) -> c_int {
    // SAFETY: all goes to the kernel as it came.
    let call = || number(unsafe { libc::syscall(libc::SYS_openat, at, path, flags, mode) });
    let Some(disk) = Disk::get() else { return call() };
    let Some(Place::Inside(place)) = disk.place_at(path) else { return call() };
    let _turn = disk.turn();
    if let Verdict::Fails(error) = disk.judge(Kind::Open) {
        return fail(error);
    }
    // SAFETY: the path is the caller's.
    let was_there = unsafe { libc::syscall(libc::SYS_faccessat, at, path, libc::F_OK) } == 0;
    let file = call();
    if file >= 0 && flags & libc::O_CREAT != 0 && !was_there {
        disk.note(&[format!("make {} ", inode(file)).as_bytes(), &place].concat(), b"");
    } else if file >= 0 && flags & libc::O_TRUNC != 0 {
        disk.note(format!("length {} 0", inode(file)).as_bytes(), b"");
    }
    file
}

/// Where in a file something is written.
enum At {
    /// Where the last write ended.
    Cursor,
    Offset(off_t),
}

/// A write, as those below.
fn write_like(file: c_int, bytes: &[u8], at: &At) -> ssize_t {
    let call = |bytes: &[u8]| {
        // SAFETY: the bytes live until the call returns.
        let returned = unsafe {
            match at {
                At::Cursor => libc::syscall(libc::SYS_write, file, bytes.as_ptr(), bytes.len()),
                At::Offset(offset) => libc::syscall(libc::SYS_pwrite64, file, bytes.as_ptr(), bytes.len(), *offset),
            }
        };
        ssize_t::try_from(returned).unwrap_or(-1)
    };
    let Some(disk) = Disk::get() else { return call(bytes) };
    let Some(place) = disk.place_of(file) else { return call(bytes) };
    let _turn = disk.turn();
    if let Place::Marks = place {
        let written = call(bytes);
        disk.note(format!("mark {}", bytes.len()).as_bytes(), bytes);
        return written;
    }
    let bytes = match disk.judge(Kind::Write) {
        Verdict::Fails(error) => return fail(error) as ssize_t,
        Verdict::Short => bytes.get(..(bytes.len() / 2).max(1)).unwrap_or(bytes),
        Verdict::Passes => bytes,
    };
    let written = call(bytes);
    if let Some(length) = usize::try_from(written).ok().filter(|length| *length > 0) {
        // SAFETY: asking where a file stands changes nothing.
        let cursor = || unsafe { libc::syscall(libc::SYS_lseek, file, 0, libc::SEEK_CUR) } - written as c_long;
        let offset = if let At::Offset(offset) = at { *offset } else { cursor() };
        let line = format!("write {} {offset} {length}", inode(file));
        disk.note(line.as_bytes(), bytes.get(..length).unwrap_or_default());
    }
    written
}

/// What a caller gave to be written.
///
/// # Safety
///
/// As for `write`.
unsafe fn given<'a>(bytes: *const c_void, length: size_t) -> &'a [u8] {
    // SAFETY: the caller says so; a length of 0 may come with any pointer.
    if length == 0 { &[] } else { unsafe { std::slice::from_raw_parts(bytes.cast(), length) } }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn write(file: c_int, bytes: *const c_void, length: size_t) -> ssize_t {
    // SAFETY: as for the C library's.
    write_like(file, unsafe { given(bytes, length) }, &At::Cursor)
}

#[unsafe(no_mangle)]
unsafe extern "C" fn pwrite(file: c_int, bytes: *const c_void, length: size_t, offset: off_t) -> ssize_t {
    // SAFETY: as for the C library's.
    write_like(file, unsafe { given(bytes, length) }, &At::Offset(offset))
}

#[unsafe(no_mangle)]
unsafe extern "C" fn pwrite64(file: c_int, bytes: *const c_void, length: size_t, offset: off_t) -> ssize_t {
    // SAFETY: as for the C library's.
    write_like(file, unsafe { given(bytes, length) }, &At::Offset(offset))
}

#[unsafe(no_mangle)]
unsafe extern "C" fn writev(file: c_int, parts: *const iovec, count: c_int) -> ssize_t {
    if Disk::get().is_none_or(|disk| disk.place_of(file).is_none()) {
        // SAFETY: all goes to the kernel as it came.
        let returned = unsafe { libc::syscall(libc::SYS_writev, file, parts, count) };
        return ssize_t::try_from(returned).unwrap_or(-1);
    }
    // SAFETY: as for the C library's.
    let parts = unsafe { std::slice::from_raw_parts(parts, usize::try_from(count).unwrap_or(0)) };
    // SAFETY: likewise.
    let bytes: Vec<u8> = parts.iter().flat_map(|part| unsafe { given(part.iov_base, part.iov_len) }).copied().collect();
    write_like(file, &bytes, &At::Cursor)
}

#[unsafe(no_mangle)]
extern "C" fn ftruncate64(file: c_int, length: off_t) -> c_int {
    ftruncate(file, length)
}

#[unsafe(no_mangle)]
extern "C" fn ftruncate(file: c_int, length: off_t) -> c_int {
    // SAFETY: all goes to the kernel as it came.
    let call = || number(unsafe { libc::syscall(libc::SYS_ftruncate, file, length) });
    let Some(disk) = Disk::get().filter(|disk| matches!(disk.place_of(file), Some(Place::Inside(_)))) else {
        return call();
    };
    let _turn = disk.turn();
    if let Verdict::Fails(error) = disk.judge(Kind::Truncate) {
        return fail(error);
    }
    let returned = call();
    if returned == 0 {
        disk.note(format!("length {} {length}", inode(file)).as_bytes(), b"");
    }
    returned
}

/// A flush. It never reaches the kernel: who asks for this layer tears no plug.
fn flush(file: c_int, otherwise: c_long) -> c_int {
    let Some(disk) = Disk::get() else {
        // SAFETY: all goes to the kernel as it came.
        return number(unsafe { libc::syscall(otherwise, file) });
    };
    let Some(Place::Inside(place)) = disk.place_of(file) else {
        // SAFETY: likewise.
        return number(unsafe { libc::syscall(otherwise, file) });
    };
    disk.wait();
    let _turn = disk.turn();
    if let Verdict::Fails(error) = disk.judge(Kind::Sync) {
        return fail(error);
    }
    disk.note(&[format!("sync {} ", inode(file)).as_bytes(), &place].concat(), b"");
    0
}

#[unsafe(no_mangle)]
extern "C" fn fsync(file: c_int) -> c_int {
    flush(file, libc::SYS_fsync)
}

#[unsafe(no_mangle)]
extern "C" fn fdatasync(file: c_int) -> c_int {
    flush(file, libc::SYS_fdatasync)
}
