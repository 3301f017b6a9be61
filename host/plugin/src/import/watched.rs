//! The file functions by which a guest names a path, told to whoever watches, and then done as WASI does them.
//!
//! It must not check or change anything: they are linked over those of WASI and call them.

use crate::instance::Guest;
use crate::tap::Outcome;
use wasmtime::component::{Linker, Resource};
use wasmtime_wasi::filesystem::{Descriptor, WasiFilesystemView as _};
use wasmtime_wasi::p2::bindings::filesystem::types;
use wasmtime_wasi::p2::bindings::filesystem::types::{
    DescriptorFlags, Host as _, HostDescriptor as _, OpenFlags, PathFlags,
};

/// The interface under the name by which WASI linked it; a test holds that it is that one.
const TYPES: &str = "wasi:filesystem/types@0.2.12";

/// Links one function over that of WASI.
macro_rules! watch {
    ($types:ident, $name:literal, $word:literal, $method:ident, |$($arg:ident: $type:ty),*| $what:expr) => {
        $types.func_wrap_async(
            concat!("[method]descriptor.", $name),
            |mut store: wasmtime::StoreContextMut<'_, Guest>, (fd, $($arg),*): (Resource<Descriptor>, $($type),*)| {
                Box::new(async move {
                    let guest = store.data_mut();
                    let begun = guest.call.begin(|| $what);
                    let mut files = guest.filesystem();
                    let answer = match files.$method(fd, $($arg),*).await {
                        Ok(answer) => Ok(answer),
                        Err(error) => Err(files.convert_error_code(error)?),
                    };
                    guest.call.end_with(begun, ("files", $word), || outcome(&answer));
                    Ok((answer,))
                })
            },
        )?;
    };
}

/// Links them over those of WASI, which must be there.
pub(crate) fn link(linker: &mut Linker<Guest>) -> wasmtime::Result<()> {
    linker.allow_shadowing(true);
    let mut types = linker.instance(TYPES)?;
    watch!(types, "open-at", "open", open_at, |follow: PathFlags,
                                               path: String,
                                               how: OpenFlags,
                                               access: DescriptorFlags| {
        opened(&path, access)
    });
    watch!(types, "stat-at", "stat", stat_at, |follow: PathFlags, path: String| path.clone());
    watch!(types, "create-directory-at", "make-directory", create_directory_at, |path: String| path.clone());
    watch!(types, "remove-directory-at", "remove-directory", remove_directory_at, |path: String| path.clone());
    watch!(types, "unlink-file-at", "remove", unlink_file_at, |path: String| path.clone());
    watch!(types, "rename-at", "rename", rename_at, |from: String, to_fd: Resource<Descriptor>, to: String| format!(
        "{from} -> {to}"
    ));
    linker.allow_shadowing(false);
    Ok(())
}

/// The path, and whether more than reading was asked for.
fn opened(path: &str, access: DescriptorFlags) -> String {
    let writes = access.contains(DescriptorFlags::WRITE);
    if writes { format!("{path} (to write)") } else { path.to_owned() }
}

fn outcome<T>(answer: &Result<T, types::ErrorCode>) -> Outcome {
    match answer {
        Ok(_) => Outcome::Answered(String::new()),
        Err(code) => Outcome::Failed(code.name().to_owned()),
    }
}
