//! Answers of providers as they came, kept in files and given again without any network.
//!
//! It must not read or write files by itself (a [`Shelf`] does), must not let a key into one, and must never ask a provider
//! where it replays. Pieces of an answer come again as they were cut and as fast as they are read; the time between them
//! is not kept.
//!
//! In reading order: `question` says when two requests are equal, `page` how one is written down, `recorder` when,
//! `pieces` what is left out, `end` how answers end; `index` says which recording is next, `difference` and `miss`
//! what is told where there is none.

mod difference;
mod end;
mod error;
mod index;
mod miss;
mod page;
mod pieces;
mod question;
mod recorder;
mod shelf;

pub use error::TapeError;
pub(crate) use question::Question;
pub(crate) use recorder::Recorder;
pub use shelf::{Draft, Shelf, ShelfError};

use crate::provider::Provider;
use bytes::Bytes;
use cofferdam_core::fault::Fault;
use cofferdam_core::limits::MODEL_RESPONSE_BYTES;
use cofferdam_egress::{EgressError, HeaderMap, HeaderName, HeaderValue, StreamingResponse};
use futures_util::stream;
use index::{Entry, Found, Index};
use page::{Odd, Page};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// Recordings of a folder that are replayed. More would be a folder of something else, and each is read at the start.
const RECORDINGS: usize = 100_000;
/// A file of a recording, in bytes. The largest answer has this size where each of its bytes is written as six.
const FILE_BYTES: usize = 8 * MODEL_RESPONSE_BYTES;
/// Names that are tried for one recording. Each that is taken is one of another process that records at the same moment.
const NAMES: usize = 10_000;
/// Characters of a provider's name that stand in the name of a file.
const NAME_CHARS: usize = 40;
/// Characters of a key that do.
const KEY_CHARS: usize = 12;
/// How the names of recordings end.
const SUFFIX: &str = ".json";

/// Recordings that are being made, or are given in place of a provider's answers.
///
/// Made recordings are added to those that are there. Equal requests get theirs in the order in which they were recorded,
/// whoever asks; so a request that was refused and tried again is refused and tried again. What a person would have
/// waited for is not waited for.
pub struct Tape {
    shelf: Arc<dyn Shelf>,
    way: Way,
    found: usize,
    lost: Mutex<Option<TapeError>>,
}

enum Way {
    /// The number of the next recording.
    Record(AtomicU64),
    Replay(Mutex<Index>),
}

/// A recording that nobody asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unused {
    /// Its file.
    pub path: String,
    /// `provider/model`.
    pub model: String,
}

impl std::fmt::Debug for Tape {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let verb = if self.replays() { "replay" } else { "record" };
        write!(f, "Tape({verb} {})", self.shelf.place())
    }
}

impl Tape {
    /// Records requests and their answers, after those that are there.
    ///
    /// # Errors
    /// When the place cannot be read.
    pub fn record(shelf: Arc<dyn Shelf>) -> Result<Self, TapeError> {
        let names = names(&*shelf)?;
        let next = names.iter().filter_map(|name| number(name)).max().map_or(1, |last| last.saturating_add(1));
        Ok(Self { way: Way::Record(AtomicU64::new(next)), found: names.len(), shelf, lost: Mutex::default() })
    }

    /// Answers requests with what was recorded. Every recording is read once now; what is added later is not seen.
    ///
    /// # Errors
    /// When there is none, or one of them cannot be read.
    pub fn replay(shelf: Arc<dyn Shelf>) -> Result<Self, TapeError> {
        let names = names(&*shelf)?;
        if names.is_empty() {
            return Err(TapeError::Empty { place: shelf.place() });
        }
        let entry = |name: String| {
            let Page { key, api, provider, model, .. } = read(&*shelf, &name)?;
            Ok(Entry { name, key, api, provider, model })
        };
        let entries = names.into_iter().map(entry).collect::<Result<Vec<_>, TapeError>>()?;
        let found = entries.len();
        Ok(Self { way: Way::Replay(Mutex::new(Index::of(entries))), found, shelf, lost: Mutex::default() })
    }

    /// Whether it answers in the place of providers.
    #[must_use]
    pub fn replays(&self) -> bool {
        matches!(self.way, Way::Replay(_))
    }

    /// Where its recordings are, for people.
    #[must_use]
    pub fn place(&self) -> String {
        self.shelf.place()
    }

    /// How many recordings there were at the start. Recording goes on behind them, and a replay gives them first.
    #[must_use]
    pub fn found(&self) -> usize {
        self.found
    }

    /// The recordings that nobody has asked for so far, in their order.
    #[must_use]
    pub fn unused(&self) -> Vec<Unused> {
        let Way::Replay(index) = &self.way else {
            return Vec::new();
        };
        let index = index.lock().unwrap_or_else(PoisonError::into_inner);
        let unused = index.unused().into_iter();
        unused.map(|entry| Unused { path: self.shelf.path(&entry.name), model: entry.whom() }).collect()
    }

    /// Why answers were not recorded, if some were not: the first reason, once. The run went on without.
    pub fn take_trouble(&self) -> Option<TapeError> {
        self.lost.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// The first model of a provider that was recorded.
    pub(crate) fn model_of(&self, provider: &str) -> Option<String> {
        let Way::Replay(index) = &self.way else {
            return None;
        };
        let index = index.lock().unwrap_or_else(PoisonError::into_inner);
        index.entries().iter().find(|entry| entry.provider == provider).map(Entry::whom)
    }

    /// Begins the recording of a request that is about to be sent with these headers.
    ///
    /// # Errors
    /// When nothing can be written, which is told before anything is spent.
    pub(crate) fn begin(
        self: &Arc<Self>,
        question: &Question,
        provider: &Provider,
        sent: &HeaderMap,
    ) -> Result<Recorder, Fault> {
        let Way::Record(next) = &self.way else {
            return Err(Fault::bug("a request is sent although recordings are replayed"));
        };
        let shown =
            |name: &str| name.chars().map(|char| if is_plain(char) { char } else { '_' }).take(NAME_CHARS).collect();
        let (whom, key): (String, String) = (shown(&provider.name), question.key.chars().take(KEY_CHARS).collect());
        for _ in 0..NAMES {
            let name = format!("{:06}-{whom}-{key}{SUFFIX}", next.fetch_add(1, Ordering::Relaxed));
            match self.shelf.begin(&name) {
                Ok(Some(draft)) => return Ok(Recorder::new(Arc::clone(self), draft, question.clone(), provider, sent)),
                Ok(None) => {}
                Err(error) => return Err(TapeError::from(error).fault()),
            }
        }
        Err(TapeError::TooMany { place: self.shelf.place(), limit: RECORDINGS }.fault())
    }

    /// The recorded answer to a request, or how it failed to come.
    ///
    /// # Errors
    /// When none was recorded, or all were given.
    pub(crate) fn answer(&self, question: &Question) -> Result<Result<StreamingResponse, EgressError>, Fault> {
        let Way::Replay(index) = &self.way else {
            return Err(Fault::bug("a recording is asked for although requests are recorded"));
        };
        let found = index.lock().unwrap_or_else(PoisonError::into_inner).take(&question.key);
        let name = match found {
            Found::Next(name) => name,
            Found::UsedUp(count) => return Err(miss::used_up(question, count, &self.place())),
            Found::Nothing => {
                let entries = index.lock().unwrap_or_else(PoisonError::into_inner).entries().to_vec();
                return Err(miss::not_recorded(question, &entries, &*self.shelf));
            }
        };
        let page = read(&*self.shelf, &name).map_err(|error| error.fault())?;
        Ok(played(page, &self.shelf.path(&name)))
    }

    /// A recording was given up.
    pub(super) fn lose(&self, error: ShelfError) {
        let error = TapeError::from(error);
        tracing::warn!("an answer is not recorded: {}", error.line());
        self.lost.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
    }
}

impl Entry {
    fn whom(&self) -> String {
        format!("{}/{}", self.provider, self.model)
    }
}

/// What was recorded, as it comes from the network.
fn played(page: Page, path: &str) -> Result<StreamingResponse, EgressError> {
    let end = page.end.error(path);
    let Some(status) = page.status else {
        let nothing = || EgressError::Protocol { host: path.to_owned(), reason: "nothing was recorded".to_owned() };
        return Err(end.unwrap_or_else(nothing));
    };
    let headers = page.headers.iter().filter_map(|(name, value)| {
        Some((HeaderName::from_bytes(name.as_bytes()).ok()?, HeaderValue::from_str(value).ok()?))
    });
    let headers: HeaderMap = headers.collect();
    // That they are bytes was seen when the file was read.
    let pieces = page.body.into_iter().map(|piece| Ok(Bytes::from(piece.bytes().unwrap_or_default())));
    let body = Box::pin(stream::iter(pieces.chain(end.map(Err))));
    Ok(StreamingResponse { status, headers, origin: path.to_owned(), body })
}

/// The names of recordings, in the order in which they were made.
fn names(shelf: &dyn Shelf) -> Result<Vec<String>, TapeError> {
    let mut names: Vec<String> = shelf.list()?.into_iter().filter(|name| name.ends_with(SUFFIX)).collect();
    if names.len() > RECORDINGS {
        return Err(TapeError::TooMany { place: shelf.place(), limit: RECORDINGS });
    }
    names.sort_by(|one, other| (number(one), one).cmp(&(number(other), other)));
    Ok(names)
}

/// The number that a name begins with.
fn number(name: &str) -> Option<u64> {
    name.split_once('-')?.0.parse().ok()
}

fn read(shelf: &dyn Shelf, name: &str) -> Result<Page, TapeError> {
    let path = || shelf.path(name);
    Page::parse(&shelf.read(name, FILE_BYTES)?).map_err(|odd| match odd {
        Odd::Version(version) => TapeError::Version { path: path(), version, known: page::VERSION },
        Odd::Unreadable(reason) => TapeError::Unreadable { path: path(), reason },
    })
}

fn is_plain(char: char) -> bool {
    char.is_ascii_alphanumeric() || matches!(char, '-' | '_' | '.')
}
