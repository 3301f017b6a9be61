//! Laws of state stores.
//!
//! It must not know what the values are for.

use super::{Law, Verdict, done, refused, same};
use cofferdam_core::port::{JournalError, Put, PutOne, Puts, Quota, State, StateEntry};
use futures_util::future::join_all;
use std::sync::Arc;

pub(super) const LAWS: &[Law<dyn State>] = &[
    Law { sentence: "what was written is read", holds: |state| Box::pin(write_and_read(state)) },
    Law { sentence: "a write with another version is a conflict", holds: |state| Box::pin(versions(state)) },
    Law { sentence: "a version never comes back", holds: |state| Box::pin(fresh_versions(state)) },
    Law { sentence: "a scan gives the keys of a prefix in order", holds: |state| Box::pin(scans(state)) },
    Law { sentence: "of racing writers exactly one wins a version", holds: |state| Box::pin(race(state)) },
    Law { sentence: "writes that belong together all happen or none", holds: |state| Box::pin(together(state)) },
    Law { sentence: "a namespace holds no more than its quota", holds: |state| Box::pin(quota(state)) },
    Law { sentence: "clearing deletes the namespaces of a prefix", holds: |state| Box::pin(clears(state)) },
    Law { sentence: "a name that is empty or too long is refused", holds: |state| Box::pin(names(state)) },
];

fn put(key: &str, value: Option<&[u8]>, expected: Option<u64>) -> Put {
    Put { namespace: "n".to_owned(), key: key.to_owned(), value: value.map(Arc::from), expected }
}

async fn write(state: &dyn State, key: &str, value: &[u8]) -> Result<u64, String> {
    done("writing", state.put_if(put(key, Some(value), None)).await)
}

async fn read(state: &dyn State, key: &str) -> Result<Option<StateEntry>, String> {
    done("reading", state.get("n", key).await)
}

async fn write_and_read(state: &dyn State) -> Verdict {
    same("a key that is not there", &read(state, "k").await?, &None)?;
    for value in [&b"one"[..], b"", b"\0\xff", &[7; 100_000]] {
        let version = write(state, "k", value).await?;
        let wanted = StateEntry { key: "k".to_owned(), value: Arc::from(value), version };
        same("the entry", &read(state, "k").await?, &Some(wanted))?;
    }
    same("another namespace", &done("reading", state.get("m", "k").await)?, &None)?;
    same("deleting gives version 0", &done("deleting", state.put_if(put("k", None, None)).await)?, &0)?;
    same("deleting what is not there", &done("deleting", state.put_if(put("k", None, None)).await)?, &0)?;
    same("a key that was deleted", &read(state, "k").await?, &None)
}

async fn versions(state: &dyn State) -> Verdict {
    let conflict = |expected, found| move |error: &JournalError| *error == JournalError::Conflict { expected, found };
    refused("version 1 of no key", state.put_if(put("k", Some(b"x"), Some(1))).await, conflict(1, 0))?;
    refused("deleting version 1 of no key", state.put_if(put("k", None, Some(1))).await, conflict(1, 0))?;
    let first = done("a new key", state.put_if(put("k", Some(b"one"), Some(0))).await)?;
    refused("a new key again", state.put_if(put("k", Some(b"x"), Some(0))).await, conflict(0, first))?;
    let second = done("the next version", state.put_if(put("k", Some(b"two"), Some(first))).await)?;
    if second <= first || first == 0 {
        return Err(format!("version {second} follows version {first}"));
    }
    refused("an old version", state.put_if(put("k", Some(b"x"), Some(first))).await, conflict(first, second))?;
    refused("deleting an old version", state.put_if(put("k", None, Some(first))).await, conflict(first, second))?;
    same("the value", &read(state, "k").await?.map(|entry| entry.value.to_vec()), &Some(b"two".to_vec()))?;
    same("deleting", &done("deleting", state.put_if(put("k", None, Some(second))).await)?, &0)
}

async fn fresh_versions(state: &dyn State) -> Verdict {
    let old = write(state, "k", b"one").await?;
    done("deleting", state.put_if(put("k", None, None)).await)?;
    let new = write(state, "k", b"two").await?;
    if new <= old { Err(format!("version {new} follows version {old}")) } else { Ok(()) }
}

async fn scans(state: &dyn State) -> Verdict {
    let keys = ["a", "a%", "a/1", "a/10", "a/2", "a/é", "a_", "ab", "b"];
    for key in keys.iter().rev() {
        write(state, key, key.as_bytes()).await?;
    }
    let other = Put { namespace: "m".to_owned(), ..put("a/3", Some(b"other"), None) };
    done("another namespace", state.put_if(other).await)?;
    let cases: [(&str, Option<&str>, usize, &[&str]); 8] = [
        ("", None, 100, &keys),
        ("a/", None, 100, &["a/1", "a/10", "a/2", "a/é"]),
        ("a/", Some("a/10"), 100, &["a/2", "a/é"]),
        ("a/", Some("a/1"), 1, &["a/10"]),
        ("a/", Some("a"), 2, &["a/1", "a/10"]),
        ("a/", Some("b"), 100, &[]),
        ("a%", None, 100, &["a%"]),
        ("z", None, 100, &[]),
    ];
    for (prefix, after, limit, wanted) in cases {
        let found = done("scanning", state.scan("n", prefix, after, limit).await)?;
        let found: Vec<_> = found.iter().map(|entry| entry.key.as_str()).collect();
        same(&format!("the keys of `{prefix}` after {after:?}"), &found, &wanted.to_vec())?;
    }
    Ok(())
}

async fn race(state: &dyn State) -> Verdict {
    let mut version = 0;
    for _ in 0..3 {
        let writers = (0..50_u8).map(|writer| state.put_if(put("k", Some(&[writer]), Some(version))));
        let won: Vec<_> = join_all(writers).await.into_iter().flatten().collect();
        same("how many won", &won.len(), &1)?;
        version = won.first().copied().unwrap_or(0);
    }
    Ok(())
}

async fn names(state: &dyn State) -> Verdict {
    let long = "k".repeat(5_000);
    for key in ["", &long] {
        refused("a key", state.put_if(put(key, Some(b"x"), None)).await, |error| {
            matches!(error, JournalError::Invalid(_))
        })?;
    }
    let nameless = Put { namespace: String::new(), ..put("k", Some(b"x"), None) };
    refused("a namespace", state.put_if(nameless).await, |error| matches!(error, JournalError::Invalid(_)))
}

/// A key, what it is to hold, and the version that must be there.
type One<'w> = (&'w str, Option<&'w [u8]>, Option<u64>);

fn puts(writes: &[One<'_>], quota: Option<Quota>) -> Puts {
    let one = |(key, value, expected): &One<'_>| PutOne {
        key: (*key).to_owned(),
        value: value.map(Arc::from),
        expected: *expected,
    };
    Puts { namespace: "n".to_owned(), writes: writes.iter().map(one).collect(), quota }
}

async fn together(state: &dyn State) -> Verdict {
    let first = [("a", Some(&b"1"[..]), Some(0)), ("b", Some(&b"2"[..]), None)];
    let versions = done("two new keys", state.put_all(puts(&first, None)).await)?;
    let [a, b] = versions[..] else { return Err(format!("{} versions for two writes", versions.len())) };
    if a == 0 || b <= a {
        return Err(format!("versions {a} and {b}"));
    }
    let torn = [("a", None, Some(a)), ("c", Some(&b"3"[..]), Some(7))];
    refused("one wrong version", state.put_all(puts(&torn, None)).await, |error| {
        *error == JournalError::Conflict { expected: 7, found: 0 }
    })?;
    same("what was to be deleted", &read(state, "a").await?.map(|entry| entry.version), &Some(a))?;
    same("what was to be new", &read(state, "c").await?, &None)?;
    let twice = [("d", Some(&b"1"[..]), None), ("d", None, None)];
    refused("a key twice", state.put_all(puts(&twice, None)).await, |error| matches!(error, JournalError::Invalid(_)))?;
    let last = [("a", None, Some(a)), ("b", Some(&b"4"[..]), Some(b))];
    let versions = done("deleting and writing", state.put_all(puts(&last, None)).await)?;
    same("a deleted one has version 0", &versions.first().copied(), &Some(0))?;
    same("none at all", &done("nothing", state.put_all(puts(&[], None)).await)?, &Vec::new())
}

async fn quota(state: &dyn State) -> Verdict {
    let full = |error: &JournalError| matches!(error, JournalError::Full(_));
    let entries = Some(Quota { prefix: "", entries: 2, bytes: 100 });
    let two = [("a", Some(&b"1"[..]), None), ("b", Some(&b"2"[..]), None)];
    done("two entries", state.put_all(puts(&two, entries)).await)?;
    refused("a third", state.put_all(puts(&[("c", Some(&b"3"[..]), None)], entries)).await, full)?;
    let swap = [("a", None, None), ("c", Some(&b"3"[..]), None)];
    done("one for another", state.put_all(puts(&swap, entries)).await)?;
    let bytes = Some(Quota { prefix: "", entries: 2, bytes: 10 });
    refused("too many bytes", state.put_all(puts(&[("b", Some(&[7; 9]), None)], bytes)).await, full)?;
    done("just as many", state.put_all(puts(&[("b", Some(&[7; 7]), None)], bytes)).await)?;
    let less = Some(Quota { prefix: "", entries: 1, bytes: 1 });
    done("less than before", state.put_all(puts(&[("b", Some(&[7; 6]), None)], less)).await)?;
    let some = Some(Quota { prefix: "e/", entries: 1, bytes: 5 });
    let both = [("e/é", Some(&b"1"[..]), None), ("other", Some(&[7; 20]), None)];
    done("what does not count", state.put_all(puts(&both, some)).await)?;
    refused("what counts", state.put_all(puts(&[("e/2", Some(&b"2"[..]), None)], some)).await, full)?;
    refused("its bytes", state.put_all(puts(&[("e/é", Some(&b"12"[..]), None)], some)).await, full)
}

async fn clears(state: &dyn State) -> Verdict {
    same("nothing there", &done("clearing", state.clear("n").await)?, &0)?;
    for namespace in ["kv/r1/a", "kv/r1/b", "kv/r10/a", "kv/r%/a", "n"] {
        let put = Put { namespace: namespace.to_owned(), ..put("k", Some(b"x"), None) };
        done("writing", state.put_if(put).await)?;
    }
    same("what was cleared", &done("clearing", state.clear("kv/r1/").await)?, &2)?;
    same("a sign of patterns", &done("clearing", state.clear("kv/r%/").await)?, &1)?;
    for (namespace, left) in [("kv/r1/a", false), ("kv/r10/a", true), ("n", true)] {
        let entry = done("reading", state.get(namespace, "k").await)?;
        same(namespace, &entry.is_some(), &left)?;
    }
    Ok(())
}
