//! What a server says unasked: counted, and dropped where it is nobody's or too much.
//!
//! It stands before the library, which would make a task of each message.

use crate::health::Health;
use rmcp::RoleClient;
use rmcp::model::{JsonRpcMessage, ServerJsonRpcMessage, ServerNotification};
use rmcp::service::{RxJsonRpcMessage, TxJsonRpcMessage};
use rmcp::transport::Transport;
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// A transport that lets in what was asked for, and little else.
pub(crate) struct Filtered<T> {
    inner: T,
    health: Arc<Health>,
}

impl<T> Filtered<T> {
    pub(crate) fn new(inner: T, health: Arc<Health>) -> Self {
        Self { inner, health }
    }

    fn admits(&self, message: &ServerJsonRpcMessage) -> bool {
        match message {
            JsonRpcMessage::Response(_) | JsonRpcMessage::Error(_) => true,
            JsonRpcMessage::Request(_) => self.health.admit(),
            JsonRpcMessage::Notification(notice) => match &notice.notification {
                ServerNotification::ToolListChangedNotification(_) => {
                    self.health.changed.store(true, Ordering::Release);
                    self.health.admit()
                }
                ServerNotification::CancelledNotification(_) => self.health.admit(),
                // Progress, logs and resources: nobody here listens.
                _ => {
                    self.health.drop_one();
                    false
                }
            },
        }
    }
}

impl<T: Transport<RoleClient>> Transport<RoleClient> for Filtered<T> {
    type Error = T::Error;

    fn send(
        &mut self,
        item: TxJsonRpcMessage<RoleClient>,
    ) -> impl Future<Output = Result<(), Self::Error>> + Send + 'static {
        self.inner.send(item)
    }

    async fn receive(&mut self) -> Option<RxJsonRpcMessage<RoleClient>> {
        loop {
            let Some(message) = self.inner.receive().await else {
                self.health.end("the connection ended");
                return None;
            };
            if self.admits(&message) {
                return Some(message);
            }
            // A flood must not keep the thread from others.
            tokio::task::consume_budget().await;
        }
    }

    async fn close(&mut self) -> Result<(), Self::Error> {
        self.inner.close().await
    }
}
