//! A model with others that answer in its place when it cannot.
//!
//! It must not hide that another one answered, and must not go on to the next after anything of an answer was seen: what
//! was said was billed. What the request itself is at fault for, no other model is asked.

use crate::kind::Kind;
use cofferdam_core::fault::Fault;
use cofferdam_core::model_options::ModelOptions;
use cofferdam_core::port::{BoxFuture, Model, ModelEvent, ModelInfo, ModelRequest, ModelStream};
use futures_util::{StreamExt as _, stream};
use std::sync::Arc;

/// The first of these models that answers.
pub struct Fallback {
    first: Arc<dyn Model>,
    others: Vec<Arc<dyn Model>>,
}

impl Fallback {
    /// This model, and these in its place, in this order.
    pub fn new(first: Arc<dyn Model>, others: Vec<Arc<dyn Model>>) -> Self {
        Self { first, others }
    }

    async fn open(&self, request: ModelRequest) -> Result<ModelStream, Fault> {
        let fault = match self.first.stream(request.clone()).await {
            Ok(answer) => return Ok(answer),
            Err(fault) if is_of_the_provider(&fault) => fault,
            Err(fault) => return Err(fault),
        };
        let (mut because, mut told) = (fault.message.clone(), fault.message.clone());
        for other in &self.others {
            let name = other.info().name;
            tracing::warn!(model = %self.first.info().name, instead = %name, step = %request.path, "another model is asked: {because}");
            match other.stream(request.clone()).await {
                Ok(answer) => {
                    let instead = ModelEvent::Instead { model: name, because };
                    return Ok(Box::pin(stream::iter([Ok(instead)]).chain(answer)));
                }
                Err(next) if is_of_the_provider(&next) => {
                    told = format!("{told}; in its place: {}", next.message);
                    because = next.message;
                }
                Err(next) => return Err(next),
            }
        }
        Err(Fault { message: told, ..fault })
    }
}

/// Whether a fault is one of a provider and not of the request: another provider may do.
fn is_of_the_provider(fault: &Fault) -> bool {
    let kinds = [Kind::Unavailable, Kind::Timeout, Kind::RateLimited, Kind::Quota, Kind::Truncated, Kind::Auth];
    kinds.iter().any(|kind| kind.code() == fault.code)
}

impl Model for Fallback {
    fn info(&self) -> ModelInfo {
        self.first.info()
    }

    /// What one of them cannot be told is not told to all.
    fn unsupported(&self, options: &ModelOptions) -> Vec<String> {
        let mut lost = self.first.unsupported(options);
        for name in self.others.iter().flat_map(|other| other.unsupported(options)) {
            if !lost.contains(&name) {
                lost.push(name);
            }
        }
        lost
    }

    fn stream(&self, request: ModelRequest) -> BoxFuture<'_, Result<ModelStream, Fault>> {
        Box::pin(self.open(request))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scripted::Scripted;
    use crate::testing::{drain, request};
    use futures_util::FutureExt as _;

    /// A model that fails so.
    struct Failing(Kind);

    impl Model for Failing {
        fn info(&self) -> ModelInfo {
            ModelInfo { name: "acme/failing".into(), is_language_model: true, summary: String::new() }
        }

        fn stream(&self, _: ModelRequest) -> BoxFuture<'_, Result<ModelStream, Fault>> {
            let fault = self.0.fault("it is so");
            async move { Err(fault) }.boxed()
        }
    }

    fn spare() -> Arc<dyn Model> {
        Arc::new(Scripted::answering("spare").named("acme/spare"))
    }

    #[tokio::test]
    async fn another_model_answers_where_a_provider_cannot_and_says_so() {
        for kind in [Kind::Unavailable, Kind::Timeout, Kind::RateLimited, Kind::Quota, Kind::Auth] {
            let model = Fallback::new(Arc::new(Failing(kind)), vec![Arc::new(Failing(kind)), spare()]);
            let mut answer = model.stream(request("a", "x")).await.unwrap();
            let instead = answer.next().await.unwrap().unwrap();
            let expected = ModelEvent::Instead { model: "acme/spare".into(), because: "it is so".to_owned() };
            assert_eq!(instead, expected, "{kind:?}");
            assert_eq!(drain(Ok(answer)).await.text, "spare");
        }
    }

    #[tokio::test]
    async fn what_the_request_is_at_fault_for_is_not_asked_again() {
        for kind in [Kind::BadRequest, Kind::ContextLength, Kind::NotFound, Kind::Protocol] {
            let model = Fallback::new(Arc::new(Failing(kind)), vec![spare()]);
            assert_eq!(drain(model.stream(request("a", "x")).await).await.end.unwrap_err().code, kind.code());
        }
        let model = Fallback::new(Arc::new(Failing(Kind::Quota)), vec![Arc::new(Failing(Kind::Timeout))]);
        let fault = drain(model.stream(request("a", "x")).await).await.end.unwrap_err();
        assert_eq!((fault.code.as_ref(), fault.message.as_str()), ("model_quota", "it is so; in its place: it is so"));
    }
}
