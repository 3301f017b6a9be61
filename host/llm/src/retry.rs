//! When a failed request is sent again, and after how long.
//!
//! It must not wait or send: it says what to do. Only failures before the first piece of an answer come here.

use cofferdam_core::fault::{Class, Fault};
use cofferdam_core::limits::MODEL_RETRY_AFTER_MS;
use cofferdam_core::port::ModelRequest;
use cofferdam_core::time::Timestamp;
use cofferdam_egress::HeaderMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::Duration;

/// The first wait when the provider names none; it doubles.
const FIRST_WAIT_MS: u64 = 500;
/// The longest wait that we choose ourselves.
const LONGEST_WAIT_MS: u64 = 8_000;

/// Decides about retries of one request.
#[derive(Debug)]
pub(crate) struct Retries {
    most: u32,
    done: u32,
    seed: u64,
}

impl Retries {
    /// The retries of a request. The jitter comes from the request itself: steps that fail together do not come back
    /// together, and the same run waits the same.
    pub(crate) fn of(request: &ModelRequest) -> Self {
        let mut hasher = DefaultHasher::new();
        (request.run_id.as_str(), request.path.as_str(), request.attempt, request.turn).hash(&mut hasher);
        Self { most: request.max_retries, done: 0, seed: hasher.finish() }
    }

    /// How many there were.
    pub(crate) fn done(&self) -> u32 {
        self.done
    }

    /// How long to wait before the next try.
    ///
    /// # Errors
    /// The fault, when it is final: of a class that is not retried, out of retries, or the provider asks for more time
    /// than we give it.
    pub(crate) fn next(&mut self, fault: Fault) -> Result<Duration, Fault> {
        if !fault.is_retryable() {
            return Err(fault);
        }
        if let Some(asked) = fault.retry_after_ms.filter(|asked| *asked > MODEL_RETRY_AFTER_MS) {
            return Err(too_long(fault, asked));
        }
        if self.done >= self.most {
            return Err(match self.done {
                0 => fault,
                done => Fault { message: format!("{}, also after {done} retries", fault.message), ..fault },
            });
        }
        let wait = fault.retry_after_ms.unwrap_or_else(|| self.own_wait());
        self.done += 1;
        Ok(Duration::from_millis(wait))
    }

    /// Doubling from half a second to eight, less up to a quarter.
    fn own_wait(&self) -> u64 {
        let doubled = FIRST_WAIT_MS.saturating_mul(1 << self.done.min(16)).min(LONGEST_WAIT_MS);
        let spread = self.seed.rotate_right(self.done.wrapping_mul(8)) % (doubled / 4 + 1);
        doubled - spread
    }
}

fn too_long(fault: Fault, asked: u64) -> Fault {
    let hint = format!(
        "the provider asks to wait {} s, more than we wait; run again later or use another model",
        asked / 1_000
    );
    Fault { class: Class::Step, ..fault }.with_hint(hint)
}

/// How long the provider asks to be left alone: `retry-after-ms`, else `retry-after` in seconds or as a date.
pub(crate) fn asked_wait(headers: &HeaderMap, now: Timestamp) -> Option<Duration> {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).map(str::trim);
    let millis = text("retry-after-ms").and_then(|text| text.parse::<f64>().ok()).map(|millis| millis / 1_000.0);
    let seconds = || text("retry-after").and_then(|text| text.parse::<f64>().ok());
    let counted = millis.or_else(seconds).and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    let wait = counted.or_else(|| text("retry-after").and_then(|text| until(text, now)))?;
    Some(wait).filter(|wait| !wait.is_zero())
}

/// The time until an HTTP date.
fn until(date: &str, now: Timestamp) -> Option<Duration> {
    let moment = jiff::fmt::rfc2822::parse(date).ok()?.timestamp();
    Some(Timestamp::from_millis(moment.as_millisecond()).since(now))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kind::Kind;
    use crate::testing;
    use cofferdam_egress::HeaderValue;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (name.parse().unwrap(), HeaderValue::from_static(value))).collect()
    }

    #[test]
    fn the_provider_says_how_long_to_wait() {
        let now = Timestamp::from_millis(1_445_412_480_000 - 5_000);
        let wait = |pairs| asked_wait(&headers(pairs), now);
        assert_eq!(wait(&[("retry-after-ms", "250"), ("retry-after", "9")]), Some(Duration::from_millis(250)));
        assert_eq!(wait(&[("retry-after", "2")]), Some(Duration::from_secs(2)));
        assert_eq!(wait(&[("retry-after", "0.5")]), Some(Duration::from_millis(500)));
        assert_eq!(wait(&[("retry-after", "Wed, 21 Oct 2015 07:28:00 GMT")]), Some(Duration::from_secs(5)));
        for odd in ["soon", "-1", "0", "NaN", "Wed, 21 Oct 2014 07:28:00 GMT", "1e300"] {
            assert_eq!(asked_wait(&headers(&[("retry-after", odd)]), now), None, "{odd}");
        }
    }

    #[test]
    fn own_waits_double_with_at_most_a_quarter_off() {
        let mut request = testing::request("a", "x");
        request.max_retries = 7;
        let mut retries = Retries::of(&request);
        for full in [500_u128, 1_000, 2_000, 4_000, 8_000, 8_000, 8_000] {
            let wait = retries.next(Kind::Unavailable.fault("down")).unwrap().as_millis();
            assert!(wait <= full && wait >= full * 3 / 4, "{wait} of {full}");
        }
        let last = retries.next(Kind::Unavailable.fault("down")).unwrap_err();
        assert_eq!(last.message, "down, also after 7 retries");
    }

    #[test]
    fn what_waiting_does_not_cure_is_final() {
        let mut retries = Retries::of(&testing::request("a", "x"));
        for kind in [Kind::Auth, Kind::Quota, Kind::BadRequest, Kind::NotFound, Kind::Protocol] {
            assert!(retries.next(kind.fault("no")).is_err(), "{kind:?}");
        }
        let hours = Kind::RateLimited.fault("slow").with_retry_after(Duration::from_secs(3_600));
        let fault = retries.next(hours).unwrap_err();
        assert!(!fault.is_retryable() && fault.hint.unwrap().contains("3600 s"));
        assert_eq!(retries.done(), 0);
    }
}
