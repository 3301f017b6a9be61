//! What is said where no recording is left: how near the nearest is, and where it differs.
//!
//! It must not look at more recordings than its bound.

use super::difference::{Comparison, compare};
use super::index::Entry;
use super::question::Question;
use super::shelf::Shelf;
use crate::kind::Kind;
use cofferdam_core::fault::Fault;
use serde_json::json;
use std::collections::BTreeSet;

/// Recordings that are compared. A long run has thousands, and each is a file.
const COMPARED: usize = 512;
/// Models that are named.
const NAMED: usize = 8;

/// Every recording of this request was given.
pub(super) fn used_up(question: &Question, count: usize, place: &str) -> Fault {
    let used = match count {
        1 => "the one recording of this request is".to_owned(),
        count => format!("all {count} recordings of this request are"),
    };
    let message = format!("{used} used up: `{}` is asked more often than in `{place}`", question.whom());
    told(question, message, place)
}

/// No recording is of this request.
pub(super) fn not_recorded(question: &Question, entries: &[Entry], shelf: &dyn Shelf) -> Fault {
    let place = shelf.place();
    let whom = question.whom();
    let alike: Vec<&Entry> =
        entries.iter().filter(|entry| entry.api == question.api && entry.model == question.model).collect();
    if alike.is_empty() {
        let message = format!("nothing was recorded of model `{whom}` in `{place}`, only of {}", models(entries));
        return told(question, message, &place);
    }
    let nearest = alike.iter().take(COMPARED).filter_map(|entry| {
        let page = super::read(shelf, &entry.name).ok()?;
        let found = compare((&page.path, &page.request), (&question.path, &question.body));
        Some((*entry, found))
    });
    let message = format!("this request to model `{whom}` was not recorded in `{place}`");
    let Some((entry, found)) = nearest.min_by_key(|(_, found)| found.distance()) else {
        return told(question, message, &place);
    };
    let file = shelf.path(&entry.name);
    let fault = told(question, format!("{message}; the nearest is `{file}`: {}", differing(&found)), &place);
    fault.with_detail(json!({
        "provider": question.provider,
        "model": question.model,
        "nearest": file,
        "differs_at": found.first.map(|first| first.at),
        "differences": found.differences,
    }))
}

fn told(question: &Question, message: String, place: &str) -> Fault {
    let hint = format!("record again with `--record {place}`, into an empty folder");
    let detail = json!({ "provider": question.provider, "model": question.model });
    Kind::NotRecorded.fault(message).with_hint(hint).with_detail(detail)
}

fn differing(found: &Comparison) -> String {
    match &found.first {
        Some(first) => first.to_string(),
        None => "its request was changed by hand, or differs beyond what is compared".to_owned(),
    }
}

/// The models that were recorded.
fn models(entries: &[Entry]) -> String {
    let all: BTreeSet<String> = entries.iter().map(|entry| format!("`{}`", entry.whom())).collect();
    let named: Vec<&str> = all.iter().take(NAMED).map(String::as_str).collect();
    let more = if all.len() > NAMED { ", …" } else { "" };
    format!("{}{more}", named.join(", "))
}
