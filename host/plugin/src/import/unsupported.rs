//! Interfaces of the contract that this version of the host does not serve yet: they link, and answer so.
//!
//! A plugin that has another way can take it; nothing here pretends to have worked.

use super::refuse;
use crate::bindings::cofferdam::host::blobs::{self, Writer};
use crate::bindings::cofferdam::host::kv::{self, Entry, Page, Write};
use crate::bindings::cofferdam::host::{secrets, secrets_reveal, tools};
use crate::bindings::cofferdam::types::common::{ErrorKind, Payload, PluginError};
use crate::instance::Guest;
use wasmtime::component::Resource;

type Answer<T> = wasmtime::Result<Result<T, PluginError>>;

fn unsupported<T>(interface: &str) -> Answer<T> {
    let message = format!("`cofferdam:host/{interface}` is not served by this version of Cofferdam");
    Ok(Err(refuse(ErrorKind::Unsupported, message)))
}

impl kv::Host for Guest {
    fn get_many(&mut self, _keys: Vec<String>) -> Answer<Vec<Option<Entry>>> {
        unsupported("kv")
    }

    fn commit(&mut self, _writes: Vec<Write>) -> Answer<Vec<u64>> {
        unsupported("kv")
    }

    fn scan(&mut self, _prefix: String, _cursor: Option<String>, _limit: u32) -> Answer<Page> {
        unsupported("kv")
    }
}

impl secrets::Host for Guest {
    fn exists(&mut self, _name: String) -> wasmtime::Result<bool> {
        Ok(false)
    }

    fn placeholder(&mut self, _name: String) -> Answer<String> {
        unsupported("secrets")
    }
}

impl secrets_reveal::Host for Guest {
    fn reveal(&mut self, _name: String) -> Answer<Vec<u8>> {
        unsupported("secrets-reveal")
    }
}

impl tools::Host for Guest {
    fn invoke(&mut self, _name: String, _args: String) -> Answer<Payload> {
        unsupported("tools")
    }
}

impl blobs::Host for Guest {
    fn size(&mut self, _blob: String) -> Answer<u64> {
        unsupported("blobs")
    }

    fn read(&mut self, _blob: String, _offset: u64, _len: u32) -> Answer<Vec<u8>> {
        unsupported("blobs")
    }
}

impl blobs::HostWriter for Guest {
    fn new(&mut self, _content_type: Option<String>) -> wasmtime::Result<Resource<Writer>> {
        // The constructor has no error to give; the first `append` says it.
        Ok(Resource::new_own(0))
    }

    fn append(&mut self, _writer: Resource<Writer>, _data: Vec<u8>) -> Answer<()> {
        unsupported("blobs")
    }

    fn finish(&mut self, _writer: Resource<Writer>) -> Answer<String> {
        unsupported("blobs")
    }

    fn drop(&mut self, _writer: Resource<Writer>) -> wasmtime::Result<()> {
        Ok(())
    }
}
