//! An instance that serves the calls of one try of a step, for components that bring an interpreter along.
//!
//! It lives in what the try keeps, so that it ends with the try and no other step can come upon it. It must not know
//! which components are kept so.

use crate::bindings::exports::cofferdam::tool::tool::ToolOutput;
use crate::bindings::{Served, ServedPre};
use crate::engine::EPOCH_TICK;
use crate::failure::{Failure, OutOfTime};
use crate::instance::{Call, Ended, Guest, Identity, Invocation, Prepared, new_store, refuel};
use crate::share::Seat;
use cofferdam_core::port::Kept;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::OwnedSemaphorePermit;
use wasmtime::Store;

/// An instance between two calls.
struct Waiting {
    live: Live,
    _place: OwnedSemaphorePermit,
}

/// An instance with its room.
struct Live {
    store: Store<Guest>,
    served: Option<Served>,
    seat: Seat,
}

impl Prepared<ServedPre<Guest>> {
    /// Calls a tool in the instance of its try, or in a fresh one if there is none or it is at work. What ends without an
    /// answer of the plugin's own takes its instance along.
    pub(crate) async fn call_in_step(self, call: Call, invocation: Invocation, kept: Arc<Kept>) -> Ended<ToolOutput> {
        let identity = Arc::clone(&call.plugin);
        // The alias is unique in a run; the digest tells what was loaded twice under one name.
        let key = format!("plugin {} {}", identity.alias, identity.digest.hex());
        let live = match kept.take::<Waiting>(&key) {
            Some(Waiting { mut live, .. }) => {
                live.store.data_mut().renew(call);
                refuel(&self.engine, &mut live.store);
                live
            }
            None => match self.begin(call).await {
                Ok(live) => live,
                Err(failure) => return Ended { answer: Err(failure), denials: Vec::new() },
            },
        };
        let (ended, live) = self.enter(live, &invocation).await;
        if let (Some(mut live), Some(place)) = (live, self.engine.place()) {
            // Without the context of the call: that holds what the try keeps, and neither would ever end.
            live.store.data_mut().renew(idle(identity));
            kept.put(key, Waiting { live, _place: place });
        }
        ended
    }

    /// A store with its room; the instance comes with the first call, within its time.
    async fn begin(&self, call: Call) -> Result<Live, Failure> {
        let wait = call.deadline.remaining();
        let (allowed, depth, share) = (call.deadline.allowed(), call.depth(), call.plugin.services.share.clone());
        let guest = Guest::new(call)?;
        let entering = share.enter(&self.engine, depth);
        let seat = tokio::time::timeout(wait, entering).await.map_err(|_| Failure::Busy(allowed))?;
        let store = new_store(&self.engine, guest).map_err(|error| Failure::Host(error.to_string()))?;
        Ok(Live { store, served: None, seat })
    }

    /// One call. The instance comes back if it may be entered again.
    async fn enter(&self, live: Live, invocation: &Invocation) -> (Ended<ToolOutput>, Option<Live>) {
        // In this order: the room is given back after the store is gone.
        let Live { seat, mut store, served } = live;
        let patience = store.data().call.deadline.remaining().saturating_add(EPOCH_TICK);
        let Invocation { context, name, args } = invocation;
        let (deadline, share) = (store.data().call.deadline, store.data().call.plugin.services.share.clone());
        let running = async {
            let served = match served {
                Some(served) => served,
                None => self.world.instantiate_async(&mut store).await?,
            };
            let answer = served.cofferdam_tool_tool().call_call(&mut store, context, name, args).await?;
            Ok((served, answer))
        };
        let outcome = {
            let _ticking = self.engine.ticking();
            let paced = tokio::time::timeout(patience, share.paced(deadline, running)).await;
            paced.ok().flatten().unwrap_or_else(|| Err(OutOfTime.into()))
        };
        let left = store.get_fuel().ok();
        store.data().tell_spent(left);
        let denials = store.data_mut().end_call();
        match outcome {
            Ok((served, answer)) => {
                let live = Live { store, served: Some(served), seat };
                (Ended { answer: answer.map_err(Failure::Own), denials }, Some(live))
            }
            Err(error) => {
                let guest = store.data();
                let shown = guest.call.plugin.services.shown(format!("{error:?}"));
                tracing::debug!(plugin = %guest.call.plugin.alias, "{shown}");
                let failure = Failure::classify(&error, &guest.allowed());
                (Ended { answer: Err(failure), denials }, None)
            }
        }
    }
}

/// What stands in the place of a call while there is none: it belongs to no run, and its time is over.
fn idle(identity: Arc<Identity>) -> Call {
    Call::new(identity, None, Duration::ZERO)
}
