//! Questions to a person.

use super::code;
use super::decode::Decoder;
use super::expression::Reading;
use super::keys::ASK;
use super::kind::{Fields, open};
use super::tree::Node;
use super::workflow::AskWork;
use crate::expr::Names;
use crate::schema;
use serde_json::Value;

impl Decoder<'_> {
    pub(super) fn ask<'n>(
        &mut self,
        node: &'n Node,
        names: &Names<'_>,
        readings: &mut Vec<Reading<'n>>,
    ) -> Option<AskWork> {
        let fields = open(&mut self.report, node, &ASK)?;
        let prompt = fields.get("prompt").map(|node| {
            let (template, read) = self.template(node, names);
            readings.extend(read);
            template
        });
        let schema = self.json_schema(&fields, "schema");
        let choices = self.choices(&fields, schema.as_deref());
        let default = fields.get("default").map(|node| {
            self.check_answer(node, &choices, schema.as_deref());
            node.to_json()
        });
        let timeout = fields.duration("timeout").filter(|timeout| !timeout.is_zero());
        Some(AskWork { prompt: prompt?, choices, schema, default, timeout })
    }

    fn choices(&mut self, fields: &Fields<'_>, schema: Option<&Value>) -> Vec<String> {
        let mut choices: Vec<String> = Vec::new();
        for node in fields.items("choices") {
            let Some(text) = node.text() else { continue };
            if choices.iter().any(|choice| choice == text) {
                self.report.error(code::BAD_DEFAULT, node, format!("the choice `{text}` is given twice"));
            }
            self.check_answer(node, &[], schema);
            choices.push(text.to_owned());
        }
        if let Some(node) = fields.get("choices").filter(|_| choices.is_empty()) {
            self.report.error(code::EMPTY, node, "no answer is allowed").hint("list the answers, or remove `choices`");
        }
        choices
    }

    /// Reports an answer that the question does not take.
    fn check_answer(&mut self, node: &Node, choices: &[String], schema: Option<&Value>) {
        let answer = node.to_json();
        if let Some(fault) = schema.and_then(|schema| schema::compile(schema).ok()?.check(&answer).err()) {
            self.report.error(code::BAD_DEFAULT, node, format!("the answer does not fit `schema`: {fault}"));
        } else if !choices.is_empty() && !choices.iter().any(|choice| answer == *choice.as_str()) {
            let hint = node.text().and_then(|text| self.report.did_you_mean(text, choices.iter().map(AsRef::as_ref)));
            self.report.error(code::BAD_DEFAULT, node, "the default is none of the `choices`").maybe(hint);
        } else if schema.is_none() && !answer.is_string() {
            let message = format!("the answer is text, and the default is {}", node.describe());
            self.report
                .error(code::BAD_DEFAULT, node, message)
                .hint("write it in quotes, or say what the answer is: `schema`");
        }
    }
}
