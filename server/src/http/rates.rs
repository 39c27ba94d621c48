//! How often: keyed buckets (GCRA), by session, code and token first and by address last, because a venue is one address.
//! Memory is bounded: stale keys go, and when there are too many fresh ones all are forgotten rather than anybody refused.

use std::collections::{HashMap, HashSet};
use std::hash::{BuildHasher, Hash, RandomState};
use std::net::IpAddr;
use std::num::NonZeroU32;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError, RwLock};
use std::time::{Duration, Instant};

use axum::http::{HeaderMap, HeaderValue};
use findme_common::JoinCode;
use findme_common::protocol::{Code, header as h};
use governor::clock::{Clock, DefaultClock};
use governor::middleware::StateInformationMiddleware;
use governor::state::keyed::HashMapStateStore;
use governor::{Quota, RateLimiter};

use super::problem::ApiError;
use crate::limits::{Limits, Rate};

/// Keys of one policy in memory; some 40 bytes each.
const MAX_KEYS: usize = 100_000;

/// Keys are looked through once in this many requests.
const SWEEP_EVERY: u32 = 4096;

/// An address that guessed too often waits this long before its codes are looked at again.
const SUSPICION: Duration = Duration::from_secs(10);

/// What is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Policy {
    Joins,
    Guesses,
    Selfies,
    Looks,
    Lists,
    Bytes,
    Uploads,
    Refused,
    Address,
}

impl Policy {
    /// The name in headers and metrics.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Joins => "joins",
            Self::Guesses => "guesses",
            Self::Selfies => "selfies",
            Self::Looks => "looks",
            Self::Lists => "lists",
            Self::Bytes => "bytes",
            Self::Uploads => "uploads",
            Self::Refused => "refused",
            Self::Address => "address",
        }
    }
}

/// How a bucket stands after a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Allowance {
    policy: Policy,
    rate: Rate,
    /// Requests that would be taken now.
    remaining: u32,
    /// Until there is room again, in full or, after a refusal, for one.
    wait: Duration,
}

impl Allowance {
    /// Says so in `RateLimit-Policy` and `RateLimit` (draft-ietf-httpapi-ratelimit-headers-11).
    pub(crate) fn tell(self, headers: &mut HeaderMap) {
        let name = self.policy.name();
        let policy = format!("\"{name}\";q={};w={}", self.rate.count, self.rate.per.as_secs());
        let now = format!("\"{name}\";r={};t={}", self.remaining, whole_seconds(self.wait));
        for (name, value) in [(h::RATE_LIMIT_POLICY, policy), (h::RATE_LIMIT, now)] {
            if let Ok(value) = HeaderValue::from_str(&value) {
                headers.insert(name, value);
            }
        }
    }
}

/// Seconds, rounded up: who comes back then is let through.
fn whole_seconds(time: Duration) -> u64 {
    time.as_secs() + u64::from(time.subsec_nanos() > 0)
}

/// A request that comes too soon.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TooSoon(pub(crate) Allowance);

impl From<TooSoon> for ApiError {
    fn from(TooSoon(allowance): TooSoon) -> Self {
        let mut headers = HeaderMap::new();
        allowance.tell(&mut headers);
        crate::metrics::get().rate_limited(allowance.policy.name());
        let mut error = Self::new(Code::TooManyRequests).header("retry-after", whole_seconds(allowance.wait).max(1));
        for name in [h::RATE_LIMIT_POLICY, h::RATE_LIMIT] {
            if let Some(value) = headers.remove(name) {
                error = error.header(name, value);
            }
        }
        error
    }
}

type Buckets = RateLimiter<u64, HashMapStateStore<u64>, DefaultClock, StateInformationMiddleware>;

/// One policy's buckets.
#[derive(Debug)]
struct Limiter {
    policy: Policy,
    rate: Rate,
    quota: Quota,
    buckets: RwLock<Buckets>,
    asked: AtomicU32,
}

impl Limiter {
    /// `None` when nothing is limited.
    fn new(policy: Policy, rate: Rate) -> Option<Self> {
        if rate.count == 0 {
            return None;
        }
        let quota = Quota::with_period(rate.per / rate.count)?.allow_burst(NonZeroU32::new(rate.count)?);
        Some(Self { policy, rate, quota, buckets: RwLock::new(fresh(quota)), asked: AtomicU32::new(0) })
    }

    fn check(&self, key: u64) -> Result<Allowance, TooSoon> {
        if self.asked.fetch_add(1, Ordering::Relaxed) % SWEEP_EVERY == SWEEP_EVERY - 1 {
            self.sweep(MAX_KEYS);
        }
        let buckets = self.buckets.read().unwrap_or_else(PoisonError::into_inner);
        let allowance = |remaining, wait| Allowance { policy: self.policy, rate: self.rate, remaining, wait };
        match buckets.check_key(&key) {
            Ok(state) => {
                let remaining = state.remaining_burst_capacity();
                Ok(allowance(remaining, self.quota.replenish_interval() * (self.rate.count - remaining)))
            }
            Err(early) => Err(TooSoon(allowance(0, early.wait_time_from(buckets.clock().now())))),
        }
    }

    /// Keys that stand as if they had never asked are forgotten; too many others are forgotten all.
    fn sweep(&self, most: usize) {
        let mut buckets = self.buckets.write().unwrap_or_else(PoisonError::into_inner);
        buckets.retain_recent();
        if buckets.len() > most {
            tracing::warn!(policy = self.policy.name(), keys = buckets.len(), "too many keys: counting begins anew");
            *buckets = fresh(self.quota);
        }
    }
}

fn fresh(quota: Quota) -> Buckets {
    RateLimiter::keyed(quota).with_middleware()
}

/// All policies.
#[derive(Debug)]
pub(crate) struct Rates {
    limiters: Vec<Limiter>,
    hasher: RandomState,
    /// Addresses that guessed too often, and until when.
    suspects: Mutex<HashMap<IpAddr, Instant>>,
    /// Codes that somebody joined with, by address: they go on working there whoever guesses beside them.
    familiar: Mutex<HashSet<u64>>,
}

impl Rates {
    pub(crate) fn new(limits: &Limits) -> Self {
        let each = [
            (Policy::Joins, limits.rate_joins),
            (Policy::Guesses, limits.rate_guesses),
            (Policy::Selfies, limits.rate_selfies),
            (Policy::Looks, limits.rate_looks),
            (Policy::Lists, limits.rate_lists),
            (Policy::Bytes, limits.rate_bytes),
            (Policy::Uploads, limits.rate_uploads),
            (Policy::Refused, limits.rate_refused),
            (Policy::Address, limits.rate_address),
        ];
        Self {
            limiters: each.into_iter().filter_map(|(policy, rate)| Limiter::new(policy, rate)).collect(),
            hasher: RandomState::new(),
            suspects: Mutex::default(),
            familiar: Mutex::default(),
        }
    }

    /// Counts a request. `None`: nothing is limited here.
    ///
    /// # Errors
    /// [`TooSoon`] when the bucket is empty.
    pub(crate) fn check(&self, policy: Policy, key: impl Hash) -> Result<Option<Allowance>, TooSoon> {
        let Some(limiter) = self.limiters.iter().find(|limiter| limiter.policy == policy) else { return Ok(None) };
        limiter.check(self.hasher.hash_one(key)).map(Some)
    }

    /// How many are counted apart under a policy.
    #[cfg(test)]
    pub(crate) fn counted(&self, policy: Policy) -> usize {
        let limiter = self.limiters.iter().find(|limiter| limiter.policy == policy);
        limiter.map_or(0, |limiter| limiter.buckets.read().unwrap_or_else(PoisonError::into_inner).len())
    }

    /// Whether a code may be looked up for somebody at this address (`None`: not known, or this machine).
    ///
    /// # Errors
    /// [`TooSoon`] when too many wrong ones came from there.
    pub(crate) fn may_try(&self, address: Option<IpAddr>, code: &JoinCode) -> Result<(), TooSoon> {
        let Some(address) = address else { return Ok(()) };
        self.check(Policy::Joins, address)?;
        let until = held(&self.suspects).get(&address).copied();
        let wait = until.map_or(Duration::ZERO, |until| until.saturating_duration_since(Instant::now()));
        let known = || held(&self.familiar).contains(&self.hasher.hash_one((address, code)));
        if wait.is_zero() || known() {
            return Ok(());
        }
        let rate = self
            .limiters
            .iter()
            .find(|l| l.policy == Policy::Guesses)
            .map_or(Rate { count: 0, per: SUSPICION }, |l| l.rate);
        Err(TooSoon(Allowance { policy: Policy::Guesses, rate, remaining: 0, wait }))
    }

    /// A code was right.
    ///
    /// # Errors
    /// [`TooSoon`] when too many join with it.
    pub(crate) fn right_code(&self, address: Option<IpAddr>, code: &JoinCode) -> Result<(), TooSoon> {
        self.check(Policy::Joins, code)?;
        if let Some(address) = address {
            let mut familiar = held(&self.familiar);
            if familiar.len() >= MAX_KEYS {
                familiar.clear();
            }
            familiar.insert(self.hasher.hash_one((address, code)));
        }
        Ok(())
    }

    /// A code was wrong.
    pub(crate) fn wrong_code(&self, address: Option<IpAddr>) {
        let Some(address) = address else { return };
        if self.check(Policy::Guesses, address).is_err() {
            let (mut suspects, now) = (held(&self.suspects), Instant::now());
            if suspects.len() >= MAX_KEYS {
                suspects.retain(|_, until| *until > now);
            }
            if suspects.len() < MAX_KEYS {
                suspects.insert(address, now + SUSPICION);
            }
        }
    }
}

/// What a panic left is still a map.
fn held<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rates() -> Rates {
        Rates::new(&Limits {
            rate_selfies: Rate { count: 2, per: Duration::from_secs(3600) },
            rate_guesses: Rate { count: 3, per: Duration::from_secs(3600) },
            rate_lists: Rate { count: 0, per: Duration::from_secs(1) },
            ..Limits::default()
        })
    }

    #[test]
    fn all_at_once_and_then_one_by_one() {
        let rates = rates();
        let first = rates.check(Policy::Selfies, "one").unwrap().unwrap();
        assert_eq!((first.remaining, first.wait), (1, Duration::from_secs(1800)));
        rates.check(Policy::Selfies, "one").unwrap();
        let TooSoon(refused) = rates.check(Policy::Selfies, "one").unwrap_err();
        assert!(refused.wait > Duration::from_secs(1790) && refused.wait <= Duration::from_secs(1800), "{refused:?}");
        assert!(rates.check(Policy::Selfies, "another").is_ok());
        assert_eq!(rates.check(Policy::Lists, "one").unwrap(), None);
    }

    #[test]
    fn the_headers_are_the_drafts() {
        let rate = Rate { count: 20, per: Duration::from_secs(60) };
        let mut headers = HeaderMap::new();
        Allowance { policy: Policy::Lists, rate, remaining: 7, wait: Duration::from_millis(30_100) }.tell(&mut headers);
        assert_eq!(headers["ratelimit-policy"], "\"lists\";q=20;w=60");
        assert_eq!(headers["ratelimit"], "\"lists\";r=7;t=31");
    }

    #[test]
    fn guessing_stops_and_the_venue_goes_on() {
        let rates = rates();
        let (venue, home) = (Some([203, 0, 113, 5].into()), Some([203, 0, 113, 6].into()));
        let (known, other) = (JoinCode::random().unwrap(), JoinCode::random().unwrap());
        rates.may_try(venue, &known).unwrap();
        rates.right_code(venue, &known).unwrap();
        for _ in 0..4 {
            rates.may_try(venue, &other).unwrap();
            rates.wrong_code(venue);
        }
        let TooSoon(refused) = rates.may_try(venue, &other).unwrap_err();
        assert!(refused.wait <= SUSPICION && refused.policy == Policy::Guesses);
        rates.may_try(venue, &known).expect("whoever guesses beside them, guests get in");
        rates.may_try(home, &other).expect("another address has nothing to do with it");
        rates.may_try(None, &other).expect("this machine is nobody's address");
    }

    #[test]
    fn keys_in_memory_are_bounded() {
        let rate = Rate { count: 2, per: Duration::from_secs(3600) };
        let limiter = Limiter::new(Policy::Lists, rate).unwrap();
        for key in 0..100 {
            limiter.check(key).unwrap();
        }
        limiter.sweep(100);
        assert_eq!(limiter.buckets.read().unwrap().len(), 100);
        limiter.sweep(99);
        assert_eq!(limiter.buckets.read().unwrap().len(), 0);
    }
}
