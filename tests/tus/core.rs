//! The core protocol.

use std::time::Duration;

use super::*;
use crate::support::wait_for;

/// An answer that may not wait for another request's end comes well within this, also on a busy machine.
const SOON: Duration = Duration::from_secs(10);

pub(super) fn checks(t: &Target) -> Vec<Check<'_>> {
    vec![
        ("CORE-01…05", "", Box::pin(options(t))),
        ("CORE-06, 07, 09", "", Box::pin(another_version(t))),
        ("CORE-08", "", Box::pin(no_version(t))),
        ("CORE-09", "", Box::pin(version_on_errors(t))),
        ("CORE-10…12", "", Box::pin(head_tells_the_truth(t))),
        ("CORE-13, 18", "", Box::pin(unknown_upload(t))),
        ("CORE-14", "", Box::pin(patch_adds(t))),
        ("CORE-15", "", Box::pin(other_media_type(t))),
        ("CORE-16", "", Box::pin(other_offset(t))),
        ("CORE-17", "", Box::pin(odd_offsets(t))),
        ("CORE-19", "", Box::pin(method_override(t))),
        ("CORE-20, 21", "", Box::pin(cut_connection(t))),
        ("CORE-22, 23", "", Box::pin(hanging_request(t))),
        ("CORE-24", "", Box::pin(two_writers(t))),
        ("CORE-25, 26", "", Box::pin(over_length(t))),
        ("CORE-27", "", Box::pin(chunked(t))),
        ("CORE-28", "", Box::pin(repeats(t))),
        ("CORE-29", "", Box::pin(two_lengths(t))),
        ("CORE-30", "", Box::pin(paths_as_ids(t))),
    ]
}

async fn options(t: &Target) -> Result<()> {
    for version in [None, Some("0.2.2")] {
        let mut request = t.bare(Method::OPTIONS, &t.uploads);
        if let Some(version) = version {
            request = request.header(header::TUS_RESUMABLE, version);
        }
        let answer = request.send().await?;
        ensure!([200, 204].contains(&answer.status().as_u16()), "OPTIONS {version:?}: {}", answer.status());
        let versions = text(&answer, header::TUS_VERSION).context("no Tus-Version")?;
        ensure!(versions.split(',').next() == Some("1.0.0"), "Tus-Version: {versions}");
        if let Some(extensions) = text(&answer, header::TUS_EXTENSION) {
            ensure!(!extensions.is_empty() && !extensions.contains(' '), "Tus-Extension: {extensions}");
        }
        if answer.headers().contains_key(header::TUS_MAX_SIZE) {
            number(&answer, header::TUS_MAX_SIZE)?;
        }
    }
    Ok(())
}

async fn another_version(t: &Target) -> Result<()> {
    let upload = t.create(10).await?;
    for method in [Method::HEAD, Method::PATCH, Method::DELETE] {
        let request = t.bare(method.clone(), &upload).header(header::TUS_RESUMABLE, "0.2.2");
        let request = request.header(header::UPLOAD_OFFSET, 0).header("content-type", OFFSET_OCTET_STREAM);
        let answer = if method == Method::PATCH { request.body("12345") } else { request }.send().await?;
        ensure!(answer.status() == 412, "{method}: {}", answer.status());
        ensure!(text(&answer, header::TUS_VERSION).is_some(), "{method}: 412 without Tus-Version");
        ensure!(text(&answer, header::TUS_RESUMABLE).as_deref() == Some("1.0.0"), "{method}: no Tus-Resumable");
    }
    let refused = t.bare(Method::POST, &t.uploads).header(header::TUS_RESUMABLE, "2.0.0");
    let refused = refused.header(header::UPLOAD_LENGTH, 1).send().await?;
    ensure!(refused.status() == 412 && text(&refused, "location").is_none(), "POST: {}", refused.status());
    ensure!(t.offset(&upload).await? == 0, "something was done nevertheless");
    Ok(())
}

async fn no_version(t: &Target) -> Result<()> {
    let upload = t.create(10).await?;
    let patch = t.bare(Method::PATCH, &upload).header(header::UPLOAD_OFFSET, 0);
    let patch = patch.header("content-type", OFFSET_OCTET_STREAM).body("12345").send().await?;
    ensure!(patch.status() == 412, "PATCH: {}", patch.status());
    let post = t.bare(Method::POST, &t.uploads).header(header::UPLOAD_LENGTH, 1).send().await?;
    ensure!(post.status() == 412, "POST: {}", post.status());
    let delete = t.bare(Method::DELETE, &upload).send().await?;
    ensure!(delete.status() == 412, "DELETE: {}", delete.status());
    ensure!(t.offset(&upload).await? == 0, "something was done nevertheless");
    Ok(())
}

async fn version_on_errors(t: &Target) -> Result<()> {
    let upload = t.create(10).await?;
    let answers = [
        t.head(&t.uploads.join(&format!("{}/00000000000000000000000000000000", t.uploads.path()))?).await?,
        t.patch(&upload, 5, b"x").await?,
        t.request(Method::POST, &t.uploads).send().await?,
        t.request(Method::PUT, &upload).body("x").send().await?,
        t.patch(&upload, 0, b"0123456789").await?,
    ];
    for answer in answers {
        ensure!(text(&answer, header::TUS_RESUMABLE).as_deref() == Some("1.0.0"), "{} without", answer.status());
    }
    Ok(())
}

async fn head_tells_the_truth(t: &Target) -> Result<()> {
    let bytes = content(1000, 1);
    let upload = t.create(1000).await?;
    for (sent, upto) in [(0, 0), (0, 300), (300, 1000)] {
        if upto > sent {
            t.patch(&upload, sent as u64, &bytes[sent..upto]).await?;
        }
        let answer = t.head(&upload).await?;
        ensure!([200, 204].contains(&answer.status().as_u16()), "{}", answer.status());
        ensure!(number(&answer, header::UPLOAD_OFFSET)? == upto as u64, "offset after {upto}");
        ensure!(number(&answer, header::UPLOAD_LENGTH)? == 1000, "length");
        let caching = text(&answer, "cache-control").unwrap_or_default();
        ensure!(caching.contains("no-store"), "Cache-Control: {caching}");
    }
    Ok(())
}

async fn unknown_upload(t: &Target) -> Result<()> {
    let unknown = t.uploads.join(&format!("{}/00000000000000000000000000000000", t.uploads.path()))?;
    let head = t.head(&unknown).await?;
    ensure!([404, 410, 403].contains(&head.status().as_u16()), "HEAD: {}", head.status());
    ensure!(text(&head, header::UPLOAD_OFFSET).is_none(), "an offset of nothing");
    let patch = t.patch(&unknown, 0, b"x").await?;
    ensure!([404, 410].contains(&patch.status().as_u16()), "PATCH: {}", patch.status());
    Ok(())
}

async fn patch_adds(t: &Target) -> Result<()> {
    let bytes = content(5000, 2);
    let upload = t.create(5000).await?;
    for (from, to) in [(0, 1), (1, 1), (1, 4999), (4999, 5000)] {
        let answer = t.patch(&upload, from as u64, &bytes[from..to]).await?;
        ensure!(answer.status() == 204, "{}", answer.status());
        ensure!(number(&answer, header::UPLOAD_OFFSET)? == to as u64, "offset after {from}..{to}");
    }
    Ok(())
}

async fn other_media_type(t: &Target) -> Result<()> {
    let upload = t.create(5).await?;
    for media in [None, Some("application/octet-stream")] {
        let request = t.request(Method::PATCH, &upload).header(header::UPLOAD_OFFSET, 0).body("12345");
        let request = media.into_iter().fold(request, |request, media| request.header("content-type", media));
        let answer = request.send().await?;
        ensure!(answer.status() == 415, "{media:?}: {}", answer.status());
    }
    ensure!(t.offset(&upload).await? == 0, "the bytes were taken");
    Ok(())
}

async fn other_offset(t: &Target) -> Result<()> {
    let upload = t.create(10).await?;
    t.patch(&upload, 0, b"12345").await?;
    for wrong in [0, 4, 6, 10, 11] {
        let answer = t.patch(&upload, wrong, b"x").await?;
        ensure!(answer.status() == 409, "at {wrong}: {}", answer.status());
    }
    ensure!(t.offset(&upload).await? == 5, "the offset changed");
    Ok(())
}

async fn odd_offsets(t: &Target) -> Result<()> {
    let upload = t.create(10).await?;
    for odd in ["", "-1", "+0", "0.0", "0x0", "18446744073709551616", "a", "0 0"] {
        let request = t.request(Method::PATCH, &upload).header(header::UPLOAD_OFFSET, odd);
        let answer = request.header("content-type", OFFSET_OCTET_STREAM).body("x").send().await?;
        ensure!(answer.status() == 400, "{odd:?}: {}", answer.status());
    }
    let absent = t.request(Method::PATCH, &upload).header("content-type", OFFSET_OCTET_STREAM).body("x").send().await?;
    ensure!(absent.status() == 400, "absent: {}", absent.status());
    ensure!(t.offset(&upload).await? == 0, "the bytes were taken");
    Ok(())
}

async fn method_override(t: &Target) -> Result<()> {
    let upload = t.create(5).await?;
    let over =
        |method: Method, wanted: &'static str| t.request(method, &upload).header("x-http-method-override", wanted);
    let patch = over(Method::POST, "PATCH").header(header::UPLOAD_OFFSET, 0);
    let patch = patch.header("content-type", OFFSET_OCTET_STREAM).body("123").send().await?;
    ensure!(patch.status() == 204, "PATCH by POST: {}", patch.status());
    ensure!(t.offset(&upload).await? == 3, "its bytes were not taken");
    // Who has no right to the method asked for gets none by another name.
    if t.token.is_some() {
        let stranger = client().post(upload.clone()).header("x-http-method-override", "DELETE");
        let refused = stranger.header(header::TUS_RESUMABLE, "1.0.0").send().await?;
        ensure!([401, 403, 404].contains(&refused.status().as_u16()), "a stranger: {}", refused.status());
        ensure!(t.offset(&upload).await? == 3, "a stranger ended it");
    }
    if t.extensions.iter().any(|offered| offered == "termination") {
        let delete = over(Method::POST, "DELETE").send().await?;
        ensure!(delete.status() == 204, "DELETE by POST: {}", delete.status());
    }
    Ok(())
}

async fn cut_connection(t: &Target) -> Result<()> {
    let bytes = content(600_000, 3);
    let upload = t.create(600_000).await?;
    drop(t.half_patch(&upload, 0, 600_000, "", &bytes[..400_000]).await?);
    let at = wait_for("what arrived to be kept", async || {
        let at = t.offset(&upload).await.ok()?;
        (at > 0).then_some(at)
    })
    .await;
    ensure!(at <= 400_000, "more than was sent: {at}");
    let answer = t.patch(&upload, at, &bytes[at as usize..]).await?;
    ensure!(answer.status() == 204, "resumed: {}", answer.status());
    Ok(())
}

async fn hanging_request(t: &Target) -> Result<()> {
    let bytes = content(600_000, 4);
    let upload = t.create(600_000).await?;
    let hanging = t.half_patch(&upload, 0, 600_000, "", &bytes[..300_000]).await?;
    let mut at = tokio::time::timeout(SOON, t.offset(&upload)).await.context("HEAD waits for a dead request")??;
    let done = loop {
        let patch = t.patch(&upload, at, &bytes[at as usize..]);
        let answer = tokio::time::timeout(SOON, patch).await.context("PATCH waits for a dead request")??;
        // Bytes of the dead request may have come in between: ask again.
        if answer.status() != 409 {
            break answer;
        }
        at = t.offset(&upload).await?;
    };
    ensure!(done.status() == 204, "taking over: {}", done.status());
    drop(hanging);
    Ok(())
}

async fn two_writers(t: &Target) -> Result<()> {
    for round in 0..10 {
        let bytes = content(200_000, 100 + round);
        let upload = t.create(200_000).await?;
        let (a, b) = tokio::join!(t.patch(&upload, 0, &bytes), t.patch(&upload, 0, &bytes));
        let winners = [a, b].into_iter().flatten().filter(|answer| answer.status() == 204).count();
        ensure!(winners <= 1, "both were told of success");
        let at = t.offset(&upload).await?;
        ensure!(winners == 0 || at == 200_000, "success, and {at} bytes");
        if at < 200_000 {
            let rest = t.patch(&upload, at, &bytes[at as usize..]).await?;
            ensure!(rest.status() == 204, "the rest: {}", rest.status());
        }
        if let Some(digest) = text(&t.head(&upload).await?, header::REPR_DIGEST) {
            ensure!(digest == findme_common::Digest::of(&bytes).to_repr_digest(), "bytes were mixed");
        }
    }
    Ok(())
}

async fn over_length(t: &Target) -> Result<()> {
    let upload = t.create(5).await?;
    let answer = t.patch(&upload, 0, b"123456").await?;
    ensure!([400, 413].contains(&answer.status().as_u16()), "{}", answer.status());
    ensure!(t.offset(&upload).await? <= 5, "the surplus was stored");
    let big = t.create(100_000).await?;
    let answer = t.patch(&big, 0, &content(300_000, 5)).await;
    ensure!(answer.is_err() || answer.is_ok_and(|answer| answer.status() != 204), "much too long, and taken");
    ensure!(t.offset(&big).await? <= 100_000, "the surplus was stored");
    Ok(())
}

async fn chunked(t: &Target) -> Result<()> {
    let upload = t.create(10).await?;
    let head = format!("content-type: {OFFSET_OCTET_STREAM}\r\nupload-offset: 0\r\ntransfer-encoding: chunked\r\n");
    let mut connection = t.by_hand("PATCH", &upload, &head).await?;
    connection.write_all(b"4\r\n1234\r\n6\r\n567890\r\n0\r\n\r\n").await?;
    let answer = read_until(&mut connection, "\r\n\r\n").await?;
    ensure!(answer.starts_with("HTTP/1.1 204"), "{answer}");
    ensure!(t.offset(&upload).await? == 10, "not all of it was taken");
    Ok(())
}

async fn repeats(t: &Target) -> Result<()> {
    let bytes = content(100, 6);
    let upload = t.upload(&bytes).await?;
    let again = t.patch(&upload, 0, &bytes).await?;
    ensure!(again.status() == 409, "the whole again: {}", again.status());
    let nothing = t.patch(&upload, 100, b"").await?;
    ensure!(nothing.status() == 204, "nothing at the end: {}", nothing.status());
    let more = t.patch(&upload, 100, b"x").await?;
    ensure!(more.status().is_client_error(), "more at the end: {}", more.status());
    ensure!(t.offset(&upload).await? == 100, "it changed");
    Ok(())
}

async fn two_lengths(t: &Target) -> Result<()> {
    let upload = t.create(10).await?;
    let head = format!(
        "content-type: {OFFSET_OCTET_STREAM}\r\nupload-offset: 0\r\ncontent-length: 3\r\ntransfer-encoding: chunked\r\n\
         connection: close\r\n"
    );
    let mut connection = t.by_hand("PATCH", &upload, &head).await?;
    connection.write_all(b"3\r\nabc\r\n0\r\n\r\nHEAD / HTTP/1.1\r\nhost: x\r\n\r\n").await?;
    let answer = read_until(&mut connection, "\u{0}").await?;
    ensure!(answer.matches("HTTP/1.1 ").count() <= 1, "one request, several answers: {answer}");
    Ok(())
}

async fn paths_as_ids(t: &Target) -> Result<()> {
    for odd in ["%2e%2e%2f%2e%2e%2fetc%2fpasswd", "..%5c..%5cfindme.sqlite", "a%00b", "%ff", "."] {
        let url = Url::parse(&format!("{}/{odd}", t.uploads))?;
        let answer = t.head(&url).await?;
        ensure!(answer.status().is_client_error(), "{odd}: {}", answer.status());
        ensure!(text(&answer, header::UPLOAD_OFFSET).is_none(), "{odd} is an upload");
    }
    Ok(())
}
