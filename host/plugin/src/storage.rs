//! A loaded plugin as a journal: records go to instances that stay up.
//!
//! Appends that come together are one group commit. An instance that crashed is replaced and given the same commits
//! again, under the same ids, so that nothing is written twice. What it answers is checked: positions that are not
//! dense, another head than there can be, a list of the wrong length are a broken contract.

mod answers;
mod split;

use crate::bindings::cofferdam::types::common::PluginError;
use crate::bindings::storage::exports::cofferdam::storage::storage::{
    CommitRequest, LeaseRequest as GuestLease, OpenInfo, RunFilter as GuestFilter,
};
use crate::bindings::storage::{StoragePlugin, StoragePluginPre};
use crate::instance::{Guest, Working};
use crate::tool::LoadedPlugin;
use crate::warm::{Opens, Warm};
use answers::{Asked, Judged, broken, refused};
use cofferdam_core::fault::Fault;
use cofferdam_core::id::RunId;
use cofferdam_core::limits;
use cofferdam_core::port::{
    Append, BlobId, BoxFuture, Journal, JournalError, Lease, LeaseRequest, Page, RunFilter, RunPage,
};
use cofferdam_core::time::Timestamp;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::oneshot;
use wasmtime::Store;

type Pre = StoragePluginPre<Guest>;

impl Opens for Pre {
    const IS_AWAITED: bool = true;
    type Opened = OpenInfo;

    fn open<'s>(
        store: &'s mut Store<Guest>,
        instance: &'s StoragePlugin,
        config: String,
    ) -> Working<'s, Result<OpenInfo, PluginError>> {
        Box::pin(async move { instance.cofferdam_storage_storage().call_open(store, &config).await })
    }
}

/// A plugin that keeps journals.
pub struct PluginStorage {
    shared: Arc<Shared>,
}

struct Shared {
    /// Writes go through the first, so that there is one order; reads through any.
    instances: Vec<Warm<Pre>>,
    info: OpenInfo,
    next: AtomicUsize,
    /// Commits that wait for the one under way.
    queue: Mutex<Vec<Waiting>>,
    turn: tokio::sync::Mutex<()>,
}

struct Waiting {
    request: CommitRequest,
    bytes: usize,
    done: oneshot::Sender<Result<u64, JournalError>>,
}

impl LoadedPlugin {
    /// The plugin as a journal, opened.
    ///
    /// # Errors
    /// When it is none, or does not open.
    pub async fn storage(&self) -> Result<PluginStorage, Fault> {
        let Some(world) = self.worlds.storage.clone() else { return Err(self.is_no("storage")) };
        let instance = || Warm::new(Arc::clone(&self.core), world.clone(), Arc::clone(&self.warm));
        let first = instance();
        let info = first.opened().await?;
        let most = info.max_concurrency.clamp(1, limits::PLUGIN_STORAGE_INSTANCES);
        let instances = std::iter::once(first).chain((1..most).map(|_| instance())).collect();
        let shared = Shared {
            instances,
            info,
            next: AtomicUsize::new(0),
            queue: Mutex::default(),
            turn: tokio::sync::Mutex::new(()),
        };
        Ok(PluginStorage { shared: Arc::new(shared) })
    }
}

impl PluginStorage {
    /// Disconnects. What was answered stays.
    pub async fn close(&self) {
        for instance in &self.shared.instances {
            instance
                .close(|store, plugin| {
                    Box::pin(async move { plugin.cofferdam_storage_storage().call_close(store).await })
                })
                .await;
        }
    }

    /// Calls any instance.
    async fn ask<T: Send + 'static, U: Send + 'static>(
        &self,
        asked: Asked<'_>,
        work: impl for<'s> FnOnce(&'s mut Store<Guest>, &'s StoragePlugin) -> Working<'s, Result<T, PluginError>>
        + Send
        + 'static,
        judge: impl FnOnce(T) -> Judged<U> + Send + 'static,
    ) -> Result<U, JournalError> {
        let index = self.shared.next.fetch_add(1, Ordering::Relaxed) % self.shared.instances.len();
        let Some(instance) = self.shared.instances.get(index) else { return Err(broken("there is no instance")) };
        instance.call(asked.function, work, judge).await.unwrap_or_else(|fault| Err(refused(&asked, &fault)))
    }

    /// An append that is more than the plugin takes at once goes as several commits, one after another: what is recorded of
    /// it when one of them fails is a prefix.
    async fn append_all(&self, append: Append) -> Result<u64, JournalError> {
        let mut head = append.expected_head;
        for request in split::commits_of(append, self.shared.most_bytes())? {
            head = self.commit(request).await?;
        }
        Ok(head)
    }

    async fn commit(&self, request: CommitRequest) -> Result<u64, JournalError> {
        if request.records.is_empty() {
            return self.head_if(&request).await;
        }
        let bytes = request.records.iter().map(|record| record.body.len()).sum();
        let (done, answer) = oneshot::channel();
        self.shared.queue().push(Waiting { request, bytes, done });
        let shared = Arc::clone(&self.shared);
        // A task of its own: whoever gives up waiting must not take the others' commits along.
        tokio::spawn(async move { shared.drain().await });
        answer.await.unwrap_or_else(|_| Err(JournalError::Unavailable("the storage plugin did not answer".to_owned())))
    }

    /// An append of nothing only compares heads.
    async fn head_if(&self, request: &CommitRequest) -> Result<u64, JournalError> {
        let run = RunId::parse(&request.run_id).map_err(|error| JournalError::Invalid(error.to_string()))?;
        let expected = request.expected_head;
        let found = match self.read_page(&run, u64::MAX, 0).await {
            Ok(page) => page.head,
            Err(JournalError::NotFound(_)) if expected == 0 => {
                return Err(JournalError::Invalid("a run begins with a record".to_owned()));
            }
            Err(JournalError::NotFound(_)) => 0,
            Err(error) => return Err(error),
        };
        if found == expected { Ok(found) } else { Err(JournalError::Conflict { expected, found }) }
    }

    async fn read_page(&self, run: &RunId, after: u64, limit: usize) -> Result<Page, JournalError> {
        let asked = Asked { function: "read", subject: run.as_str(), ..Asked::default() };
        let most = u32::try_from(limit.min(limits::JOURNAL_PAGE_RECORDS)).unwrap_or(u32::MAX);
        let (name, run) = (run.to_string(), run.clone());
        self.ask(
            asked,
            move |store, plugin| {
                Box::pin(async move { plugin.cofferdam_storage_storage().call_read(store, &name, after, most).await })
            },
            move |page| answers::page(&run, (after, most), page),
        )
        .await
    }
}

impl Shared {
    fn queue(&self) -> std::sync::MutexGuard<'_, Vec<Waiting>> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Most bytes of the records of one call.
    fn most_bytes(&self) -> u64 {
        self.info.max_commit_bytes.min(limits::STORAGE_COMMIT_BYTES)
    }

    /// Commits what waits, as one group. Others who wait find nothing left to do.
    async fn drain(&self) {
        let _turn = self.turn.lock().await;
        let group = self.next_group();
        if group.is_empty() {
            return;
        }
        let (requests, waiting): (Vec<_>, Vec<_>) =
            group.into_iter().map(|waiting| (waiting.request, waiting.done)).unzip();
        let answers = self.commit_group(&requests).await;
        for (done, answer) in waiting.into_iter().zip(answers) {
            let _ = done.send(answer);
        }
    }

    /// What waits, up to the bytes that the plugin takes at once.
    fn next_group(&self) -> Vec<Waiting> {
        let mut queue = self.queue();
        let mut bytes = 0_u64;
        let fits = |waiting: &&Waiting| {
            bytes = bytes.saturating_add(waiting.bytes as u64);
            bytes <= self.most_bytes()
        };
        let count = queue.iter().take_while(fits).count().max(1).min(queue.len());
        queue.drain(..count).collect()
    }

    async fn commit_group(&self, requests: &[CommitRequest]) -> Vec<Result<u64, JournalError>> {
        let all = |error: &JournalError| requests.iter().map(|_| Err(error.clone())).collect();
        let Some(writer) = self.instances.first() else { return all(&broken("there is no instance")) };
        let mut tries = 0;
        loop {
            tries += 1;
            let (batch, asked) = (requests.to_vec(), requests.to_vec());
            let answers = writer.call(
                "commit",
                move |store, plugin| {
                    Box::pin(async move { plugin.cofferdam_storage_storage().call_commit(store, &batch).await.map(Ok) })
                },
                move |answers| answers::heads(&asked, answers),
            );
            match answers.await {
                Ok(answers) => return answers,
                // The same commits again, under the same ids, to a fresh instance.
                Err(fault) if tries < limits::PLUGIN_STRIKES && !is_lie(&fault) => {}
                Err(fault) => return all(&JournalError::Unavailable(fault.message)),
            }
        }
    }
}

/// Whoever lied about a commit is not believed when it is asked again.
fn is_lie(fault: &Fault) -> bool {
    fault.code == "plugin_protocol"
}

impl Journal for PluginStorage {
    fn append(&self, request: Append) -> BoxFuture<'_, Result<u64, JournalError>> {
        Box::pin(self.append_all(request))
    }

    fn read<'a>(&'a self, run: &'a RunId, after: u64, limit: usize) -> BoxFuture<'a, Result<Page, JournalError>> {
        Box::pin(self.read_page(run, after, limit))
    }

    fn list(&self, filter: RunFilter) -> BoxFuture<'_, Result<RunPage, JournalError>> {
        Box::pin(async move {
            let RunFilter { workflow, statuses, cursor, limit } = filter;
            let limit = if limit == 0 { limits::JOURNAL_LIST_ROWS } else { limit.min(limits::JOURNAL_LIST_ROWS) };
            let most = u32::try_from(limit).unwrap_or(u32::MAX);
            let filter = GuestFilter { workflow, statuses };
            let asked = Asked { function: "list-runs", ..Asked::default() };
            self.ask(
                asked,
                move |store, plugin| {
                    Box::pin(async move {
                        let storage = plugin.cofferdam_storage_storage();
                        storage.call_list_runs(store, &filter, cursor.as_deref(), most).await
                    })
                },
                move |page| answers::runs(limit, page),
            )
            .await
        })
    }

    fn put_blob(&self, id: BlobId, bytes: Arc<[u8]>) -> BoxFuture<'_, Result<(), JournalError>> {
        Box::pin(async move {
            if BlobId::of(&bytes) != id {
                return Err(JournalError::Invalid("the id is not the hash of the bytes".to_owned()));
            }
            let asked = Asked { function: "put-blob", subject: id.as_str(), ..Asked::default() };
            let name = id.as_str().to_owned();
            self.ask(
                asked,
                move |store, plugin| {
                    Box::pin(
                        async move { plugin.cofferdam_storage_storage().call_put_blob(store, &name, &bytes).await },
                    )
                },
                |()| Ok(Ok(())),
            )
            .await
        })
    }

    fn get_blob<'a>(&'a self, id: &'a BlobId) -> BoxFuture<'a, Result<Arc<[u8]>, JournalError>> {
        Box::pin(async move {
            let mut bytes = Vec::new();
            loop {
                let asked = Asked { function: "get-blob", subject: id.as_str(), ..Asked::default() };
                let (name, offset) = (id.as_str().to_owned(), bytes.len() as u64);
                let (before, wanted) = (std::mem::take(&mut bytes), id.clone());
                let (so_far, is_last) = self
                    .ask(
                        asked,
                        move |store, plugin| {
                            Box::pin(async move {
                                let storage = plugin.cofferdam_storage_storage();
                                storage.call_get_blob(store, &name, offset, limits::STORAGE_BLOB_PIECE_BYTES).await
                            })
                        },
                        move |piece| answers::piece(before, piece, &wanted),
                    )
                    .await?;
                if is_last {
                    return Ok(so_far.into());
                }
                bytes = so_far;
            }
        })
    }

    fn lease(&self, request: LeaseRequest) -> BoxFuture<'_, Result<Lease, JournalError>> {
        Box::pin(async move {
            let guest = GuestLease {
                run_id: request.run.to_string(),
                owner: serde_json::to_string(&request.owner).unwrap_or_default(),
                epoch: request.epoch,
                now: millis(request.now),
                until: millis(request.now.after(request.hold)),
                owner_is_gone: request.owner_is_gone,
            };
            let asked = Asked { function: "lease", subject: request.run.as_str(), expected: request.epoch };
            self.ask(
                asked,
                move |store, plugin| {
                    Box::pin(async move { plugin.cofferdam_storage_storage().call_lease(store, &guest).await })
                },
                |state| answers::lease(&state),
            )
            .await
        })
    }

    fn delete<'a>(&'a self, run: &'a RunId) -> BoxFuture<'a, Result<(), JournalError>> {
        Box::pin(async move {
            let asked = Asked { function: "delete-run", subject: run.as_str(), ..Asked::default() };
            let name = run.to_string();
            self.ask(
                asked,
                move |store, plugin| {
                    Box::pin(async move { plugin.cofferdam_storage_storage().call_delete_run(store, &name).await })
                },
                |()| Ok(Ok(())),
            )
            .await
        })
    }
}

fn millis(at: Timestamp) -> u64 {
    u64::try_from(at.as_millis()).unwrap_or(0)
}
