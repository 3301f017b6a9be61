//! `[prices."PROVIDER/MODEL"]`: what models cost, in litellm's names.

use super::code::VALUE;
use super::file::File;
use super::reader::{Entry, Reader};
use super::toml_table::offset_of;
use cofferdam::core::budget::Price;
use serde_json::Value;

impl Reader<'_> {
    pub(super) fn prices(&mut self, table: Entry<'_, '_>, file: &mut File) {
        for model in self.entries(table) {
            let (name, _, value) = model;
            let path = format!("prices.{name}");
            match Price::parse(&Value::Object(self.map(model, &path))) {
                Ok(price) => file.prices.push((name.to_owned(), price)),
                Err(error) => {
                    let at = if error.key.is_empty() { path.clone() } else { format!("{path}.{}", error.key) };
                    self.find(VALUE, (offset_of(value, &error.key), &at), error.message, error.hint);
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
    fn a_price_is_read_and_a_slip_in_one_is_found_at_its_place() {
        let findings = |text: &str| -> Vec<String> {
            File::check(Path::new("c.toml"), text).err().into_iter().flatten().map(|found| found.to_string()).collect()
        };
        let good = "[prices.\"corp/small\"]\ninput_cost_per_token = 1e-7\noutput_cost_per_token = 4e-7\n";
        assert!(findings(good).is_empty(), "{:?}", findings(good));
        for (text, found) in [
            ("[prices.\"corp/small\"]\ninput_cost_per_token = 1e-7\n", "`output_cost_per_token` is missing"),
            ("[prices.x]\ninput_cost_per_tokn = 1\noutput_cost_per_token = 0\n", "c.toml:2:"),
            ("[prices.x]\ninput_cost_per_token = -1\noutput_cost_per_token = 0\n", "from 0 to 1"),
        ] {
            let there = findings(text);
            assert!(there.first().is_some_and(|first| first.contains(found)), "{there:?}");
        }
    }
}
