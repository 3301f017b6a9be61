//! Rust types and traits of the WIT contract, generated from `wit/`.
//!
//! These are boundary types: nothing above `import` and `adapter` may see them.

wasmtime::component::bindgen!({
    path: ["../../wit/types", "../../wit/host", "../../wit/plugin", "../../wit/tool"],
    inline: "
        package cofferdam:served;

        /// Everything that this host serves to a tool plugin.
        world served {
            include cofferdam:tool/tool-plugin@0.1.0;
            import cofferdam:host/secrets-reveal@0.1.0;
        }
    ",
    world: "cofferdam:served/served",
    imports: {
        "cofferdam:host/http.fetch": async | trappable,
        "cofferdam:host/http.fetch-many": async | trappable,
        "cofferdam:host/kv.get-many": async | trappable,
        "cofferdam:host/kv.commit": async | trappable,
        "cofferdam:host/kv.scan": async | trappable,
        "cofferdam:host/secrets-reveal.reveal": async | trappable,
        "cofferdam:host/tools.invoke": async | trappable,
        "cofferdam:host/blobs.size": async | trappable,
        "cofferdam:host/blobs.read": async | trappable,
        "cofferdam:host/blobs.[static]writer.finish": async | trappable,
        default: trappable,
    },
    exports: { default: async },
    require_store_data_send: true,
});
