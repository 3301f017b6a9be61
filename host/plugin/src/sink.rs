//! A loaded plugin as a sink: events go to an instance that stays up.
//!
//! What it answers is checked here: an acknowledgement beyond the batch is a broken contract and moves nothing.

use crate::bindings::cofferdam::types::common::PluginError;
use crate::bindings::sink::exports::cofferdam::sink::sink::{
    Ack as GuestAck, Batch as GuestBatch, Event as GuestEvent, Want as GuestWant,
};
use crate::bindings::sink::{SinkPlugin, SinkPluginPre};
use crate::failure::Failure;
use crate::instance::{Guest, Working};
use crate::tool::LoadedPlugin;
use crate::warm::{Opens, Warm};
use cofferdam_core::event::{RunEvent, unknown_kind};
use cofferdam_core::fault::{Class, Fault};
use cofferdam_core::limits;
use cofferdam_core::port::{Ack, Batch, BoxFuture, Pressure, Rejection, Sink, Want};
use cofferdam_core::text::clean;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use wasmtime::Store;

type Pre = SinkPluginPre<Guest>;

impl Opens for Pre {
    type Opened = GuestWant;

    fn open<'s>(
        store: &'s mut Store<Guest>,
        instance: &'s SinkPlugin,
        config: String,
    ) -> Working<'s, Result<GuestWant, PluginError>> {
        Box::pin(async move { instance.cofferdam_sink_sink().call_open(store, &config).await })
    }
}

/// A plugin to which events go. It stays up between batches, and between runs.
pub struct PluginSink {
    warm: Warm<Pre>,
    want: GuestWant,
    /// The batch that was offered last, and how often.
    offered: Mutex<(String, u32)>,
}

impl LoadedPlugin {
    /// The plugin as a sink, opened.
    ///
    /// # Errors
    /// When it is none, does not open, or wants events of a kind that there is not.
    pub async fn sink(&self) -> Result<PluginSink, Fault> {
        let Some(world) = self.worlds.sink.clone() else { return Err(self.is_no("sink")) };
        let warm = Warm::new(Arc::clone(&self.core), world, Arc::clone(&self.warm));
        let want = warm.opened().await?;
        if let Some((kind, near)) = unknown_kind(want.kinds.iter().map(String::as_str)) {
            let message =
                format!("sink `{}` wants events of the kind `{}`, and there is none", self.alias(), clean(kind));
            let hint =
                near.unwrap_or_else(|| "`host/docs/events.md` lists the kinds; a final `*` matches any rest".into());
            return Err(Fault::user("sink_kinds", message).with_hint(hint));
        }
        Ok(PluginSink { warm, want, offered: Mutex::default() })
    }

    pub(crate) fn is_no(&self, kind: &str) -> Fault {
        let kinds: Vec<&str> = self.manifest.kinds.iter().copied().map(crate::manifest::kind_name).collect();
        let message = format!("plugin `{}` is no {kind}; it is: {}", self.alias(), kinds.join(", "));
        Fault::user("wrong_kind", message)
    }
}

impl PluginSink {
    async fn pass(&self, batch: Batch) -> Result<Ack, Fault> {
        let within = self.within(&batch);
        let count = within.len();
        let last = count == batch.events.len();
        let events: Vec<GuestEvent> = within.into_iter().map(event).collect();
        let Some(first) = events.first() else { return Ok(Ack::All) };
        let batch_id = format!("{}/{}/{}/{count}", first.run_id, first.seq, first.sub.unwrap_or(0));
        let attempt = self.attempt(&batch_id);
        let guest = GuestBatch { batch_id, attempt, events, dropped_before: batch.dropped_before };
        let services = self.warm.identity().services.clone();
        let ack = self.warm.call(
            "deliver",
            move |store, plugin| {
                Box::pin(async move { plugin.cofferdam_sink_sink().call_deliver(store, &guest).await })
            },
            move |ack| judge(ack, count, |reason| services.shown(reason)),
        );
        match ack.await.map_err(to_be_offered_again)? {
            Ack::All if !last => Ok(Ack::First(count)),
            ack => Ok(ack),
        }
    }

    /// As many of the events as it takes at once; at least one.
    fn within<'b>(&self, batch: &'b Batch) -> Vec<(&'b RunEvent, String)> {
        let most = match self.want.max_batch_bytes {
            0 => limits::SINK_BATCH_BYTES,
            most => limits::SINK_BATCH_BYTES.min(most as usize),
        };
        let (mut taken, mut bytes) = (Vec::new(), 0_usize);
        for event in &batch.events {
            let body = serde_json::to_string(event).unwrap_or_default();
            bytes = bytes.saturating_add(body.len());
            if bytes > most && !taken.is_empty() {
                break;
            }
            taken.push((event.as_ref(), body));
        }
        taken
    }

    fn attempt(&self, batch_id: &str) -> u32 {
        let mut offered = self.offered.lock().unwrap_or_else(PoisonError::into_inner);
        if offered.0 != batch_id {
            *offered = (batch_id.to_owned(), 0);
        }
        offered.1 = offered.1.saturating_add(1);
        offered.1
    }

    /// Tells the plugin that nothing more comes, and lets it go.
    pub async fn close(&self) {
        self.warm
            .close(|store, plugin| Box::pin(async move { plugin.cofferdam_sink_sink().call_close(store).await }))
            .await;
    }
}

/// What it acknowledges of the `count` events that were handed to it, which may be the first part of a batch only.
/// Its reasons are told, once `shown` has taken out what must not be.
fn judge(ack: GuestAck, count: usize, shown: impl Fn(String) -> String) -> Result<Ack, Failure> {
    match ack {
        GuestAck::All => Ok(Ack::All),
        GuestAck::First(taken) if taken as usize <= count => Ok(Ack::First(taken as usize)),
        GuestAck::First(taken) => Err(Failure::Lie(format!("it took {taken} events of a batch of {count}"))),
        GuestAck::Except(rejected) => {
            let rejections = rejected.into_iter().map(|rejection| Rejection {
                index: rejection.index as usize,
                reason: clean(&shown(rejection.reason)),
            });
            let rejections: Vec<Rejection> = rejections.collect();
            match rejections.iter().find(|rejection| rejection.index >= count) {
                Some(beyond) => Err(Failure::Lie(format!("it refused event {} of a batch of {count}", beyond.index))),
                None => Ok(Ack::Except { handled: count, rejected: rejections }),
            }
        }
    }
}

impl Sink for PluginSink {
    fn want(&self) -> Want {
        let GuestWant { kinds, max_batch_events, max_linger_ms, durable, .. } = &self.want;
        let most = limits::SINK_BATCH_EVENTS;
        let asked = usize::try_from(*max_batch_events).unwrap_or(most);
        Want {
            durable_only: *durable,
            batch_events: if asked == 0 { most } else { asked.min(most) },
            linger: Duration::from_millis(u64::from(*max_linger_ms).min(limits::SINK_LINGER_MS)),
            ..Want::new(kinds.clone(), Pressure::Drop)
        }
    }

    fn name(&self) -> String {
        let identity = self.warm.identity();
        format!("sink `{}` ({})", identity.alias, identity.digest.short())
    }

    fn deliver(&self, batch: Batch) -> BoxFuture<'_, Result<Ack, Fault>> {
        Box::pin(self.pass(batch))
    }

    fn flush(&self) -> BoxFuture<'_, Result<(), Fault>> {
        Box::pin(self.warm.call(
            "flush",
            |store, plugin| Box::pin(async move { plugin.cofferdam_sink_sink().call_flush(store).await }),
            Ok,
        ))
    }
}

/// The instance is gone, and the same batch goes to a fresh one; there is none any more after a few in a row.
fn to_be_offered_again(fault: Fault) -> Fault {
    let ended = matches!(&*fault.code, "plugin_trap" | "plugin_limit");
    Fault { class: if ended { Class::Retry } else { fault.class }, ..fault }
}

fn event((event, body): (&RunEvent, String)) -> GuestEvent {
    GuestEvent {
        run_id: event.run_id.to_string(),
        seq: event.seq,
        sub: event.sub,
        at: u64::try_from(event.at.as_millis()).unwrap_or(0),
        kind: event.body.kind().to_owned(),
        path: event.path.to_string(),
        body,
    }
}
