//! `[registries."HOST"]`: registries that are spoken to in another way than their host says.
//!
//! Keys do not stand here: they are of a user, and a project is shared.

use super::code::{UNKNOWN, VALUE};
use super::file::File;
use super::reader::{Entry, Reader};
use cofferdam::core::oci::Reference;
use cofferdam::core::spec::suggest::did_you_mean;

impl Reader<'_> {
    pub(super) fn registries(&mut self, table: Entry<'_, '_>, file: &mut File) {
        for registry in self.entries(table) {
            let host = registry.0;
            let path = format!("registries.{host}");
            if let Err(error) = Reference::parse(&format!("oci://{host}/repository:tag")) {
                let hint = Some(
                    "write the host as references do, with its port: `[registries.\"localhost:5000\"]`".to_owned(),
                );
                self.find(
                    VALUE,
                    (registry.1, &path),
                    format!("`{host}` is not the host of a registry ({})", error.hint),
                    hint,
                );
                continue;
            }
            for entry in self.entries(registry) {
                match entry.0 {
                    "plain_http" | "plain-http" => {
                        let is_plain = self.switch(entry);
                        file.registries.insert(host.to_owned(), is_plain);
                    }
                    key => {
                        let near = did_you_mean(key, ["plain_http"]);
                        let hint = near.unwrap_or_else(|| {
                            "it takes `plain_http`; keys come from `--username`, the environment or docker".to_owned()
                        });
                        self.unseen(UNKNOWN, (entry.1, &path), &format!("unknown setting `{key}`"), hint);
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::settings::File;
    use std::path::Path;

    #[test]
    fn a_registry_without_tls_is_named_by_its_host() {
        let findings = |text: &str| -> Vec<String> {
            File::check(Path::new("c.toml"), text).err().into_iter().flatten().map(|found| found.to_string()).collect()
        };
        assert!(findings("[registries.\"registry.corp:5000\"]\nplain_http = true\n").is_empty());
        for (text, found) in [
            ("[registries.\"corp\"]\nplain_http = true\n", "`corp` is not the host"),
            ("[registries.\"a.io\"]\nplain_htp = true\n", "unknown setting `plain_htp`"),
            ("[registries.\"a.io\"]\npassword = \"canary\"\n", "unknown setting `password`"),
        ] {
            let found_there = findings(text);
            assert!(found_there[0].contains(found), "{found_there:?}");
            assert!(!found_there[0].contains("canary"), "{found_there:?}");
        }
    }

    #[test]
    fn what_is_no_switch_is_not_taken_for_off() {
        assert!(File::check(Path::new("c.toml"), "[registries.\"a.io\"]\nplain_http = \"no\"\n").is_err());
    }
}
