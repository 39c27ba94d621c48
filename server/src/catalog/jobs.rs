//! The queue of index jobs: rows, committed together with their photo. A claim is a lease with an owner; who lost it
//! cannot commit, so each photo's result is written once.

use findme_common::protocol::LiveKind;
use findme_common::{EventId, GuestId, PhotoId};
use sqlx::{Row, Sqlite, Transaction};

use super::{Catalog, CatalogError, GuestEnrolment, NewFace, Result, id_column};
use crate::clock::now_ms;

/// A worker that dies gives its photo back after this long; a claim is renewed by nobody, so no photo may take longer.
const LEASE_MS: i64 = 120_000;

/// A photo that ended its worker this often is put aside.
const MAX_ATTEMPTS: i64 = 4;

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
}

/// From the enrolments of an event to the guests among them who match.
pub(crate) type FindGuests<'a> = dyn Fn(&[GuestEnrolment]) -> Vec<(GuestId, LiveKind)> + Sync + 'a;

/// Finds the guests who are in the photo that is being completed.
pub(crate) struct Matcher<'a> {
    /// Pack of the photo's faces; enrolments of other packs cannot be compared with them.
    pub(crate) pack: &'a str,
    /// Which of these enrolments the photo's faces match, and how surely.
    pub(crate) find: &'a FindGuests<'a>,
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
    /// Something that may pass (a full disk): again after some time.
    Again,
}

/// Makes a job for a photo; one that is under way is taken from its worker, because there is more to see now.
pub(super) async fn enqueue(tx: &mut Transaction<'static, Sqlite>, event: EventId, seq: i64) -> Result<()> {
    sqlx::query(
        "INSERT INTO jobs (photo, event) VALUES (?, ?) ON CONFLICT (photo) DO UPDATE
         SET waiting = 0, attempts = 0, run_after = 0, lease = NULL, lease_until = 0",
    )
    .bind(seq)
    .bind(event.as_bytes().as_slice())
    .execute(&mut **tx)
    .await?;
    Ok(())
}

impl Catalog {
    /// Leases the newest runnable job; `None` when there is none now. A job that has ended its worker too often becomes
    /// a failed photo instead.
    ///
    /// # Errors
    /// When the catalogue cannot be written.
    pub(crate) async fn claim_job(&self, lease: [u8; 16]) -> Result<Option<Claim>> {
        let idle = sqlx::query("SELECT 1 FROM jobs WHERE waiting = 0 AND run_after <= ? AND lease_until <= ? LIMIT 1")
            .bind(now_ms())
            .bind(now_ms())
            .fetch_optional(&self.readers)
            .await?
            .is_none();
        if idle {
            return Ok(None); // the usual case: no write lock taken for looking
        }
        let mut tx = self.begin().await?;
        self.put_aside(&mut tx).await?;
        let now = now_ms();
        let row = sqlx::query(
            "UPDATE jobs SET lease = ?, lease_until = ?, attempts = attempts + 1
             WHERE photo = (SELECT photo FROM jobs WHERE waiting = 0 AND run_after <= ? AND lease_until <= ?
                            ORDER BY attempts, photo DESC LIMIT 1)
             RETURNING photo",
        )
        .bind(lease.as_slice())
        .bind(now + LEASE_MS)
        .bind(now)
        .bind(now)
        .fetch_optional(&mut *tx)
        .await?;
        let claim = match row {
            None => None,
            Some(row) => {
                let seq: i64 = row.try_get(0)?;
                let photo = sqlx::query("SELECT event, id, digest IS NOT NULL AS original FROM photos WHERE seq = ?")
                    .bind(seq)
                    .fetch_one(&mut *tx)
                    .await?;
                Some(Claim {
                    seq,
                    event: id_column!(&photo, "event", EventId)?,
                    photo: id_column!(&photo, "id", PhotoId)?,
                    original: photo.try_get("original")?,
                    lease,
                })
            }
        };
        tx.commit().await?;
        Ok(claim)
    }

    /// Photos whose workers died again and again are marked, never tried for ever.
    async fn put_aside(&self, tx: &mut Transaction<'static, Sqlite>) -> Result<()> {
        let rows = sqlx::query(
            "DELETE FROM jobs WHERE waiting = 0 AND lease_until <= ? AND attempts >= ? RETURNING photo, event",
        )
        .bind(now_ms())
        .bind(MAX_ATTEMPTS)
        .fetch_all(&mut **tx)
        .await?;
        for row in rows {
            sqlx::query("UPDATE photos SET state = 'failed', reason = 'gave-up' WHERE seq = ?")
                .bind(row.try_get::<i64, _>("photo")?)
                .execute(&mut **tx)
                .await?;
            super::photos::bump(tx, id_column!(&row, "event", EventId)?).await?;
        }
        Ok(())
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
        let mut tx = self.begin().await?;
        let held = sqlx::query("UPDATE jobs SET lease = NULL, lease_until = 0 WHERE photo = ? AND lease = ?")
            .bind(claim.seq)
            .bind(claim.lease.as_slice())
            .execute(&mut *tx)
            .await?;
        if held.rows_affected() == 0 {
            return Ok(false);
        }
        match outcome {
            JobOutcome::Indexed(indexed, faces) => {
                set_pictures(&mut tx, claim, indexed).await?;
                super::faces::replace(&mut tx, claim, faces).await?;
                set_state(&mut tx, claim, "indexed", None).await?;
                sqlx::query("UPDATE photos SET index_runs = index_runs + 1 WHERE seq = ?")
                    .bind(claim.seq)
                    .execute(&mut *tx)
                    .await?;
                delete(&mut tx, claim).await?;
                announce(&mut tx, claim, matcher).await?;
            }
            JobOutcome::WaitsForModels(indexed) => {
                set_pictures(&mut tx, claim, indexed).await?;
                sqlx::query("UPDATE jobs SET waiting = 1, attempts = 0 WHERE photo = ?")
                    .bind(claim.seq)
                    .execute(&mut *tx)
                    .await?;
            }
            JobOutcome::Failed(reason) => {
                set_state(&mut tx, claim, "failed", Some(reason)).await?;
                delete(&mut tx, claim).await?;
                super::live::append(&mut tx, claim.event, LiveKind::Failed, claim.photo, None).await?;
            }
            JobOutcome::Again => {
                sqlx::query("UPDATE jobs SET run_after = ?, attempts = MAX(attempts - 1, 0) WHERE photo = ?")
                    .bind(now_ms() + 5_000)
                    .bind(claim.seq)
                    .execute(&mut *tx)
                    .await?;
            }
        }
        super::photos::bump(&mut tx, claim.event).await?;
        tx.commit().await?;
        Ok(true)
    }

    /// Lets the jobs run that waited for models; how many. Called when models are there.
    ///
    /// # Errors
    /// When the catalogue cannot be written.
    pub(crate) async fn wake_waiting_jobs(&self) -> Result<u64> {
        Ok(sqlx::query("UPDATE jobs SET waiting = 0 WHERE waiting = 1").execute(&self.writer).await?.rows_affected())
    }

    /// Takes back every lease. Only right at the start of a process that is the data folder's only worker.
    ///
    /// # Errors
    /// When the catalogue cannot be written.
    pub(crate) async fn release_leases(&self) -> Result<()> {
        sqlx::query("UPDATE jobs SET lease = NULL, lease_until = 0 WHERE lease IS NOT NULL")
            .execute(&self.writer)
            .await?;
        Ok(())
    }

    /// Jobs that are not done, and those of them that wait for models.
    ///
    /// # Errors
    /// When the catalogue cannot be read.
    pub(crate) async fn queue_depth(&self) -> Result<(i64, i64)> {
        let row = sqlx::query("SELECT COUNT(*), COALESCE(SUM(waiting), 0) FROM jobs").fetch_one(&self.readers).await?;
        Ok((row.try_get(0)?, row.try_get(1)?))
    }
}

/// Tells everybody that the photo can be found, and the guests in it that it is theirs. The enrolments are those of this
/// very transaction: whoever enrols later finds the photo in the gallery, so nobody falls between the two.
async fn announce(tx: &mut Transaction<'static, Sqlite>, claim: &Claim, matcher: &Matcher<'_>) -> Result<()> {
    super::live::append(tx, claim.event, LiveKind::Indexed, claim.photo, None).await?;
    if !super::photos::is_shown(tx, claim.seq).await? {
        return Ok(());
    }
    let enrolments = super::guests::enrolments_of_event(tx, claim.event, matcher.pack).await?;
    for (guest, kind) in (matcher.find)(&enrolments) {
        super::live::append(tx, claim.event, kind, claim.photo, Some(guest)).await?;
    }
    Ok(())
}

async fn set_pictures(tx: &mut Transaction<'static, Sqlite>, claim: &Claim, indexed: &Indexed) -> Result<()> {
    let done = sqlx::query("UPDATE photos SET width = ?, height = ?, media = ?, taken_at = ? WHERE seq = ?")
        .bind(indexed.width)
        .bind(indexed.height)
        .bind(indexed.media)
        .bind(indexed.taken_at.as_deref())
        .bind(claim.seq)
        .execute(&mut **tx)
        .await?;
    if done.rows_affected() == 1 { Ok(()) } else { Err(CatalogError::Damaged("a job without its photo")) }
}

async fn set_state(
    tx: &mut Transaction<'static, Sqlite>,
    claim: &Claim,
    state: &str,
    reason: Option<&str>,
) -> Result<()> {
    sqlx::query("UPDATE photos SET state = ?, reason = ? WHERE seq = ?")
        .bind(state)
        .bind(reason)
        .bind(claim.seq)
        .execute(&mut **tx)
        .await?;
    Ok(())
}

async fn delete(tx: &mut Transaction<'static, Sqlite>, claim: &Claim) -> Result<()> {
    sqlx::query("DELETE FROM jobs WHERE photo = ?").bind(claim.seq).execute(&mut **tx).await?;
    Ok(())
}
