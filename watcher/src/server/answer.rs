//! The head of an answer, sorted into a decision: only what could come from nobody else counts as the server's.

use std::time::{Duration, SystemTime};

use findme_common::manifest::FailReason;
use findme_common::protocol::{Code, Problem, header};
use reqwest::StatusCode;
use reqwest::header::{CONTENT_TYPE, DATE, HeaderMap, RETRY_AFTER};

use super::{Failure, not_ours};

/// The head of an answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(super) problem: Option<Problem>,
}

impl Answer {
    /// A header's text.
    pub(crate) fn text(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// A header's number.
    pub(crate) fn number(&self, name: &str) -> Option<u64> {
        self.text(name)?.parse().ok()
    }

    /// Whether it speaks tus or is a FindMe problem, as no login page does.
    pub(crate) fn is_ours(&self) -> bool {
        self.headers.contains_key(header::TUS_RESUMABLE) || self.problem.is_some()
    }

    /// The problem's code, where it has one.
    pub(crate) fn code(&self) -> Option<Code> {
        self.problem.as_ref().map(|problem| problem.code)
    }

    fn words(&self) -> String {
        match &self.problem {
            Some(Problem { title, detail: Some(detail), .. }) => format!("{title}: {detail}"),
            Some(problem) => problem.title.clone(),
            None => format!("status {}", self.status.as_u16()),
        }
    }

    /// How long the server wants to be left alone. A date is compared with the server's own clock where it tells it:
    /// the laptop's may be wrong by hours.
    fn after(&self) -> Option<Duration> {
        let text = self.text(RETRY_AFTER.as_str())?.trim();
        let now = self.text(DATE.as_str()).and_then(|date| httpdate::parse_http_date(date).ok());
        let until = |date: SystemTime| date.duration_since(now.unwrap_or_else(SystemTime::now)).unwrap_or_default();
        let seconds = text.parse().ok().map(Duration::from_secs);
        let after = seconds.or_else(|| httpdate::parse_http_date(text).ok().map(until))?;
        // An hour is the longest that anybody can mean.
        Some(after.min(Duration::from_secs(3600)))
    }

    /// What an answer means that was not the one hoped for.
    pub(crate) fn failure(&self) -> Failure {
        let refused = |reason| Failure::Refused { reason, why: self.words() };
        let html = self.headers.get(CONTENT_TYPE).is_some_and(|kind| kind.as_bytes().starts_with(b"text/html"));
        match (self.status.as_u16(), self.code()) {
            (_, Some(Code::PhotoDeleted)) => Failure::Deleted,
            (_, Some(Code::EventClosed)) => refused(FailReason::EventClosed),
            (_, Some(Code::TokenRefused)) => Failure::TokenRefused(self.words()),
            (401 | 403, _) if self.is_ours() || !html => Failure::TokenRefused(self.words()),
            (507, _) => Failure::Full { after: self.after() },
            (429 | 503 | 423, _) => Failure::Busy { why: self.words(), after: self.after() },
            (502 | 504 | 511, _) => Failure::Away(format!("no answer from the server ({})", self.words())),
            // What a web server says that has never heard of uploads.
            (404 | 405 | 501, _) if !self.is_ours() => not_ours(&self.words()),
            (500..=599, _) => Failure::Again { why: self.words(), tries: None },
            (413, _) => refused(FailReason::TooLarge),
            (415, _) => refused(FailReason::UnsupportedMediaType),
            (400..=499, _) if !self.is_ours() && html => not_ours(&self.words()),
            (422, _) => refused(FailReason::Rejected),
            (400..=499, _) => Failure::Again { why: self.words(), tries: Some(5) },
            _ => not_ours(&self.words()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told_to_wait(headers: &[(&'static str, &str)]) -> Option<Duration> {
        let mut answer = Answer { status: StatusCode::SERVICE_UNAVAILABLE, headers: HeaderMap::new(), problem: None };
        for (name, value) in headers {
            answer.headers.insert(*name, value.parse().unwrap());
        }
        match answer.failure() {
            Failure::Busy { after, .. } => after,
            other => panic!("{other}"),
        }
    }

    #[test]
    fn both_forms_of_retry_after_are_understood_whatever_the_laptops_clock_says() {
        assert_eq!(told_to_wait(&[("retry-after", "7")]), Some(Duration::from_secs(7)));
        // Long ago by this machine's clock, in 90 s by the server's.
        let date = [("date", "Sun, 06 Nov 1994 08:49:37 GMT"), ("retry-after", "Sun, 06 Nov 1994 08:51:07 GMT")];
        assert_eq!(told_to_wait(&date), Some(Duration::from_secs(90)));
        assert_eq!(told_to_wait(&date[1..]), Some(Duration::ZERO), "it is over");
        let soon = httpdate::fmt_http_date(SystemTime::now() + Duration::from_secs(60));
        assert!(told_to_wait(&[("retry-after", &soon)]).is_some_and(|after| (55..=60).contains(&after.as_secs())));
        let ahead = httpdate::fmt_http_date(SystemTime::now() + Duration::from_secs(1_000_000));
        assert_eq!(told_to_wait(&[("retry-after", &ahead)]), Some(Duration::from_secs(3600)), "nobody means weeks");
        for nonsense in ["soon", "-3", ""] {
            assert_eq!(told_to_wait(&[("retry-after", nonsense)]), None, "{nonsense}");
        }
    }
}
