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

/// The world of transforms; what both worlds share are the same types.
pub(crate) mod transform {
    wasmtime::component::bindgen!({
        path: ["../../wit/types", "../../wit/host", "../../wit/plugin", "../../wit/transform"],
        world: "cofferdam:transform/transform-plugin",
        with: {
            "cofferdam:types/common": crate::bindings::cofferdam::types::common,
            "cofferdam:host/log": crate::bindings::cofferdam::host::log,
            "cofferdam:host/config": crate::bindings::cofferdam::host::config,
        },
        imports: { default: trappable },
        exports: { default: async },
        require_store_data_send: true,
    });
}

/// The world of conditions.
pub(crate) mod condition {
    wasmtime::component::bindgen!({
        path: ["../../wit/types", "../../wit/host", "../../wit/plugin", "../../wit/transform"],
        world: "cofferdam:transform/condition-plugin",
        with: {
            "cofferdam:types/common": crate::bindings::cofferdam::types::common,
            "cofferdam:host/log": crate::bindings::cofferdam::host::log,
            "cofferdam:host/config": crate::bindings::cofferdam::host::config,
        },
        imports: { default: trappable },
        exports: { default: async },
        require_store_data_send: true,
    });
}

/// The world of storage.
pub(crate) mod storage {
    wasmtime::component::bindgen!({
        path: ["../../wit/types", "../../wit/host", "../../wit/plugin", "../../wit/storage"],
        world: "cofferdam:storage/storage-plugin",
        with: {
            "cofferdam:types/common": crate::bindings::cofferdam::types::common,
            "cofferdam:host/log": crate::bindings::cofferdam::host::log,
            "cofferdam:host/secrets": crate::bindings::cofferdam::host::secrets,
            "cofferdam:host/http": crate::bindings::cofferdam::host::http,
        },
        imports: { default: trappable },
        exports: { default: async },
        require_store_data_send: true,
    });
}

/// The world of sinks.
pub(crate) mod sink {
    wasmtime::component::bindgen!({
        path: ["../../wit/types", "../../wit/host", "../../wit/plugin", "../../wit/sink"],
        world: "cofferdam:sink/sink-plugin",
        with: {
            "cofferdam:types/common": crate::bindings::cofferdam::types::common,
            "cofferdam:host/log": crate::bindings::cofferdam::host::log,
            "cofferdam:host/config": crate::bindings::cofferdam::host::config,
            "cofferdam:host/kv": crate::bindings::cofferdam::host::kv,
            "cofferdam:host/secrets": crate::bindings::cofferdam::host::secrets,
            "cofferdam:host/http": crate::bindings::cofferdam::host::http,
        },
        imports: { default: trappable },
        exports: { default: async },
        require_store_data_send: true,
    });
}

/// The world of models.
pub(crate) mod model {
    wasmtime::component::bindgen!({
        path: ["../../wit/types", "../../wit/host", "../../wit/plugin", "../../wit/model"],
        world: "cofferdam:model/model-plugin",
        with: {
            "cofferdam:types/common": crate::bindings::cofferdam::types::common,
            "cofferdam:host/log": crate::bindings::cofferdam::host::log,
            "cofferdam:host/config": crate::bindings::cofferdam::host::config,
            "cofferdam:host/secrets": crate::bindings::cofferdam::host::secrets,
            "cofferdam:host/http": crate::bindings::cofferdam::host::http,
        },
        imports: { default: trappable },
        exports: { default: async },
        require_store_data_send: true,
    });
}

/// The world of retrieval memories.
pub(crate) mod recall {
    wasmtime::component::bindgen!({
        path: ["../../wit/types", "../../wit/host", "../../wit/plugin", "../../wit/recall"],
        world: "cofferdam:recall/recall-plugin",
        with: {
            "cofferdam:types/common": crate::bindings::cofferdam::types::common,
            "cofferdam:host/log": crate::bindings::cofferdam::host::log,
            "cofferdam:host/config": crate::bindings::cofferdam::host::config,
            "cofferdam:host/kv": crate::bindings::cofferdam::host::kv,
            "cofferdam:host/secrets": crate::bindings::cofferdam::host::secrets,
            "cofferdam:host/http": crate::bindings::cofferdam::host::http,
        },
        imports: { default: trappable },
        exports: { default: async },
        require_store_data_send: true,
    });
}
