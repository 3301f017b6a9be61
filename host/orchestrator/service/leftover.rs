//! What sinks left behind, for whoever looks after it: to show, to deliver, to send again, to drop.

use super::Services;
use super::courier::Courier;
use super::letters::DeadLetter;
use super::missed::last_seq;
use crate::error::Error;
use crate::lock::LockEntry;
use crate::orchestrator::Orchestrator;
use crate::orchestrator::models::ModelPlugin;
use cofferdam_core::event::RunEvent;
use cofferdam_core::fault::Fault;
use cofferdam_core::id::{Alias, RunId};
use cofferdam_core::limits;
use cofferdam_core::policy::PluginKind;
use cofferdam_core::port::{Ack, Batch, BoxFuture, Sink, Want};
use cofferdam_core::spec::suggest::did_you_mean;
use cofferdam_engine::Patience;
use serde::Serialize;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// What one sink left behind.
#[derive(Clone, Debug, Serialize)]
pub struct SinkStanding {
    /// The sink.
    pub sink: Alias,
    /// Where its component comes from.
    pub source: String,
    /// Runs that it has not finished and that nobody sees to; the oldest first.
    pub runs: Vec<WaitingRun>,
    /// Events that it refused for good.
    pub dead_letters: usize,
}

/// A run that a sink has not finished.
#[derive(Clone, Debug, Serialize)]
pub struct WaitingRun {
    /// The run.
    pub run_id: RunId,
    /// The last event that the sink has taken; 0 = none.
    pub taken: u64,
    /// The last event that is recorded.
    pub recorded: u64,
}

/// What a delivery came to.
#[derive(Clone, Debug, Serialize)]
pub struct Delivery {
    /// The sink.
    pub sink: Alias,
    /// Events that it took.
    pub delivered: usize,
    /// Runs that it still lacks something of, or dead letters that are still there.
    pub left: usize,
    /// What kept it from the rest.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<Fault>,
}

impl Orchestrator {
    fn services(&self) -> &Services {
        &self.shared.settings.services
    }

    fn courier(&self, alias: &str) -> Result<&Arc<Courier>, Error> {
        let couriers = &self.services().couriers;
        couriers.iter().find(|courier| courier.alias().as_str() == alias).ok_or_else(|| {
            let near = did_you_mean(alias, couriers.iter().map(|courier| courier.alias().as_str()));
            let near = near.map(|near| format!("; {near}")).unwrap_or_default();
            Error::Settings(format!("no sink is called `{alias}`{near}"))
        })
    }

    /// What the sinks that are plugins left behind. Opens none of them.
    ///
    /// # Errors
    /// When it cannot be read.
    pub async fn sinks(&self) -> Result<Vec<SinkStanding>, Error> {
        let journal = &self.shared.settings.journal;
        let mut standings = Vec::new();
        for courier in &self.services().couriers {
            let mut runs = Vec::new();
            for owed in courier.left().await? {
                let recorded = last_seq(&**journal, &owed.run).await?;
                runs.push(WaitingRun { run_id: owed.run, taken: owed.seq, recorded });
            }
            standings.push(SinkStanding {
                sink: courier.alias().clone(),
                source: courier.sink().plugin.source.clone(),
                runs,
                dead_letters: courier.letters.all().await?.len(),
            });
        }
        Ok(standings)
    }

    /// Delivers what sinks missed of runs that have ended; all sinks, or the one of this name.
    ///
    /// # Errors
    /// A name that is none; a place that cannot be read or kept. A sink that does not open has its fault in its report.
    pub async fn deliver_missed(&self, alias: Option<&str>) -> Result<Vec<Delivery>, Error> {
        let couriers = match alias {
            Some(alias) => vec![self.courier(alias)?],
            None => self.services().couriers.iter().collect(),
        };
        let mut deliveries = Vec::new();
        for courier in couriers {
            if let Err(fault) = self.open_sink(courier).await {
                let left = courier.left().await?.len();
                let error = Some(fault);
                deliveries.push(Delivery { sink: courier.alias().clone(), delivered: 0, left, error });
                continue;
            }
            let caught = courier.catch_up_on_earlier_runs().await?;
            let left = courier.left().await?.len();
            let flushed = courier.sink().flush().await.err();
            let error = caught.fault.or(flushed);
            deliveries.push(Delivery { sink: courier.alias().clone(), delivered: caught.events, left, error });
        }
        Ok(deliveries)
    }

    async fn open_sink(&self, courier: &Courier) -> Result<(), Fault> {
        let settings = &self.shared.settings;
        settings.vault.learn(settings.services.secret_names().iter().map(String::as_str));
        courier.sink().open().await.map(drop)
    }

    /// What a sink refused for good, by run and in order.
    ///
    /// # Errors
    /// A name that is none; a state that cannot be read.
    pub async fn dead_letters(&self, alias: &str) -> Result<Vec<DeadLetter>, Error> {
        Ok(self.courier(alias)?.letters.all().await?)
    }

    /// Sends dead letters again: these, or all where none is named. Those that are taken are gone.
    ///
    /// # Errors
    /// A name that is none; a sink that does not open; a state that cannot be read.
    pub async fn resend(&self, alias: &str, keys: &[String]) -> Result<Delivery, Error> {
        let courier = self.courier(alias)?;
        let letters = courier.letters.all().await?;
        if let Some(unknown) = keys.iter().find(|key| !letters.iter().any(|letter| letter.key == **key)) {
            return Err(Error::Settings(format!("sink `{alias}` has no dead letter `{unknown}`")));
        }
        self.open_sink(courier).await.map_err(|fault| Error::Refused(vec![fault]))?;
        let mut delivery = Delivery { sink: courier.alias().clone(), delivered: 0, left: 0, error: None };
        for letter in letters.iter().filter(|letter| keys.is_empty() || keys.contains(&letter.key)) {
            let Some(event) = &letter.event else { continue };
            match send_again(courier, event).await {
                Ok(true) => {
                    courier.letters.drop_one(&letter.key).await?;
                    delivery.delivered += 1;
                }
                Ok(false) => {}
                Err(fault) => {
                    delivery.error = Some(fault);
                    break;
                }
            }
        }
        delivery.error = delivery.error.or(courier.sink().flush().await.err());
        delivery.left = courier.letters.all().await?.len();
        Ok(delivery)
    }

    /// Drops a dead letter, `RUN/SEQ`, or gives up what a sink lacks of a run, `RUN`; says whether there was any.
    ///
    /// # Errors
    /// A name that is none; a state that cannot be written.
    pub async fn drop_leftover(&self, alias: &str, what: &str) -> Result<bool, Error> {
        let courier = self.courier(alias)?;
        if what.contains('/') {
            return Ok(courier.letters.drop_one(what).await?);
        }
        let left = courier.left().await?;
        let Some(owed) = left.iter().find(|owed| owed.run.as_str() == what) else { return Ok(false) };
        courier.ledger.strike_out(&owed.run).await?;
        Ok(true)
    }

    /// Approves the plugins that keep the runs, take the events, or are models of the project, as they are now, and gives
    /// their entries and whether the lock file changed.
    ///
    /// # Errors
    /// A plugin that does not load; a lock file that cannot be read or written.
    pub async fn lock_services(&self) -> Result<(Vec<LockEntry>, bool), Error> {
        let services = self.services();
        let gate = &services.host.gate;
        let Some(lock) = &gate.lock else { return Err(Error::Settings("there is no lock file".to_owned())) };
        let mut entries = Vec::new();
        for service in services.plugins() {
            let plugin = service.load_unchecked(&services.host).await;
            entries.push(gate.entry(service, &*plugin.map_err(|fault| Error::Refused(vec![fault]))?));
        }
        // Every table with a source could be a model's; what does not load is none, and a run that asks for it says why.
        for model in self.shared.settings.model_plugins.values().map(ModelPlugin::plugin) {
            match model.load_unchecked(&services.host).await {
                Ok(plugin) if plugin.is(PluginKind::Model) => entries.push(gate.entry(model, &plugin)),
                Ok(_) => {}
                Err(fault) => {
                    tracing::debug!(alias = %model.alias, why = %fault.message, "it is not locked as a model");
                }
            }
        }
        let changed = lock.approve(&entries).map_err(|error| Error::Settings(error.to_string()))?;
        Ok((entries, changed))
    }
}

/// Sends one event again; says whether it was taken. One that is refused again stays, with what the sink says now.
async fn send_again(courier: &Courier, event: &Arc<RunEvent>) -> Result<bool, Fault> {
    let turn = courier.turn().await;
    let batch = Batch { events: vec![Arc::clone(event)], dropped_before: 0 };
    let patience = Patience { clock: &*courier.means.clock, offers: limits::SINK_OFFERS };
    let again = Again { courier, refused: AtomicBool::new(false) };
    cofferdam_engine::deliver(&again, batch, patience).await?;
    drop(turn);
    Ok(!again.refused.into_inner())
}

/// The sink as a dead letter sees it: no place moves.
struct Again<'c> {
    courier: &'c Courier,
    refused: AtomicBool,
}

impl Sink for Again<'_> {
    fn want(&self) -> Want {
        self.courier.want()
    }

    fn deliver(&self, batch: Batch) -> BoxFuture<'_, Result<Ack, Fault>> {
        Box::pin(async move {
            let events = batch.events.clone();
            let ack = self.courier.sink().deliver(batch).await?;
            self.courier.letters.keep(&events, ack.rejected()).await?;
            self.refused.fetch_or(!ack.rejected().is_empty(), Ordering::Relaxed);
            Ok(ack)
        })
    }

    fn flush(&self) -> BoxFuture<'_, Result<(), Fault>> {
        self.courier.sink().flush()
    }
}
