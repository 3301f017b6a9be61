//! A model that is asked again when it fails before the first piece of its answer.
//!
//! For models that keep no retries of their own, such as those of plugins. It must not repeat a request of whose answer
//! anything was seen.

use crate::http::Lane;
use crate::retry::Retries;
use cofferdam_core::fault::Fault;
use cofferdam_core::model_options::ModelOptions;
use cofferdam_core::port::{BoxFuture, Clock, Model, ModelEvent, ModelInfo, ModelRequest, ModelStream};
use futures_util::{StreamExt as _, stream};
use std::sync::Arc;

/// A model with retries, as [`ModelRequest::max_retries`] allows them.
pub struct Patient {
    model: Arc<dyn Model>,
    clock: Arc<dyn Clock>,
    lane: Lane,
}

impl Patient {
    /// This model, asked again after waits by this clock. Who asks it is told to wait as soon as one was.
    pub fn new(model: Arc<dyn Model>, clock: Arc<dyn Clock>) -> Self {
        Self { model, clock, lane: Lane::default() }
    }

    async fn open(&self, request: ModelRequest) -> Result<ModelStream, Fault> {
        let mut retries = Retries::of(&request);
        loop {
            self.lane.pass(&*self.clock).await;
            let fault = match self.begin(request.clone()).await {
                Ok((first, rest)) => return Ok(Box::pin(stream::iter([Ok(first)]).chain(rest))),
                Err(fault) => fault,
            };
            // Whoever names a time speaks for all that ask.
            let (told, is_busy) = (fault.message.clone(), fault.retry_after_ms.is_some());
            let wait = retries.next(fault)?;
            tracing::warn!(
                model = %self.model.info().name, step = %request.path, retry = retries.done(),
                wait_ms = wait.as_millis(), "the model failed, trying again: {told}"
            );
            if is_busy {
                self.lane.close(wait);
            } else {
                self.clock.sleep(wait).await;
            }
        }
    }

    /// Asks, and waits for the first event.
    async fn begin(&self, request: ModelRequest) -> Result<(ModelEvent, ModelStream), Fault> {
        let mut answer = self.model.stream(request).await?;
        match answer.next().await {
            Some(first) => Ok((first?, answer)),
            None => Err(Fault::retry(
                "model_truncated",
                format!("the answer of `{}` ended before it began", self.model.info().name),
            )),
        }
    }
}

impl Model for Patient {
    fn info(&self) -> ModelInfo {
        self.model.info()
    }

    fn unsupported(&self, options: &ModelOptions) -> Vec<String> {
        self.model.unsupported(options)
    }

    fn stream(&self, request: ModelRequest) -> BoxFuture<'_, Result<ModelStream, Fault>> {
        Box::pin(self.open(request))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Idle, drain, request};
    use cofferdam_core::port::FinishReason;
    use std::sync::Mutex;

    /// Answers with these events, one list for each request, the last one again and again.
    struct Odd(Mutex<(usize, Vec<Answer>)>);

    type Answer = Vec<Result<ModelEvent, Fault>>;

    impl Odd {
        fn patient(answers: Vec<Answer>) -> (Arc<Self>, Patient) {
            let model = Arc::new(Self(Mutex::new((0, answers))));
            (Arc::clone(&model), Patient::new(model, Arc::new(Idle)))
        }

        fn asked(&self) -> usize {
            self.0.lock().unwrap().0
        }
    }

    impl Model for Odd {
        fn info(&self) -> ModelInfo {
            ModelInfo { name: "odd".into(), is_language_model: false, summary: String::new() }
        }

        fn stream(&self, _: ModelRequest) -> BoxFuture<'_, Result<ModelStream, Fault>> {
            let mut state = self.0.lock().unwrap();
            let answer = state.1.get(state.0).or(state.1.last()).cloned().unwrap();
            state.0 += 1;
            Box::pin(async move { Ok(Box::pin(stream::iter(answer)) as ModelStream) })
        }
    }

    fn down() -> Vec<Result<ModelEvent, Fault>> {
        vec![Err(Fault::retry("down", "down"))]
    }

    fn fine() -> Vec<Result<ModelEvent, Fault>> {
        vec![Ok(ModelEvent::Text("hi".into())), Ok(ModelEvent::Finished(FinishReason::Stop))]
    }

    #[tokio::test]
    async fn what_failed_before_its_first_piece_is_asked_again() {
        let (odd, patient) = Odd::patient(vec![down(), Vec::new(), fine()]);
        assert_eq!(drain(patient.stream(request("a", "x")).await).await.text, "hi");
        assert_eq!(odd.asked(), 3);
        let (odd, patient) = Odd::patient(vec![down()]);
        let fault = drain(patient.stream(request("a", "x")).await).await.end.unwrap_err();
        assert_eq!((fault.message.as_str(), odd.asked()), ("down, also after 2 retries", 3));
    }

    #[tokio::test]
    async fn what_failed_later_or_for_good_is_not() {
        let broken = vec![Ok(ModelEvent::Text("h".into())), Err(Fault::retry("down", "down"))];
        for answer in [broken, vec![Err(Fault::step("no", "no"))]] {
            let (odd, patient) = Odd::patient(vec![answer, fine()]);
            assert!(drain(patient.stream(request("a", "x")).await).await.end.is_err());
            assert_eq!(odd.asked(), 1);
        }
    }
}
