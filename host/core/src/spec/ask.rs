//! Questions to a person.

use super::code;
use super::decode::Decoder;
use super::expression::Reading;
use super::keys::ASK;
use super::kind::{Fields, open};
use super::tree::Node;
use super::workflow::AskWork;
use crate::expr::Names;
use crate::schema::{self, Checker};
use std::collections::BTreeSet;

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
        let checker = schema.as_deref().and_then(|schema| schema::compile(schema).ok());
        let choices = self.choices(&fields, checker.as_ref());
        let default = fields.get("default").map(|node| {
            self.check_answer(node, checker.as_ref());
            self.check_choice(node, &choices);
            node.to_json()
        });
        let timeout = fields.duration("timeout").filter(|timeout| !timeout.is_zero());
        Some(AskWork { prompt: prompt?, choices, schema, default, timeout })
    }

    fn choices(&mut self, fields: &Fields<'_>, checker: Option<&Checker>) -> Vec<String> {
        let mut known: BTreeSet<&str> = BTreeSet::new();
        let mut choices: Vec<String> = Vec::new();
        for node in fields.items("choices") {
            let Some(text) = node.text() else { continue };
            if !known.insert(text) {
                self.report.error(code::BAD_DEFAULT, node, format!("the choice `{text}` is given twice"));
            }
            self.check_answer(node, checker);
            choices.push(text.to_owned());
        }
        if let Some(node) = fields.get("choices").filter(|_| choices.is_empty()) {
            self.report.error(code::EMPTY, node, "no answer is allowed").hint("list the answers, or remove `choices`");
        }
        choices
    }

    /// Reports an answer that is not what the question takes: what fits its schema, else text.
    fn check_answer(&mut self, node: &Node, checker: Option<&Checker>) {
        let Some(checker) = checker else {
            if node.text().is_none() {
                let message = format!("the answer is text, and the default is {}", node.describe());
                self.report
                    .error(code::BAD_DEFAULT, node, message)
                    .hint("write it in quotes, or say what the answer is: `schema`");
            }
            return;
        };
        if let Err(fault) = checker.check(&node.to_json()) {
            self.report.error(code::BAD_DEFAULT, node, format!("the answer does not fit `schema`: {fault}"));
        }
    }

    fn check_choice(&mut self, node: &Node, choices: &[String]) {
        let Some(text) = node.text().filter(|_| !choices.is_empty()) else { return };
        if !choices.iter().any(|choice| choice == text) {
            let hint = self.report.did_you_mean(text, choices.iter().map(AsRef::as_ref));
            self.report.error(code::BAD_DEFAULT, node, "the default is none of the `choices`").maybe(hint);
        }
    }
}
