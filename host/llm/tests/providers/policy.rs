//! Retries, waits and turns as a catalog of models makes them: for all models of a provider, and with others in their place.
//!
//! It must not wait itself: the clock keeps the waits.

use crate::bench::{Bench, Impatient, KEY, Outcome, ask, base_url, request};
use crate::expected::TEXT;
use cofferdam_core::fault::Class;
use cofferdam_core::port::{Clock, FinishReason, Model, Models as _};
use cofferdam_llm::http::Limits;
use cofferdam_llm::select::{ProviderSettings, Settings};
use cofferdam_llm::{Api, ModelCatalog};
use cofferdam_model_server::ModelServer;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinHandle;

/// A provider of the settings that is the server, in a protocol.
fn provider(server: &ModelServer, api: Api, limits: Limits) -> ProviderSettings {
    let key_variable = Some("ACME_KEY".to_owned());
    let base_url = Some(base_url(server, api));
    ProviderSettings { api: Some(api), base_url, key_variable, limits, ..ProviderSettings::default() }
}

fn catalog(clock: Arc<dyn Clock>, settings: Settings) -> ModelCatalog {
    let key = |name: &str| (name == "ACME_KEY").then(|| KEY.to_owned());
    ModelCatalog::new(clock).with_settings(settings).with_variables(Arc::new(key))
}

/// A catalog whose provider `acme` is the server.
fn acme(bench: &Bench, api: Api, limits: Limits) -> ModelCatalog {
    let mut settings = Settings::default();
    settings.providers.insert("acme".to_owned(), provider(&bench.server, api, limits));
    catalog(bench.clock.clone(), settings)
}

fn model(catalog: &ModelCatalog, name: &str) -> Arc<dyn Model> {
    catalog.resolve(name).map_err(|fault| fault.to_string()).unwrap()
}

fn seconds(waits: &[Duration]) -> Vec<u64> {
    // What has passed since is left out of a wait.
    waits.iter().map(|wait| (*wait + Duration::from_millis(500)).as_secs()).collect()
}

#[tokio::test]
async fn a_rate_limit_of_one_model_holds_for_the_whole_provider() {
    for api in Api::ALL {
        let bench = Bench::new().await;
        let catalog = acme(&bench, api, Limits::default());
        let mut once = request("a");
        once.max_retries = 1;
        let fault = ask(&*model(&catalog, "acme/e429-after"), once).await.end.unwrap_err();
        assert_eq!((fault.retry_after_ms, seconds(&bench.clock.waits())), (Some(7_000), vec![7]), "{api:?}");
        let other = ask(&*model(&catalog, "acme/text"), request("b")).await;
        assert_eq!(
            (other.end, seconds(&bench.clock.waits())),
            (Ok(FinishReason::Stop), vec![7]),
            "{api:?}: it waits, too"
        );
    }
}

#[tokio::test]
async fn other_providers_do_not_wait_for_one_that_is_limited() {
    let bench = Bench::new().await;
    let mut settings = Settings::default();
    for name in ["acme", "other"] {
        settings.providers.insert(name.to_owned(), provider(&bench.server, Api::Chat, Limits::default()));
    }
    let catalog = catalog(bench.clock.clone(), settings);
    ask(&*model(&catalog, "acme/e429-after"), request("a")).await;
    bench.clock.waits();
    assert_eq!(ask(&*model(&catalog, "other/text"), request("b")).await.text, TEXT);
    assert!(bench.clock.waits().is_empty());
}

#[tokio::test]
async fn a_provider_that_is_down_is_not_left_alone_by_its_other_models() {
    let bench = Bench::new().await;
    let catalog = acme(&bench, Api::Chat, Limits::default());
    ask(&*model(&catalog, "acme/e500"), request("a")).await;
    assert_eq!(bench.clock.waits().len(), 2);
    ask(&*model(&catalog, "acme/text"), request("b")).await;
    assert!(bench.clock.waits().is_empty());
}

#[tokio::test]
async fn who_asks_for_hours_or_has_nothing_left_is_asked_once() {
    for api in Api::ALL {
        let bench = Bench::new().await;
        let catalog = acme(&bench, api, Limits::default());
        let hours = ask(&*model(&catalog, "acme/e429-hours"), request("a")).await.end.unwrap_err();
        assert_eq!((hours.class, bench.sent().len()), (Class::Step, 1), "{api:?}");
        assert!(hours.hint.unwrap().contains("7200 s"), "{api:?}");
        // Requests of the same catalogue would leave it alone for a while.
        let catalog = acme(&bench, api, Limits::default());
        let quota = ask(&*model(&catalog, "acme/e429-quota"), request("a")).await.end.unwrap_err();
        assert_eq!((&*quota.code, bench.sent().len()), ("model_quota", 2), "{api:?}");
        assert!(bench.clock.waits().is_empty(), "{api:?}");
    }
}

/// Begins a request, and gives it the time in which another provider answers a few.
async fn begun(bench: &Bench, model: Arc<dyn Model>) -> JoinHandle<Outcome> {
    let begun = tokio::spawn(async move { ask(&*model, request("a")).await });
    for _ in 0..5 {
        assert_eq!(ask(&bench.model(Api::Ollama, "text"), request("free")).await.text, TEXT);
    }
    begun
}

/// Requests that were sent to a model in this protocol.
fn sent_to(bench: &Bench, path: &str) -> usize {
    bench.sent().iter().filter(|sent| sent.path() == path).count()
}

#[tokio::test]
async fn so_many_requests_of_a_provider_are_under_way_and_no_more() {
    let bench = Bench::new().await;
    let limits = Limits { concurrency: Some(2), ..Limits::default() };
    let catalog = acme(&bench, Api::Anthropic, limits);
    let stalled = model(&catalog, "acme/stall-body");
    let first = stalled.stream(request("a")).await.map_err(|fault| fault.to_string()).unwrap();
    let second = stalled.stream(request("b")).await.map_err(|fault| fault.to_string()).unwrap();
    let third = begun(&bench, model(&catalog, "acme/text")).await;
    assert_eq!((sent_to(&bench, "/v1/messages"), third.is_finished()), (2, false), "the third one waits");
    drop(first);
    assert_eq!(third.await.unwrap().text, TEXT);
    assert_eq!(sent_to(&bench, "/v1/messages"), 3);
    drop(second);
}

#[tokio::test]
async fn a_model_may_have_a_bound_of_its_own_that_holds_up_no_other() {
    let bench = Bench::new().await;
    let mut settings = Settings::default();
    settings.providers.insert("acme".to_owned(), provider(&bench.server, Api::Chat, Limits::default()));
    let one = Limits { concurrency: Some(1), ..Limits::default() };
    settings.limits.insert("acme/stall-body".to_owned(), one);
    let catalog = catalog(bench.clock.clone(), settings);
    let stalled = model(&catalog, "acme/stall-body");
    let first = stalled.stream(request("a")).await.map_err(|fault| fault.to_string()).unwrap();
    let second = begun(&bench, Arc::clone(&stalled)).await;
    assert_eq!(sent_to(&bench, "/v1/chat/completions"), 1, "the second one waits");
    assert_eq!(ask(&*model(&catalog, "acme/text"), request("c")).await.text, TEXT);
    drop(first);
    second.abort();
}

#[tokio::test]
async fn requests_are_spread_over_the_minute_for_all_models_of_a_provider() {
    let bench = Bench::new().await;
    let limits = Limits { requests_per_minute: Some(6), ..Limits::default() };
    let catalog = acme(&bench, Api::Gemini, limits);
    for name in ["acme/text", "acme/empty", "acme/text"] {
        assert_eq!(ask(&*model(&catalog, name), request("a")).await.end, Ok(FinishReason::Stop));
    }
    // The clock does not let time pass, so that each waits from the beginning.
    assert_eq!(seconds(&bench.clock.waits()), [10, 20]);
}

/// A catalog in which `acme` fails and has `spare` in its place.
async fn with_spare(mode: &str, spares: &[&str]) -> (Bench, ModelServer, ModelCatalog) {
    let bench = Bench::new().await;
    let good = ModelServer::start(Default::default()).await.unwrap();
    let mut settings = Settings::default();
    settings.providers.insert("acme".to_owned(), provider(&bench.server, Api::Chat, Limits::default()));
    settings.providers.insert("spare".to_owned(), provider(&good, Api::Anthropic, Limits::default()));
    let others = spares.iter().map(|name| (*name).to_owned()).collect();
    settings.fallbacks.insert(format!("acme/{mode}"), others);
    let clock: Arc<Impatient> = bench.clock.clone();
    let catalog = catalog(clock, settings);
    (bench, good, catalog)
}

#[tokio::test]
async fn another_provider_answers_where_one_cannot() {
    for (mode, sent) in
        [("e503", 3), ("e429-quota", 1), ("e429-hours", 1), ("e401", 1), ("nothing", 3), ("headers-only", 3)]
    {
        let (bench, good, catalog) = with_spare(mode, &["spare/e500", "spare/text"]).await;
        let answer = ask(&*model(&catalog, &format!("acme/{mode}")), request("a")).await;
        assert_eq!((answer.text.as_str(), answer.instead.as_deref()), (TEXT, Some("spare/text")), "{mode}");
        assert_eq!((bench.sent().len(), good.requests().len()), (sent, 4), "{mode}");
    }
}

#[tokio::test]
async fn no_other_provider_is_asked_for_what_the_request_is_at_fault_or_what_was_seen() {
    for mode in ["e400", "e404", "e413", "cut", "mid-error"] {
        let (bench, good, catalog) = with_spare(mode, &["spare/text"]).await;
        let fault = ask(&*model(&catalog, &format!("acme/{mode}")), request("a")).await.end.unwrap_err();
        assert!(fault.message.contains("`acme`"), "{mode}: {fault}");
        assert_eq!((bench.sent().len(), good.requests().len()), (1, 0), "{mode}");
    }
}
