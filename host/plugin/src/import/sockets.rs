//! Sockets as closed doors: interpreters import them whether or not a script uses them, and nobody gets one.
//!
//! What would give a socket, or an address for a name, answers `access-denied`. So there is never a socket, and what
//! takes one cannot be reached; reaching it all the same ends the call. No code of WASI's own sockets is linked.

use crate::instance::Guest;
use wasmtime::component::{Linker, LinkerInstance, Resource, ResourceType, Val};
use wasmtime::{Error, StoreContextMut};

/// Any version of the track serves any other.
const VERSION: &str = "0.2.6";

/// What a door leads to: nothing.
struct Closed;

/// An interface: its resources with their methods, and the functions that would give one.
struct Door {
    interface: &'static str,
    resources: &'static [(&'static str, &'static [&'static str])],
    gives: &'static [&'static str],
}

const DOORS: [Door; 6] = [
    Door { interface: "network", resources: &[("network", &[])], gives: &[] },
    Door {
        interface: "ip-name-lookup",
        resources: &[("resolve-address-stream", &["resolve-next-address", "subscribe"])],
        gives: &["resolve-addresses"],
    },
    Door { interface: "tcp", resources: &[("tcp-socket", &TCP)], gives: &[] },
    Door { interface: "tcp-create-socket", resources: &[], gives: &["create-tcp-socket"] },
    Door {
        interface: "udp",
        resources: &[
            ("udp-socket", &UDP),
            ("incoming-datagram-stream", &["receive", "subscribe"]),
            ("outgoing-datagram-stream", &["check-send", "send", "subscribe"]),
        ],
        gives: &[],
    },
    Door { interface: "udp-create-socket", resources: &[], gives: &["create-udp-socket"] },
];

const TCP: [&str; 28] = [
    "start-bind",
    "finish-bind",
    "start-connect",
    "finish-connect",
    "start-listen",
    "finish-listen",
    "accept",
    "local-address",
    "remote-address",
    "is-listening",
    "address-family",
    "set-listen-backlog-size",
    "keep-alive-enabled",
    "set-keep-alive-enabled",
    "keep-alive-idle-time",
    "set-keep-alive-idle-time",
    "keep-alive-interval",
    "set-keep-alive-interval",
    "keep-alive-count",
    "set-keep-alive-count",
    "hop-limit",
    "set-hop-limit",
    "receive-buffer-size",
    "set-receive-buffer-size",
    "send-buffer-size",
    "set-send-buffer-size",
    "subscribe",
    "shutdown",
];

const UDP: [&str; 13] = [
    "start-bind",
    "finish-bind",
    "stream",
    "local-address",
    "remote-address",
    "address-family",
    "unicast-hop-limit",
    "set-unicast-hop-limit",
    "receive-buffer-size",
    "set-receive-buffer-size",
    "send-buffer-size",
    "set-send-buffer-size",
    "subscribe",
];

/// Links all of them.
pub(super) fn link(linker: &mut Linker<Guest>) -> wasmtime::Result<()> {
    for door in DOORS {
        let mut instance = linker.instance(&format!("wasi:sockets/{}@{VERSION}", door.interface))?;
        for (resource, methods) in door.resources {
            instance.resource(resource, ResourceType::host::<Closed>(), |_, _| Ok(()))?;
            methods.iter().try_for_each(|method| unreachable(&mut instance, resource, method))?;
        }
        door.gives.iter().try_for_each(|function| refuses(&mut instance, function))?;
    }
    // It has no error to answer with: what it gives opens nothing.
    linker
        .instance(&format!("wasi:sockets/instance-network@{VERSION}"))?
        .func_wrap("instance-network", |_: StoreContextMut<'_, Guest>, (): ()| Ok((Resource::<Closed>::new_own(0),)))
}

fn refuses(instance: &mut LinkerInstance<'_, Guest>, function: &str) -> wasmtime::Result<()> {
    instance.func_new_async(function, |mut store, _, arguments, results| {
        Box::new(async move {
            // What was lent for the call has to be given back.
            for argument in arguments {
                if let Val::Resource(lent) = argument {
                    lent.resource_drop_async(&mut store).await?;
                }
            }
            if let Some(answer) = results.first_mut() {
                *answer = Val::Result(Err(Some(Box::new(Val::Enum("access-denied".to_owned())))));
            }
            Ok(())
        })
    })
}

fn unreachable(instance: &mut LinkerInstance<'_, Guest>, resource: &str, method: &str) -> wasmtime::Result<()> {
    let name = format!("[method]{resource}.{method}");
    instance.func_new(&name, |_, _, _, _| Err(Error::msg("there are no sockets here")))
}
