//! The manifest of an artifact and its configuration: OCI image specification 1.1, "Image Manifest Specification", and the
//! layout of Wasm artifacts, "Manifest format" and "Config format".
//!
//! It must not send anything. What others write may have more keys than these.

use crate::error::Error;
use cofferdam_core::digest::sha256_hex;
use cofferdam_core::limits;
use cofferdam_core::text::clean_to;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The type of a manifest.
pub const MANIFEST_TYPE: &str = "application/vnd.oci.image.manifest.v1+json";
/// The type of a list of manifests.
pub(crate) const INDEX_TYPE: &str = "application/vnd.oci.image.index.v1+json";
/// The type of a configuration.
pub const CONFIG_TYPE: &str = "application/vnd.wasm.config.v0+json";
/// The type of the one layer.
pub const LAYER_TYPE: &str = "application/wasm";
/// Readers of this layout want a date; the same component shall always give the same manifest.
const CREATED: &str = "1970-01-01T00:00:00Z";

/// What the configuration and the annotations say of a component.
#[derive(Clone, Debug, Default)]
pub struct Described {
    /// What it says it is: `acme/text`.
    pub id: String,
    /// Its version.
    pub version: String,
    /// Its summary.
    pub description: String,
    /// Interfaces that it wants.
    pub imports: Vec<String>,
    /// Interfaces that it offers.
    pub exports: Vec<String>,
}

/// A blob by its type, digest and size.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Descriptor {
    pub(crate) media_type: String,
    pub(crate) digest: String,
    pub(crate) size: u64,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Manifest {
    pub(crate) schema_version: u32,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(crate) media_type: String,
    pub(crate) config: Descriptor,
    pub(crate) layers: Vec<Descriptor>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) annotations: BTreeMap<String, String>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Config<'c> {
    created: &'static str,
    architecture: &'static str,
    os: &'static str,
    layer_digests: Vec<String>,
    component: Component<'c>,
}

#[derive(Serialize)]
struct Component<'c> {
    exports: &'c [String],
    imports: &'c [String],
}

/// The digest of bytes, as registries write it.
pub(crate) fn digest_of(bytes: &[u8]) -> String {
    format!("sha256:{}", sha256_hex(bytes))
}

impl Descriptor {
    /// What names these bytes.
    pub(crate) fn of(media_type: &str, bytes: &[u8]) -> Self {
        Self { media_type: media_type.to_owned(), digest: digest_of(bytes), size: bytes.len() as u64 }
    }
}

/// The configuration and the manifest of a component, as bytes.
pub(crate) fn write(component: &[u8], described: &Described) -> serde_json::Result<(Vec<u8>, Vec<u8>)> {
    let layer = Descriptor::of(LAYER_TYPE, component);
    let config = serde_json::to_vec(&Config {
        created: CREATED,
        architecture: "wasm",
        os: "wasip2",
        layer_digests: vec![layer.digest.clone()],
        component: Component { exports: &described.exports, imports: &described.imports },
    })?;
    let annotations = [
        ("org.opencontainers.image.title", &described.id),
        ("org.opencontainers.image.version", &described.version),
        ("org.opencontainers.image.description", &described.description),
    ];
    let filled = annotations.into_iter().filter(|(_, text)| !text.is_empty());
    let manifest = serde_json::to_vec(&Manifest {
        schema_version: 2,
        media_type: MANIFEST_TYPE.to_owned(),
        config: Descriptor::of(CONFIG_TYPE, &config),
        layers: vec![layer],
        annotations: filled.map(|(name, text)| (name.to_owned(), text.clone())).collect(),
    })?;
    Ok((config, manifest))
}

/// The one layer of a manifest that is a component's.
pub(crate) fn layer_of(text: &[u8], media_type: &str) -> Result<Descriptor, Error> {
    let refuse = |reason: String| Err(Error::NotWasm { reason: clean_to(&reason, 400) });
    let value: serde_json::Value = match serde_json::from_slice(text) {
        Ok(value) => value,
        Err(error) => return refuse(format!("its manifest is not JSON ({error})")),
    };
    let said = value.get("mediaType").and_then(|said| said.as_str()).unwrap_or(media_type);
    if said == INDEX_TYPE || value.get("manifests").is_some() {
        return refuse(format!("it is a list of artifacts; name one of them by its digest: {}", listed(&value)));
    }
    let manifest: Manifest = match serde_json::from_value(value) {
        Ok(manifest) => manifest,
        Err(error) => return refuse(format!("its manifest is not one of the OCI image specification ({error})")),
    };
    if manifest.schema_version != 2 || !matches!(manifest.media_type.as_str(), "" | MANIFEST_TYPE) {
        let (version, kind) = (manifest.schema_version, &manifest.media_type);
        return refuse(format!("its manifest has the version {version} and the type `{kind}`"));
    }
    if manifest.config.media_type != CONFIG_TYPE {
        let found = &manifest.config.media_type;
        return refuse(format!("its configuration has the type `{found}`, and components have `{CONFIG_TYPE}`"));
    }
    let [layer] = manifest.layers.as_slice() else {
        let kinds = manifest.layers.iter().take(limits::REGISTRY_LAYERS).map(|layer| format!("`{}`", layer.media_type));
        let kinds: Vec<String> = kinds.collect();
        return refuse(format!(
            "it has {} layers ({}), and components have one",
            manifest.layers.len(),
            kinds.join(", ")
        ));
    };
    if layer.media_type != LAYER_TYPE {
        return refuse(format!("its layer has the type `{}`, and components have `{LAYER_TYPE}`", layer.media_type));
    }
    let hex = layer.digest.strip_prefix("sha256:").unwrap_or_default();
    if hex.len() != 64 || !hex.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte)) {
        return refuse(format!("`{}` names its layer, which is not `sha256:` and 64 digits", layer.digest));
    }
    if layer.size > limits::PLUGIN_COMPONENT_BYTES as u64 {
        return Err(Error::TooLarge { what: "the component", limit: limits::PLUGIN_COMPONENT_BYTES as u64 });
    }
    Ok(layer.clone())
}

/// The digests of a list of artifacts.
fn listed(index: &serde_json::Value) -> String {
    let items = index.get("manifests").and_then(|items| items.as_array()).into_iter().flatten();
    let digests = items.filter_map(|item| item.get("digest")?.as_str()).take(4);
    let digests: Vec<&str> = digests.collect();
    if digests.is_empty() { "it names none".to_owned() } else { digests.join(", ") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn described() -> Described {
        Described {
            id: "acme/text".into(),
            version: "1.2.0".into(),
            description: "Counts".into(),
            imports: vec!["cofferdam:host/log@0.1.0".into()],
            exports: vec!["cofferdam:tool/tool@0.1.0".into()],
        }
    }

    #[test]
    fn what_is_written_is_what_is_read() {
        let (config, manifest) = write(b"component", &described()).unwrap();
        let config: Value = serde_json::from_slice(&config).unwrap();
        assert_eq!((&config["architecture"], &config["os"]), (&json!("wasm"), &json!("wasip2")));
        assert_eq!(config["layerDigests"], json!([digest_of(b"component")]));
        assert_eq!(config["component"]["exports"], json!(["cofferdam:tool/tool@0.1.0"]));
        let layer = layer_of(&manifest, MANIFEST_TYPE).unwrap();
        assert_eq!((layer.digest, layer.size), (digest_of(b"component"), 9));
        let manifest: Value = serde_json::from_slice(&manifest).unwrap();
        assert_eq!(manifest["annotations"]["org.opencontainers.image.title"], "acme/text");
        assert_eq!(write(b"component", &described()).unwrap(), write(b"component", &described()).unwrap());
    }

    #[test]
    fn what_is_no_component_is_said_to_be_what_it_is() {
        let (_, good) = write(b"component", &described()).unwrap();
        let with = |change: fn(&mut Value)| {
            let mut value: Value = serde_json::from_slice(&good).unwrap();
            change(&mut value);
            layer_of(value.to_string().as_bytes(), MANIFEST_TYPE).unwrap_err().to_string()
        };
        const IMAGE: &str = "application/vnd.oci.image.config.v1+json";
        assert!(with(|value| value["config"]["mediaType"] = IMAGE.into()).contains(IMAGE));
        assert!(with(|value| value["layers"][0]["mediaType"] = "x/tar".into()).contains("`x/tar`"));
        assert!(with(|value| value["layers"] = json!([])).contains("0 layers"));
        assert!(with(|value| value["layers"][0]["digest"] = "sha512:00".into()).contains("sha512:00"));
        assert!(
            with(|value| value["layers"][0]["digest"] = format!("sha256:{}/", "a".repeat(63)).into()).contains('/')
        );
        assert!(with(|value| value["layers"][0]["size"] = json!(1_u64 << 40)).contains("larger than"));
        assert!(with(|value| value["layers"][0]["size"] = json!(-1)).contains("not one of"));
        assert!(with(|value| value["schemaVersion"] = json!(1)).contains("version 1"));
        assert!(with(|value| value["manifests"] = json!([{"digest": "sha256:ab"}])).contains("sha256:ab"));
        for text in ["", "[]", "{}", "\u{0}"] {
            assert!(matches!(layer_of(text.as_bytes(), ""), Err(Error::NotWasm { .. })), "{text}");
        }
    }
}
