//! Times as people here read them. What machines read stays RFC 3339 in UTC.

use cofferdam::core::time::Timestamp;
use jiff::tz::TimeZone;

/// How far local time is ahead of UTC, in seconds, by now.
pub(crate) fn utc_offset_s() -> i32 {
    TimeZone::system().to_offset(jiff::Timestamp::now()).seconds()
}

/// The time of this machine.
pub(crate) fn now() -> Timestamp {
    Timestamp::from_millis(jiff::Timestamp::now().as_millisecond())
}

/// `2026-11-20 10:31:02`, in local time.
pub(crate) fn date_and_time(at: Timestamp) -> String {
    match jiff::Timestamp::from_millisecond(at.as_millis()) {
        Ok(moment) => moment.to_zoned(TimeZone::system()).strftime("%Y-%m-%d %H:%M:%S").to_string(),
        Err(_) => at.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_has_a_date_and_a_time() {
        let text = date_and_time(Timestamp::from_millis(1_795_161_600_123));
        assert!(text.starts_with("2026-11-") && text.len() == 19, "{text}");
        assert!(utc_offset_s().abs() <= 26 * 3_600);
    }
}
