//! Reading pages of a run, and remembering where they ended: the next page begins there.
//!
//! It must not leave a record out.

use super::fault::refused;
use super::lock::{self, Kind};
use super::places::Places;
use super::scan::{Mark, Scan};
use super::tail;
use cofferdam_core::id::RunId;
use cofferdam_core::limits;
use cofferdam_core::port::{JournalError, Page};
use cofferdam_core::record;
use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::sync::Arc;

/// Where pages of runs ended.
#[derive(Default)]
pub(super) struct Reader {
    /// By run: the number of its file, and the place.
    marks: HashMap<RunId, (u64, Mark)>,
}

/// Which records are asked for.
#[derive(Clone, Copy)]
struct Wanted {
    after: u64,
    limit: usize,
}

impl Reader {
    /// Records of a run after a position.
    pub(super) fn read(
        &mut self,
        places: &Places,
        run: &RunId,
        after: u64,
        limit: usize,
    ) -> Result<Page, JournalError> {
        let path = places.run(run);
        let fault = |error: io::Error| refused(&path, &error);
        let file = match File::open(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(JournalError::NotFound(run.to_string()));
            }
            file => Arc::new(file.map_err(fault)?),
        };
        let number = file.metadata().map_err(fault)?.ino();
        let wanted = Wanted { after, limit: limit.min(limits::JOURNAL_PAGE_RECORDS) };
        let mark = self.marks.get(run).filter(|(of, mark)| *of == number && mark.position <= after.saturating_add(1));
        let mark = mark.map_or(Mark::default(), |(_, mark)| *mark);
        let (page, mark) = match page(run, &path, &file, wanted, mark) {
            // Without a lock a writer may have been seen at its work, and a place may be one of an earlier file.
            Err(JournalError::Damaged { .. }) => {
                let _lock = lock::take(&file, Kind::Shared).map_err(fault)?;
                page(run, &path, &file, wanted, Mark::default())?
            }
            page => page?,
        };
        if self.marks.len() >= limits::FILE_STORE_OPEN {
            self.marks.clear();
        }
        self.marks.insert(run.clone(), (number, mark));
        Ok(page)
    }
}

fn page(run: &RunId, path: &Path, file: &File, wanted: Wanted, mark: Mark) -> Result<(Page, Mark), JournalError> {
    let end = tail::find(run, path, file)?;
    if end.head == 0 {
        return Err(JournalError::NotFound(run.to_string()));
    }
    let Wanted { after, limit } = wanted;
    let last = after.saturating_add(limit as u64).min(end.head);
    let mut page = Page { first: after.saturating_add(1), records: Vec::new(), head: end.head };
    if last <= after {
        return Ok((page, mark));
    }
    let mut scan = Scan::new(run, path, file, mark, end.bytes);
    scan.skip_to(after)?;
    while scan.mark().position <= last {
        let position = scan.mark().position;
        let record = scan.next_record()?.ok_or_else(|| record::damaged(run, position, "it is missing"))?;
        page.records.push(record);
    }
    let mark = scan.mark();
    if last == end.head && scan.next_record()?.is_some() {
        return Err(record::damaged(run, mark.position, "it lies behind the head of the run"));
    }
    Ok((page, mark))
}
