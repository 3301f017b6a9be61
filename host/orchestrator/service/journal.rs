//! A journal that is a plugin, opened when it is first used.

use super::{Hosted, ServicePlugin};
use cofferdam_core::fault::Fault;
use cofferdam_core::id::RunId;
use cofferdam_core::port::{
    Append, BlobId, BoxFuture, Journal, JournalError, Lease, LeaseRequest, Page, RunFilter, RunPage,
};
use cofferdam_plugin::PluginStorage;
use std::sync::Arc;
use tokio::sync::OnceCell;

/// The journal of an orchestrator that keeps its runs with a plugin.
pub(crate) struct PluginJournal {
    plugin: ServicePlugin,
    host: Hosted,
    open: OnceCell<PluginStorage>,
}

impl PluginJournal {
    pub(super) fn new(plugin: ServicePlugin, host: Hosted) -> Self {
        Self { plugin, host, open: OnceCell::new() }
    }

    pub(super) fn plugin(&self) -> &ServicePlugin {
        &self.plugin
    }

    pub(crate) async fn open(&self) -> Result<&PluginStorage, Fault> {
        let open = || async { self.plugin.load(&self.host).await?.storage().await };
        self.open.get_or_try_init(open).await
    }

    pub(crate) async fn close(&self) {
        if let Some(storage) = self.open.get() {
            storage.close().await;
        }
    }

    async fn storage(&self) -> Result<&PluginStorage, JournalError> {
        self.open().await.map_err(|fault| JournalError::Unavailable(fault.message))
    }
}

impl Journal for PluginJournal {
    fn append(&self, request: Append) -> BoxFuture<'_, Result<u64, JournalError>> {
        Box::pin(async move { self.storage().await?.append(request).await })
    }

    fn read<'a>(&'a self, run: &'a RunId, after: u64, limit: usize) -> BoxFuture<'a, Result<Page, JournalError>> {
        Box::pin(async move { self.storage().await?.read(run, after, limit).await })
    }

    fn list(&self, filter: RunFilter) -> BoxFuture<'_, Result<RunPage, JournalError>> {
        Box::pin(async move { self.storage().await?.list(filter).await })
    }

    fn put_blob(&self, id: BlobId, bytes: Arc<[u8]>) -> BoxFuture<'_, Result<(), JournalError>> {
        Box::pin(async move { self.storage().await?.put_blob(id, bytes).await })
    }

    fn get_blob<'a>(&'a self, id: &'a BlobId) -> BoxFuture<'a, Result<Arc<[u8]>, JournalError>> {
        Box::pin(async move { self.storage().await?.get_blob(id).await })
    }

    fn lease(&self, request: LeaseRequest) -> BoxFuture<'_, Result<Lease, JournalError>> {
        Box::pin(async move { self.storage().await?.lease(request).await })
    }

    fn holder<'a>(&'a self, run: &'a RunId) -> BoxFuture<'a, Result<Option<Lease>, JournalError>> {
        Box::pin(async move { self.storage().await?.holder(run).await })
    }

    fn is_there<'a>(&'a self, run: &'a RunId) -> BoxFuture<'a, Result<(), JournalError>> {
        Box::pin(async move { self.storage().await?.is_there(run).await })
    }

    fn delete<'a>(&'a self, run: &'a RunId) -> BoxFuture<'a, Result<(), JournalError>> {
        Box::pin(async move { self.storage().await?.delete(run).await })
    }
}
