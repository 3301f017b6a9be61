//! A layer between a process of the tests and its disk, loaded with `LD_PRELOAD`: what the process does to files below
//! one folder is noted in a trace, in order, and can be made to fail or to take long. Nothing is flushed in earnest.
//!
//! ```text
//! FAULTY_DISK        the folder
//! FAULTY_DISK_TRACE  the file that the trace is added to
//! FAULTY_DISK_MARKS  a file beside the folder: what is written there stands in the trace too, and never fails
//! FAULTY_DISK_FAULT  KIND:NUMBER:HOW:once or KIND:NUMBER:HOW:lasting, see `fault`
//! FAULTY_DISK_SLOW   how many milliseconds a flush takes
//! ```
//!
//! It must not know who writes there, nor call a function of the C library that it replaces.

#![cfg(target_os = "linux")]
#![expect(unsafe_code, reason = "it stands where the C library's functions are, and is given what they are given")]

mod calls;
mod disk;
mod fault;
