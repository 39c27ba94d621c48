//! Leases, bounded attempts, delays, attention: what keeps each photo's result written once, and every photo accounted for.

use super::*;
use crate::clock::now_ms;

#[tokio::test]
async fn two_claimers_never_get_the_same_job() {
    let world = World::new().await;
    for n in 0..12 {
        world.receive(&format!("photo {n}"), None).await;
    }
    let claimers = (0..6).map(|_| async {
        let mut mine = Vec::new();
        while let Some(claim) = world.claim().await {
            mine.push(claim.seq);
        }
        mine
    });
    let claimed = futures_util::future::join_all(claimers).await;
    let mut all: Vec<i64> = claimed.into_iter().flatten().collect();
    all.sort_unstable();
    let count = all.len();
    all.dedup();
    assert_eq!((count, all.len()), (12, 12), "each job exactly once");
}

/// More photos than count as a crowd.
async fn crowd() -> World {
    let world = World::new().await;
    for n in 0..70 {
        world.receive(&format!("photo {n}"), None).await;
    }
    world
}

#[tokio::test]
async fn several_jobs_are_leased_at_once_only_in_a_crowd() {
    let world = crowd().await;
    let newest = world.number("SELECT MAX(seq) FROM photos").await;
    let batch = world.catalog.claim_jobs([1; 16], 4).await.unwrap();
    assert_eq!(batch.iter().map(|claim| claim.seq).collect::<Vec<_>>(), [newest, newest - 1, newest - 2, newest - 3]);
    for claim in &batch {
        assert!(world.complete(claim, &JobOutcome::Indexed(indexed(), vec![])).await.unwrap());
    }
    let last = world.catalog.claim_jobs([2; 16], 4).await.unwrap();
    assert_eq!(last.len(), 4, "66 wait");
    assert_eq!(
        world.catalog.claim_jobs([3; 16], 4).await.unwrap().len(),
        1,
        "62 wait: nobody keeps several for himself"
    );
    // Whoever ends gives back what was not begun, as if nothing had been.
    world.catalog.give_back(&last[0]).await.unwrap();
    assert_eq!(world.number("SELECT COUNT(*) FROM jobs WHERE lease IS NULL AND attempts = 0").await, 62);
    assert_eq!(world.claim().await.unwrap().seq, last[0].seq);
    world.catalog.give_back(&last[1]).await.unwrap();
    assert!(!world.complete(&last[1], &JobOutcome::Failed("late")).await.unwrap(), "it is nobody's now");
}

#[tokio::test]
async fn two_batches_never_share_a_job() {
    let world = crowd().await;
    let claimers = (0..8).map(|n| {
        let world = &world;
        async move {
            let mut mine = Vec::new();
            loop {
                let batch = world.catalog.claim_jobs([n; 16], 16).await.unwrap();
                if batch.is_empty() {
                    return mine;
                }
                mine.extend(batch.into_iter().map(|claim| claim.seq));
            }
        }
    });
    let mut all: Vec<i64> = futures_util::future::join_all(claimers).await.into_iter().flatten().collect();
    all.sort_unstable();
    let count = all.len();
    all.dedup();
    assert_eq!((count, all.len()), (70, 70));
}

#[tokio::test]
async fn a_photo_that_ends_its_workers_takes_no_attempts_from_those_leased_with_it() {
    let world = crowd().await;
    let poison = world.number("SELECT MAX(seq) FROM photos").await;
    for round in 0..200 {
        let batch = world.catalog.claim_jobs([round; 16], 8).await.unwrap();
        if batch.is_empty() {
            break;
        }
        if batch.iter().any(|claim| claim.seq == poison) {
            world.sql("UPDATE jobs SET lease_until = 1 WHERE lease IS NOT NULL").await; // the worker dies
            continue;
        }
        for claim in &batch {
            assert!(world.complete(claim, &JobOutcome::Indexed(indexed(), vec![])).await.unwrap());
        }
    }
    assert_eq!(world.number("SELECT COUNT(*) FROM photos WHERE state = 'failed'").await, 1);
    assert_eq!(world.number("SELECT COUNT(*) FROM photos WHERE state = 'indexed'").await, 69);
}

#[tokio::test]
async fn the_newest_photo_is_indexed_first() {
    let world = World::new().await;
    world.receive("older", None).await;
    let newest = world.receive("newest", None).await;
    assert_eq!(world.claim().await.unwrap().photo, newest);
}

#[tokio::test]
async fn an_expired_lease_is_claimed_again_and_its_first_holder_commits_nothing() {
    let world = World::new().await;
    let photo = world.receive("photo", None).await;
    let first = world.claim().await.unwrap();
    assert!(world.claim().await.is_none(), "a leased job is nobody else's");
    world.sql("UPDATE jobs SET lease_until = 1").await;
    let second = world.claim().await.unwrap();
    assert_eq!(second.photo, photo);
    let late = JobOutcome::Indexed(indexed(), vec![face(b"late")]);
    assert!(!world.complete(&first, &late).await.unwrap());
    assert_eq!(world.number("SELECT COUNT(*) FROM faces").await, 0);
    assert_eq!(world.state_of(photo).await.0, PhotoState::Received);
    let outcome = JobOutcome::Indexed(indexed(), vec![face(b"a"), face(b"b")]);
    assert!(world.complete(&second, &outcome).await.unwrap());
    assert!(!world.complete(&second, &outcome).await.unwrap(), "a job ends once");
    assert_eq!(world.number("SELECT COUNT(*) FROM faces").await, 2);
    assert_eq!(world.number("SELECT index_runs FROM photos").await, 1);
    assert_eq!(world.state_of(photo).await.0, PhotoState::Indexed);
    assert!(world.claim().await.is_none());
}

#[tokio::test]
async fn a_photo_that_keeps_ending_its_worker_is_given_up() {
    let world = World::new().await;
    let poison = world.receive("poison", None).await;
    let mut runs = 0;
    while let Some(claim) = world.claim().await {
        assert_eq!(claim.photo, poison);
        runs += 1;
        assert!(runs < 10, "attempts are not bounded");
        // The worker dies; its lease runs out.
        world.sql("UPDATE jobs SET lease_until = 1").await;
    }
    assert_eq!(runs, 4);
    assert_eq!(world.state_of(poison).await, (PhotoState::Failed, Some("gave-up".to_owned())));
    assert_eq!(world.catalog.counts(world.event, PhotoFilter::All).await.unwrap().runnable, 0);
    let told = world.catalog.live_of_event_after(world.event, 0, 10).await.unwrap();
    assert_eq!(told.last().map(|entry| (entry.kind, entry.photo)), Some((LiveKind::Failed, poison)));
}

#[tokio::test]
async fn trouble_that_passes_uses_up_no_attempts_and_comes_to_attention() {
    let world = World::new().await;
    let photo = world.receive("photo", None).await;
    let attention = async || world.catalog.attention(Some(world.event), None, 10).await.unwrap().photos;
    for n in 1..=10 {
        world.sql("UPDATE jobs SET run_after = 0").await;
        let claim = world.claim().await.unwrap();
        assert!(world.complete(&claim, &JobOutcome::Again(Trouble::Disk)).await.unwrap());
        assert!(world.claim().await.is_none(), "not again at once");
        let listed = attention().await;
        assert_eq!(listed.len(), usize::from(n >= 3), "after {n} delays");
        if let Some(item) = listed.first() {
            assert_eq!((item.photo, item.trouble.as_deref(), item.delays), (photo, Some("disk"), n));
        }
    }
    assert!(world.number("SELECT run_after FROM jobs").await - now_ms() > 400_000, "ten delays are minutes");
    assert_eq!(world.state_of(photo).await.0, PhotoState::Received);
    assert_eq!(world.catalog.requeue(None, Requeue::Failed).await.unwrap(), 1);
    assert!(attention().await.is_empty());
    world.index_all().await;
    assert_eq!(world.state_of(photo).await.0, PhotoState::Indexed);
}

#[tokio::test]
async fn failed_photos_are_listed_and_put_back_when_asked() {
    let world = World::new().await;
    let other = EventId::random().unwrap();
    world.catalog.create_event(other, "other", &JoinCode::random().unwrap()).await.unwrap();
    let mut failed = Vec::new();
    for n in 0..5 {
        failed.insert(0, world.receive(&format!("photo {n}"), None).await);
        let claim = world.claim().await.unwrap();
        assert!(world.complete(&claim, &JobOutcome::Failed("not-a-photo")).await.unwrap());
    }
    let fine = world.receive("fine", None).await;
    world.index_all().await;
    let first = world.catalog.attention(None, None, 3).await.unwrap();
    let rest = world.catalog.attention(None, first.next.unwrap().parse().ok(), 3).await.unwrap();
    let listed: Vec<_> = first.photos.iter().chain(&rest.photos).map(|item| item.photo).collect();
    assert_eq!((listed, rest.next), (failed.clone(), None));
    assert_eq!(first.photos[0].reason.as_deref(), Some("not-a-photo"));
    assert!(world.catalog.attention(Some(other), None, 10).await.unwrap().photos.is_empty());
    assert_eq!(world.catalog.requeue(Some(other), Requeue::Failed).await.unwrap(), 0);
    // One that did not fail, and one of another event's, are not touched.
    let these = Requeue::These(&[failed[0], fine]);
    assert_eq!(world.catalog.requeue(Some(world.event), these).await.unwrap(), 1);
    assert_eq!(world.state_of(failed[0]).await, (PhotoState::Received, None));
    assert_eq!(world.state_of(failed[1]).await.0, PhotoState::Failed);
    assert_eq!(world.catalog.requeue(Some(world.event), Requeue::Failed).await.unwrap(), 4);
    assert_eq!(world.number("SELECT COUNT(*) FROM jobs").await, 5);
    world.index_all().await;
    assert_eq!(world.number("SELECT MAX(index_runs) FROM photos").await, 1);
    assert_eq!(world.catalog.requeue(Some(world.event), Requeue::All).await.unwrap(), 6);
    assert_eq!(world.state_of(fine).await.0, PhotoState::Indexed, "it stays searchable");
}

#[tokio::test]
async fn a_living_worker_keeps_its_lease() {
    let world = World::new().await;
    world.receive("photo", None).await;
    let claim = world.claim().await.unwrap();
    world.sql("UPDATE jobs SET lease_until = 1").await;
    assert!(world.catalog.renew_lease(&claim).await.unwrap(), "nobody took it meanwhile");
    assert!(world.claim().await.is_none());
    world.sql("UPDATE jobs SET lease_until = 1").await;
    let other = world.claim().await.unwrap();
    assert!(!world.catalog.renew_lease(&claim).await.unwrap(), "it is another's now");
    assert!(world.catalog.renew_lease(&other).await.unwrap());
}

#[tokio::test]
async fn the_oldest_job_that_nobody_takes_has_an_age() {
    let world = World::new().await;
    assert_eq!(world.catalog.oldest_job_age().await.unwrap(), None);
    world.receive("photo", None).await;
    world.sql("UPDATE jobs SET queued_at = queued_at - 60000").await;
    assert!(world.catalog.oldest_job_age().await.unwrap().unwrap() >= 60_000);
    let claim = world.claim().await.unwrap();
    assert_eq!(world.catalog.oldest_job_age().await.unwrap(), None, "somebody works on it");
    assert!(world.complete(&claim, &JobOutcome::Again(Trouble::Files)).await.unwrap());
    assert_eq!(world.catalog.oldest_job_age().await.unwrap(), None, "it waits for the trouble to pass");
}

#[tokio::test]
async fn jobs_that_wait_for_models_are_not_runnable() {
    let world = World::new().await;
    let photo = world.receive("photo", None).await;
    let counts = async || world.catalog.counts(world.event, PhotoFilter::All).await.unwrap();
    assert_eq!(counts().await.runnable, 1);
    let claim = world.claim().await.unwrap();
    assert_eq!(counts().await.runnable, 1, "a running job is runnable");
    assert!(world.complete(&claim, &JobOutcome::WaitsForModels(indexed())).await.unwrap());
    assert_eq!((counts().await.runnable, counts().await.received), (0, 1));
    assert!(world.claim().await.is_none());
    assert_eq!(world.shown().await, [photo], "it is shown meanwhile");
    assert_eq!(world.catalog.wake_waiting_jobs().await.unwrap(), 1);
    assert_eq!(counts().await.runnable, 1);
    world.index_all().await;
    assert_eq!((counts().await.runnable, counts().await.indexed), (0, 1));
}

#[tokio::test]
async fn a_new_process_gets_the_leases_of_the_dead_one() {
    let world = World::new().await;
    world.receive("photo", None).await;
    world.claim().await.unwrap();
    assert!(world.claim().await.is_none());
    world.catalog.release_leases().await.unwrap();
    assert!(world.claim().await.is_some());
}

#[tokio::test]
async fn the_live_log_is_cut_by_age_and_says_from_where_it_goes_on() {
    let world = World::new().await;
    for n in 0..4 {
        world.receive(&format!("photo {n}"), None).await;
    }
    let bounds = world.catalog.live_bounds(world.event).await.unwrap();
    assert!(bounds.continues(0) && bounds.continues(bounds.end) && !bounds.continues(bounds.end + 1));
    world.sql("UPDATE live SET at = 1000 WHERE seq <= 3").await;
    assert!(!world.catalog.trim_live(1000).await.unwrap(), "as old as allowed stays");
    assert_eq!(world.catalog.live_bounds(world.event).await.unwrap(), bounds);
    assert!(!world.catalog.trim_live(1001).await.unwrap());
    let cut = world.catalog.live_bounds(world.event).await.unwrap();
    assert_eq!((cut.start, cut.end), (3, bounds.end));
    assert!(!cut.continues(2) && cut.continues(3));
    assert_eq!(world.catalog.live_of_event_after(world.event, 0, 10).await.unwrap().len(), 1);
    // What is erased at the end does not take its ids back.
    world.sql("DELETE FROM live").await;
    assert_eq!(world.catalog.live_bounds(world.event).await.unwrap(), cut);
}
