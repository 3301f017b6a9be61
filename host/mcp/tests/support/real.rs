//! What tests of servers share: time that passes as it does, and a recorder that keeps warnings.

use cofferdam_core::event::Body;
use cofferdam_core::fault::Fault;
use cofferdam_core::port::{BoxFuture, Clock, Recorder};
use cofferdam_core::time::Timestamp;
use std::sync::Mutex;
use std::time::{Duration, Instant};

/// Time that passes as it does.
pub(crate) struct Real(Instant);

impl Real {
    /// From now.
    pub(crate) fn new() -> Self {
        Self(Instant::now())
    }
}

impl Clock for Real {
    fn now(&self) -> Timestamp {
        Timestamp::default().after(self.0.elapsed())
    }

    fn sleep(&self, wait: Duration) -> BoxFuture<'static, ()> {
        Box::pin(tokio::time::sleep(wait))
    }
}

/// Keeps the warnings.
#[derive(Default)]
pub(crate) struct Warnings(Mutex<Vec<String>>);

impl Warnings {
    /// Those that came so far.
    pub(crate) fn heard(&self) -> Vec<String> {
        self.0.lock().unwrap().clone()
    }
}

impl Recorder for Warnings {
    fn record(&self, body: Body) -> BoxFuture<'_, Result<(), Fault>> {
        self.observe(body);
        Box::pin(std::future::ready(Ok(())))
    }

    fn observe(&self, body: Body) {
        if let Body::Warning { message, .. } = body {
            self.0.lock().unwrap().push(message);
        }
    }
}
