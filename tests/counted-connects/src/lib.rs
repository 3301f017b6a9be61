//! A layer between a process of the tests and the network, loaded with `LD_PRELOAD`: each address that the process
//! connects to, or sends a packet to, is one line of the file that `COUNTED_CONNECTS` names. Sockets of this machine's file system are
//! not of the network, and are left out.
//!
//! It must not change what happens, nor call a function of the C library that it replaces.

#![cfg(target_os = "linux")]
#![expect(unsafe_code, reason = "it stands where the C library's functions are, and is given what they are given")]

use libc::{c_int, c_long, c_void, sockaddr, socklen_t, ssize_t};
use std::fs::OpenOptions;
use std::io::Write as _;

/// Adds a line for an address of the network.
fn note(call: &str, address: *const sockaddr) {
    if address.is_null() {
        return;
    }
    // SAFETY: every address begins with its family.
    let family = c_int::from(unsafe { (*address).sa_family });
    if !matches!(family, libc::AF_INET | libc::AF_INET6) {
        return;
    }
    let Some(path) = std::env::var_os("COUNTED_CONNECTS") else { return };
    // A line that cannot be written would be a connect that nobody counts.
    let file = OpenOptions::new().append(true).create(true).open(path);
    let mut file = file.expect("the file of connects can be written");
    writeln!(file, "{call} {family}").expect("the file of connects can be written");
}

#[unsafe(no_mangle)]
extern "C" fn connect(socket: c_int, address: *const sockaddr, length: socklen_t) -> c_int {
    note("connect", address);
    // SAFETY: all goes to the kernel as it came.
    let returned: c_long = unsafe { libc::syscall(libc::SYS_connect, socket, address, length) };
    c_int::try_from(returned).unwrap_or(-1)
}

#[unsafe(no_mangle)]
extern "C" fn sendto(
    socket: c_int,
    bytes: *const c_void,
    count: usize,
    flags: c_int,
    address: *const sockaddr,
    length: socklen_t,
) -> ssize_t {
    note("sendto", address);
    // SAFETY: all goes to the kernel as it came.
    let returned: c_long = unsafe { libc::syscall(libc::SYS_sendto, socket, bytes, count, flags, address, length) };
    ssize_t::try_from(returned).unwrap_or(-1)
}
