//! What is sent, and how often: the endpoint and the key, the retries that a request allows, a port where nobody listens.
//!
//! It must not check how answers end; the tables do.

use crate::bench::{Bench, Impatient, KEY, ask, request};
use cofferdam_core::fault::Class;
use cofferdam_core::port::FinishReason;
use cofferdam_egress::ProviderClient;
use cofferdam_llm::{Api, HttpModel, Provider};
use std::sync::Arc;

/// Protocol, path, the header of the key, its value.
const ENDPOINTS: &[(Api, &str, &str, &str)] = &[
    (Api::Chat, "/v1/chat/completions", "authorization", "Bearer sk-test-0123456789abcdef"),
    (Api::Responses, "/v1/responses", "authorization", "Bearer sk-test-0123456789abcdef"),
    (Api::Anthropic, "/v1/messages", "x-api-key", KEY),
    (Api::Gemini, "/v1beta/models/text:streamGenerateContent?alt=sse", "x-goog-api-key", KEY),
    (Api::Ollama, "/api/chat", "authorization", "Bearer sk-test-0123456789abcdef"),
];

#[tokio::test]
async fn a_request_goes_to_the_endpoint_with_its_key_in_one_place() {
    for (api, path, header, value) in ENDPOINTS {
        let bench = Bench::new().await;
        ask(&bench.model(*api, "text"), request("hello")).await;
        let sent = bench.sent().pop().unwrap();
        assert_eq!((sent.method(), sent.path(), sent.header(header)), ("POST", *path, Some(*value)), "{api:?}");
        let places = sent.headers().iter().filter(|(_, value)| value.contains(KEY)).count();
        assert!(places == 1 && !sent.path().contains(KEY), "{api:?}");
        assert!(sent.json().to_string().contains("hello") && !sent.json().to_string().contains(KEY), "{api:?}");
    }
}

#[tokio::test]
async fn a_request_is_repeated_as_often_as_it_allows() {
    for api in Api::ALL {
        for allowed in [0, 1, 5] {
            let bench = Bench::new().await;
            let mut asked = request("hello");
            asked.max_retries = allowed;
            let fault = ask(&bench.model(api, "e500"), asked).await.end.unwrap_err();
            let retries = usize::try_from(allowed).unwrap();
            assert_eq!((bench.sent().len(), bench.clock.waits().len()), (retries + 1, retries), "{api:?}");
            assert_eq!((fault.class, fault.message.contains("retries")), (Class::Retry, allowed > 0), "{fault}");
        }
    }
}

#[tokio::test]
async fn what_is_repeated_is_the_same_to_the_byte() {
    for api in Api::ALL {
        let bench = Bench::new().await;
        assert_eq!(ask(&bench.model(api, "flaky-2"), request("hello")).await.end, Ok(FinishReason::Stop));
        let bodies: Vec<Vec<u8>> = bench.sent().iter().map(|sent| sent.body().to_vec()).collect();
        assert!(bodies.len() == 3 && bodies.iter().all(|body| *body == bodies[0]), "{api:?}");
    }
}

#[tokio::test]
async fn a_closed_port_is_an_unreachable_provider() {
    for api in Api::ALL {
        let mut provider = Provider::new("acme", "http://127.0.0.1:1/v1");
        provider.speak(api);
        let client = ProviderClient::new(&provider.base_url).unwrap();
        let clock = Arc::new(Impatient::default());
        let model = HttpModel::new(provider, "m", client, clock.clone());
        let fault = ask(&model, request("x")).await.end.unwrap_err();
        assert_eq!((&*fault.code, clock.waits().len()), ("model_unavailable", 2), "{api:?}");
        let place = if api == Api::Ollama { "ollama serve" } else { "http://127.0.0.1:1/v1" };
        assert!(fault.hint.unwrap().contains(place), "{api:?}");
    }
}
