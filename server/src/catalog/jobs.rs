//! The queue of index jobs: rows, committed together with their photo. A claim is a lease with an owner; who lost it
//! cannot commit, so each photo's result is written once.

use std::time::Duration;

use findme_common::protocol::LiveKind;
use findme_common::{EventId, GuestId, PhotoId};

use super::db::{Tx, query};
use super::{Audience, Catalog, CatalogError, GuestEnrolment, Likeness, NewFace, Result, Scope, Suppressed, id_column};
use crate::clock::now_ms;
use crate::picture::location::Patches;

/// A worker that dies gives its photo back after this long. Its worker renews it while it lives ([`RENEW_EVERY`]), so
/// it is short although some photos take long.
const LEASE_MS: i64 = 20_000;

/// How often a living worker renews its lease: three renewals may be lost before the lease is.
pub(crate) const RENEW_EVERY: Duration = Duration::from_millis(LEASE_MS as u64 / 4);

/// A photo that ended its worker this often is put aside.
const MAX_ATTEMPTS: i64 = 4;

/// So many runnable jobs are a crowd, of which several may be leased at once: nobody is kept waiting by that.
const CROWD: i64 = 64;

/// Put off the first time by this, then by twice as much each time.
const FIRST_DELAY_MS: i64 = 5_000;

/// Never put off by more.
const LONGEST_DELAY_MS: i64 = 600_000;

/// A leased job.
#[derive(Debug, Clone)]
pub(crate) struct Claim {
    /// Order of acceptance of the photo.
    pub seq: i64,
    /// Its event.
    pub event: EventId,
    /// Its id.
    pub photo: PhotoId,
    /// Whether the original is there; else the sent preview is what there is.
    pub original: bool,
    /// Whether faces are looked for at the event.
    pub faces: bool,
    /// Proof of the lease.
    lease: [u8; 16],
}

/// What indexing a photo found out.
#[derive(Debug)]
pub(crate) struct Indexed {
    /// Pixels of the upright photo.
    pub width: u32,
    /// Pixels of the upright photo.
    pub height: u32,
    /// Media type of the stored file.
    pub media: &'static str,
    /// Capture time as the camera wrote it.
    pub taken_at: Option<String>,
    /// What of the original is not for guests; `None` when it was not the original that was looked at.
    pub private: Option<Patches>,
}

/// From the enrolments of an event to the guests among them who match.
pub(crate) type FindGuests<'a> = dyn Fn(&[GuestEnrolment], &[bool]) -> Vec<(GuestId, LiveKind)> + Sync + 'a;

/// From people who are never matched to whether each face is one of theirs.
pub(crate) type FindUnwanted<'a> = dyn Fn(&[Suppressed]) -> Vec<Likeness> + Sync + 'a;

/// Finds the guests who are in the photo that is being completed.
pub(crate) struct Matcher<'a> {
    /// Pack of the photo's faces; enrolments of other packs cannot be compared with them.
    pub(crate) pack: &'a str,
    /// Which of these enrolments the photo's faces match, and how surely; faces that are marked do not count.
    pub(crate) find: &'a FindGuests<'a>,
    /// Whose of these people the photo's faces are, in the order of the outcome's faces.
    pub(crate) unwanted: &'a FindUnwanted<'a>,
}

/// How a job ends.
#[derive(Debug)]
pub(crate) enum JobOutcome {
    /// Pictures made, faces (perhaps none) searchable.
    Indexed(Indexed, Vec<NewFace>),
    /// Pictures made; the faces wait until there are models.
    WaitsForModels(Indexed),
    /// It can never be indexed; the reason is a stable word.
    Failed(&'static str),
    /// Something that may pass: again after some time, longer each time.
    Again(Trouble),
}

impl JobOutcome {
    /// The same photo, with the faces that were found in it.
    pub(crate) fn with_faces(self, faces: Vec<NewFace>) -> Self {
        match self {
            Self::Indexed(indexed, _) => Self::Indexed(indexed, faces),
            other => other,
        }
    }

    /// The same photo, whose faces have to wait.
    pub(crate) fn without_engine(self) -> Self {
        match self {
            Self::Indexed(indexed, _) => Self::WaitsForModels(indexed),
            other => other,
        }
    }
}

/// What keeps a photo from being indexed now, and may pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Trouble {
    /// There is no room for the derivatives, or the disk takes no writes.
    Disk,
    /// A file cannot be read or written.
    Files,
    /// The event's key cannot be used.
    Key,
    /// The face engine failed.
    Engine,
}

impl Trouble {
    /// The stable word for it, in the catalogue and for operators.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Disk => "disk",
            Self::Files => "files",
            Self::Key => "key",
            Self::Engine => "engine",
        }
    }
}

/// How long a job waits that was put off `delays` times before, in milliseconds: doubled each time, a quarter more or
/// less by the dice, so that a thousand photos do not all come back to a disk in the same moment.
fn delay_ms(delays: i64, dice: u8) -> i64 {
    let doubled = FIRST_DELAY_MS << delays.clamp(0, 7);
    (doubled.min(LONGEST_DELAY_MS) * (192 + i64::from(dice) / 2) / 256).min(LONGEST_DELAY_MS)
}

/// Makes a job for a photo; one that is under way is taken from its worker, because there is more to see now.
pub(super) async fn enqueue(tx: &mut Tx, event: EventId, seq: i64) -> Result<()> {
    query(
        "INSERT INTO jobs (photo, event, queued_at) VALUES (?, ?, ?) ON CONFLICT (photo) DO UPDATE
         SET waiting = 0, attempts = 0, run_after = 0, lease = NULL, lease_until = 0, delays = 0, trouble = NULL,
             queued_at = excluded.queued_at",
    )
    .bind(seq)
    .bind(event.as_bytes().as_slice())
    .bind(now_ms())
    .execute(&mut *tx)
    .await?;
    Ok(())
}

/// Leases runnable jobs, newest first, that were tried at most so often; the numbers of their photos, newest first.
async fn lease_rows(tx: &mut Tx, lease: [u8; 16], tried: i64, most: u32) -> Result<Vec<i64>> {
    let now = now_ms();
    // Picked once, before anything is changed: a part of the statement that is read again would pick others.
    let rows = query(
        "WITH picked AS MATERIALIZED (
             SELECT photo FROM jobs WHERE waiting = 0 AND run_after <= ? AND lease_until <= ? AND attempts <= ?
             ORDER BY attempts, photo DESC LIMIT ? /*postgres FOR UPDATE SKIP LOCKED */)
         UPDATE jobs SET lease = ?, lease_until = ?, attempts = attempts + 1 WHERE photo IN (SELECT photo FROM picked)
         RETURNING photo",
    )
    .bind(now)
    .bind(now)
    .bind(tried)
    .bind(most)
    .bind(lease.as_slice())
    .bind(now + LEASE_MS)
    .fetch_all(&mut *tx)
    .await?;
    let mut seqs = rows.iter().map(|row| row.try_get(0)).collect::<sqlx::Result<Vec<i64>>>()?;
    seqs.sort_unstable_by(|a, b| b.cmp(a));
    Ok(seqs)
}

impl Catalog {
    /// Leases the newest runnable job, or up to `most` of them where there are many: in a crowd of workers the commits of
    /// claims are half of what the queue costs. None when there is none now. A job that has ended its worker too often
    /// becomes a failed photo instead.
    ///
    /// # Errors
    /// When the catalogue cannot be written.
    pub(crate) async fn claim_jobs(&self, lease: [u8; 16], most: u32) -> Result<Vec<Claim>> {
        let waiting = query(
            "SELECT COUNT(*) FROM (SELECT 1 FROM jobs WHERE waiting = 0 AND run_after <= ? AND lease_until <= ? LIMIT ?) AS found",
        )
        .bind(now_ms())
        .bind(now_ms())
        .bind(CROWD)
        .fetch_one(&self.readers)
        .await?
        .try_get::<i64, _>(0)?;
        if waiting == 0 {
            return Ok(Vec::new()); // the usual case: no write lock taken for looking
        }
        self.put_aside().await?;
        let mut tx = self.begin(Scope::Nothing).await?;
        let mut rows = Vec::new();
        if most > 1 && waiting >= CROWD {
            // Only those that were never tried: what ends its worker must not use up the attempts of others.
            rows = lease_rows(&mut tx, lease, 0, most).await?;
        }
        if rows.is_empty() {
            rows = lease_rows(&mut tx, lease, MAX_ATTEMPTS, 1).await?;
        }
        let mut claims = Vec::with_capacity(rows.len());
        for seq in rows {
            let photo = query("SELECT event, photos.id, digest IS NOT NULL AS original, policy <> 'off' AS faces FROM photos JOIN events ON events.id = event WHERE seq = ?")
                .bind(seq)
                .fetch_one(&mut tx)
                .await?;
            claims.push(Claim {
                seq,
                event: id_column!(&photo, "event", EventId)?,
                photo: id_column!(&photo, "id", PhotoId)?,
                original: photo.try_get("original")?,
                faces: photo.try_get("faces")?,
                lease,
            });
        }
        tx.commit().await?;
        Ok(claims)
    }

    /// Gives a job back that was leased and not begun.
    ///
    /// # Errors
    /// When the catalogue cannot be written; then its lease runs out.
    pub(crate) async fn give_back(&self, claim: &Claim) -> Result<()> {
        query("UPDATE jobs SET lease = NULL, lease_until = 0, attempts = MAX(attempts - 1, 0) WHERE photo = ? AND lease = ?")
            .bind(claim.seq)
            .bind(claim.lease.as_slice())
            .execute(&self.writer)
            .await?;
        Ok(())
    }

    /// Photos whose workers died again and again are marked, never tried for ever.
    async fn put_aside(&self) -> Result<()> {
        let given_up = "SELECT jobs.photo AS seq, jobs.event AS event, photos.id AS photo FROM jobs
             JOIN photos ON photos.seq = jobs.photo WHERE waiting = 0 AND attempts >= ? AND lease_until <= ?";
        let rows = query(given_up).bind(MAX_ATTEMPTS).bind(now_ms()).fetch_all(&self.readers).await?;
        for row in rows {
            let (seq, event) = (row.try_get::<i64, _>("seq")?, id_column!(&row, "event", EventId)?);
            let mut tx = self.begin(Scope::Event(event)).await?;
            // It may have been claimed, asked for again or put aside since it was looked up.
            let still =
                query("DELETE FROM jobs WHERE photo = ? AND waiting = 0 AND attempts >= ? AND lease_until <= ?")
                    .bind(seq)
                    .bind(MAX_ATTEMPTS)
                    .bind(now_ms())
                    .execute(&mut tx)
                    .await?;
            if still.rows_affected() == 1 {
                fail(&mut tx, event, seq, id_column!(&row, "photo", PhotoId)?, "gave-up").await?;
                super::photos::bump(&mut tx, event).await?;
                tx.commit().await?;
            }
        }
        Ok(())
    }

    /// Keeps a job for its worker, which is alive; whether it still was its worker's. A worker that slept (a closed lid)
    /// keeps its job unless another has taken it.
    ///
    /// # Errors
    /// When the catalogue cannot be written.
    pub(crate) async fn renew_lease(&self, claim: &Claim) -> Result<bool> {
        let done = query("UPDATE jobs SET lease_until = ? WHERE photo = ? AND lease = ?")
            .bind(now_ms() + LEASE_MS)
            .bind(claim.seq)
            .bind(claim.lease.as_slice())
            .execute(&self.writer)
            .await?;
        Ok(done.rows_affected() == 1)
    }

    /// Ends a job, with everything it found, in one transaction; whether the lease still held. When it did not, another
    /// worker has the photo and nothing is written.
    ///
    /// # Errors
    /// When the catalogue cannot be written; then nothing is.
    pub(crate) async fn complete_job(
        &self,
        claim: &Claim,
        outcome: &JobOutcome,
        matcher: &Matcher<'_>,
    ) -> Result<bool> {
        let mut tx = self.begin(Scope::Event(claim.event)).await?;
        let held = query("UPDATE jobs SET lease = NULL, lease_until = 0 WHERE photo = ? AND lease = ?")
            .bind(claim.seq)
            .bind(claim.lease.as_slice())
            .execute(&mut tx)
            .await?;
        if held.rows_affected() == 0 {
            return Ok(false);
        }
        let mut begun = None;
        let shot = super::versions::with_shots(&mut tx, claim.event, &[claim.photo]).await?;
        let before = super::versions::seen(&mut tx, claim.event, &shot).await?;
        match outcome {
            JobOutcome::Indexed(indexed, faces) => {
                set_pictures(&mut tx, claim, indexed).await?;
                // Read in this transaction: who asks never to be matched from here on has these faces removed.
                let unwanted = super::suppressions::drop_unwanted(&mut tx, claim, faces, matcher.unwanted).await?;
                super::faces::replace(&mut tx, claim, faces, &unwanted).await?;
                let first = set_indexed(&mut tx, claim.seq).await?;
                delete(&mut tx, claim.seq).await?;
                begun = if first { upload_begun(&mut tx, claim).await? } else { None };
                announce(&mut tx, claim, first, matcher, &unwanted).await?;
            }
            JobOutcome::WaitsForModels(indexed) => {
                set_pictures(&mut tx, claim, indexed).await?;
                query("UPDATE jobs SET waiting = 1, attempts = 0, delays = 0, trouble = NULL WHERE photo = ?")
                    .bind(claim.seq)
                    .execute(&mut tx)
                    .await?;
            }
            JobOutcome::Failed(reason) => fail(&mut tx, claim.event, claim.seq, claim.photo, reason).await?,
            JobOutcome::Again(trouble) => put_off(&mut tx, claim.seq, *trouble).await?,
        }
        let after = super::versions::seen(&mut tx, claim.event, &shot).await?;
        super::versions::tell(&mut tx, claim.event, &before, &after, Some(claim.photo)).await?;
        super::photos::bump(&mut tx, claim.event).await?;
        tx.commit().await?;
        if let Some(begun) = begun {
            let took = Duration::from_millis(u64::try_from(now_ms() - begun).unwrap_or(0));
            crate::metrics::get().close_to_push(took);
        }
        Ok(true)
    }

    /// Lets the jobs run that waited for models; how many. Called when models are there.
    ///
    /// # Errors
    /// When the catalogue cannot be written.
    pub(crate) async fn wake_waiting_jobs(&self) -> Result<u64> {
        let woken = query("UPDATE jobs SET waiting = 0, queued_at = ? WHERE waiting = 1").bind(now_ms());
        Ok(woken.execute(&self.writer).await?.rows_affected())
    }

    /// Takes back every lease. Only right while no process works on the data folder (see `roles`).
    ///
    /// # Errors
    /// When the catalogue cannot be written.
    pub(crate) async fn release_leases(&self) -> Result<()> {
        query("UPDATE jobs SET lease = NULL, lease_until = 0 WHERE lease IS NOT NULL").execute(&self.writer).await?;
        Ok(())
    }

    /// Jobs that are not done, and those of them that wait for models.
    ///
    /// # Errors
    /// When the catalogue cannot be read.
    pub(crate) async fn queue_depth(&self) -> Result<(i64, i64)> {
        let row =
            query("SELECT COUNT(*), COUNT(*) FILTER (WHERE waiting = 1) FROM jobs").fetch_one(&self.readers).await?;
        Ok((row.try_get(0)?, row.try_get(1)?))
    }

    /// For how long the job that has waited longest could have run, in milliseconds; `None` when no job can. Jobs that
    /// wait for models or for a trouble to pass do not count: an age that grows means that nobody works.
    ///
    /// # Errors
    /// When the catalogue cannot be read.
    pub(crate) async fn oldest_job_age(&self) -> Result<Option<i64>> {
        let row = query("SELECT MIN(MAX(queued_at, run_after)) FROM jobs WHERE waiting = 0 AND lease_until <= ?1 AND run_after <= ?1")
            .bind(now_ms())
            .fetch_one(&self.readers)
            .await?;
        Ok(row.try_get::<Option<i64>, _>(0)?.map(|since| (now_ms() - since).max(0)))
    }
}

/// Tells everybody that the photo can be found, the `first` time that it can, and those guests in it who do not know yet
/// that it is theirs. The enrolments are those of this very transaction: whoever enrols later finds the photo in the
/// gallery, so nobody falls between the two.
async fn announce(tx: &mut Tx, claim: &Claim, first: bool, matcher: &Matcher<'_>, unwanted: &[bool]) -> Result<()> {
    let shown = super::photos::is_shown(tx, claim.seq).await?;
    if first {
        let audience = Audience::of_photo(tx, claim.event, shown).await?;
        super::live::append(tx, claim.event, LiveKind::Indexed, claim.photo, audience).await?;
    }
    if !shown {
        return Ok(()); // they are told when it is shown
    }
    let enrolments = super::guests::enrolments_of_event(tx, claim.event, matcher.pack).await?;
    for (guest, kind) in (matcher.find)(&enrolments, unwanted) {
        super::live::tell_once(tx, claim.event, kind, claim.photo, guest).await?;
    }
    Ok(())
}

/// When the first upload of a photo was created; `None` when it was forgotten since.
async fn upload_begun(tx: &mut Tx, claim: &Claim) -> Result<Option<i64>> {
    let row = query("SELECT MIN(created_at) FROM uploads WHERE event = ? AND photo = ?")
        .bind(claim.event.as_bytes().as_slice())
        .bind(claim.photo.as_bytes().as_slice())
        .fetch_one(&mut *tx)
        .await?;
    Ok(row.try_get(0)?)
}

async fn set_pictures(tx: &mut Tx, claim: &Claim, indexed: &Indexed) -> Result<()> {
    let done =
        query("UPDATE photos SET width = ?, height = ?, media = ?, taken_at = ?, private_ranges = ? WHERE seq = ?")
            .bind(indexed.width)
            .bind(indexed.height)
            .bind(indexed.media)
            .bind(indexed.taken_at.as_deref())
            .bind(indexed.private.as_ref().map(Patches::to_bytes))
            .bind(claim.seq)
            .execute(&mut *tx)
            .await?;
    if done.rows_affected() == 1 { Ok(()) } else { Err(CatalogError::Damaged("a job without its photo")) }
}

/// Marks the photo as indexed, once more; whether it was not before.
async fn set_indexed(tx: &mut Tx, seq: i64) -> Result<bool> {
    let first = query("UPDATE photos SET state = 'indexed', reason = NULL WHERE seq = ? AND state <> 'indexed'")
        .bind(seq)
        .execute(&mut *tx)
        .await?;
    query("UPDATE photos SET index_runs = index_runs + 1, indexed_at = COALESCE(indexed_at, ?) WHERE seq = ?")
        .bind(now_ms())
        .bind(seq)
        .execute(&mut *tx)
        .await?;
    Ok(first.rows_affected() == 1)
}

/// Ends a job without success: the photo is marked, its photographer told.
async fn fail(tx: &mut Tx, event: EventId, seq: i64, photo: PhotoId, reason: &str) -> Result<()> {
    query("UPDATE photos SET state = 'failed', reason = ? WHERE seq = ?")
        .bind(reason)
        .bind(seq)
        .execute(&mut *tx)
        .await?;
    delete(tx, seq).await?;
    super::live::append(tx, event, LiveKind::Failed, photo, Audience::Photographers).await
}

/// Puts a job off. The worker lives, so this is no attempt that ended it.
async fn put_off(tx: &mut Tx, seq: i64, trouble: Trouble) -> Result<()> {
    let row = query("SELECT delays FROM jobs WHERE photo = ?").bind(seq).fetch_one(&mut *tx).await?;
    let mut dice = [0];
    getrandom::fill(&mut dice).map_err(|error| CatalogError::Sql(sqlx::Error::Io(error.into())))?;
    query(
        "UPDATE jobs SET run_after = ?, delays = delays + 1, trouble = ?, attempts = MAX(attempts - 1, 0) WHERE photo = ?",
    )
    .bind(now_ms() + delay_ms(row.try_get(0)?, dice[0]))
    .bind(trouble.as_str())
    .bind(seq)
    .execute(&mut *tx)
    .await?;
    Ok(())
}

async fn delete(tx: &mut Tx, seq: i64) -> Result<()> {
    query("DELETE FROM jobs WHERE photo = ?").bind(seq).execute(&mut *tx).await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_double_from_seconds_to_minutes_and_never_leave_the_bounds() {
        for dice in 0..=u8::MAX {
            let delays: Vec<i64> = (0..40).map(|n| delay_ms(n, dice)).collect();
            assert!((3_750..=6_250).contains(&delays[0]), "{delays:?}");
            assert!(delays.is_sorted() && delays.iter().all(|&ms| ms <= LONGEST_DELAY_MS), "{delays:?}");
            assert!(delays[39] >= LONGEST_DELAY_MS * 3 / 4, "{delays:?}");
        }
        assert_ne!(delay_ms(3, 0), delay_ms(3, 255), "no jitter");
    }
}
