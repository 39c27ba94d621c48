//! creation, creation-with-upload, expiration, checksum, termination.

use std::time::SystemTime;

use findme_common::Digest;

use super::*;
use crate::support::wait_for;

pub(super) fn checks(t: &Target) -> Vec<Check<'_>> {
    vec![
        ("CRE-01", "creation", Box::pin(created(t))),
        ("CRE-02, 03", "creation", Box::pin(odd_lengths(t))),
        ("CRE-04", "creation", Box::pin(too_large(t))),
        ("CRE-05", "creation", Box::pin(empty(t))),
        ("CRE-06", "creation", Box::pin(metadata_is_echoed(t))),
        ("CRE-07, 08", "creation", Box::pin(odd_metadata(t))),
        ("CRE-09", "creation", Box::pin(ids_cannot_be_guessed(t))),
        ("CON-00", "creation", Box::pin(nothing_unannounced(t))),
        ("CWU-01…03", "creation-with-upload", Box::pin(created_with_bytes(t))),
        ("CWU-04", "creation-with-upload", Box::pin(created_with_other_type(t))),
        ("CWU-05", "creation-with-upload", Box::pin(no_continue_before_a_refusal(t))),
        ("EXP-01…04", "expiration", Box::pin(expires(t))),
        ("SUM-01", "checksum", Box::pin(algorithms(t))),
        ("SUM-02", "checksum", Box::pin(right_sums(t))),
        ("SUM-03", "checksum", Box::pin(wrong_sums(t))),
        ("SUM-04, 05", "checksum", Box::pin(odd_sums(t))),
        ("SUM-06", "checksum", Box::pin(cut_with_sum(t))),
        ("TRM-01, 03", "termination", Box::pin(unfinished_is_ended(t))),
        ("TRM-02", "termination", Box::pin(finished_is_ended(t))),
        ("TRM-04", "termination", Box::pin(running_request_is_ended(t))),
    ]
}

async fn created(t: &Target) -> Result<()> {
    let answer = t.creation(10).send().await?;
    ensure!(answer.status() == 201, "{}", answer.status());
    let upload = t.location(&answer)?;
    ensure!(t.offset(&upload).await? == 0, "a new upload does not begin at 0");
    Ok(())
}

async fn odd_lengths(t: &Target) -> Result<()> {
    let absent = t.request(Method::POST, &t.uploads).send().await?;
    ensure!(absent.status() == 400, "absent: {}", absent.status());
    for odd in ["", "-1", "+1", "1.0", "0x10", "18446744073709551616", "a"] {
        let answer = t.request(Method::POST, &t.uploads).header(header::UPLOAD_LENGTH, odd).send().await?;
        ensure!([400, 413].contains(&answer.status().as_u16()), "{odd:?}: {}", answer.status());
    }
    Ok(())
}

async fn too_large(t: &Target) -> Result<()> {
    let options = t.bare(Method::OPTIONS, &t.uploads).send().await?;
    if let Ok(max) = number(&options, header::TUS_MAX_SIZE) {
        let answer = t.creation(max + 1).send().await?;
        ensure!(answer.status() == 413, "{}", answer.status());
    }
    Ok(())
}

async fn empty(t: &Target) -> Result<()> {
    let upload = t.create(0).await?;
    let answer = t.head(&upload).await?;
    ensure!(number(&answer, header::UPLOAD_OFFSET)? == 0 && number(&answer, header::UPLOAD_LENGTH)? == 0, "not empty");
    ensure!(text(&answer, header::UPLOAD_EXPIRES).is_none(), "complete, and yet it expires");
    Ok(())
}

async fn metadata_is_echoed(t: &Target) -> Result<()> {
    let sent = format!("filename {},is_confidential,caption {}", base64("büro.jpg".as_bytes()), base64(b"\0\xff"));
    let answer = t.creation(10).header(header::UPLOAD_METADATA, &sent).send().await?;
    ensure!(answer.status() == 201, "{}", answer.status());
    let echoed = text(&t.head(&t.location(&answer)?).await?, header::UPLOAD_METADATA);
    ensure!(echoed.as_deref() == Some(&*sent), "{echoed:?}");
    Ok(())
}

async fn odd_metadata(t: &Target) -> Result<()> {
    for odd in ["filename YQ==,filename Yg==", "filename $$$", "a b c", ",", "filename YQ==,,"] {
        let answer = t.creation(10).header(header::UPLOAD_METADATA, odd).send().await?;
        ensure!(answer.status() == 400, "{odd:?}: {}", answer.status());
    }
    // Values that would be headers or paths are data.
    let smuggled = format!("filename {}", base64(b"../../x\r\nset-cookie: a=b"));
    let answer = t.creation(10).header(header::UPLOAD_METADATA, smuggled).send().await?;
    if answer.status() == 201 {
        let head = t.head(&t.location(&answer)?).await?;
        ensure!(text(&head, "set-cookie").is_none(), "a header was smuggled in");
    } else {
        ensure!(answer.status() == 400, "{}", answer.status());
    }
    Ok(())
}

async fn ids_cannot_be_guessed(t: &Target) -> Result<()> {
    let (a, b) = (t.create(1).await?, t.create(1).await?);
    let id = |url: &Url| url.path().rsplit('/').next().unwrap_or_default().to_owned();
    let (a, b) = (id(&a), id(&b));
    ensure!(a.len() >= 16 && a != b, "{a}, {b}");
    let alike = a.bytes().zip(b.bytes()).filter(|(a, b)| a == b).count();
    ensure!(alike < a.len() * 2 / 3, "{a} and {b} are much alike");
    Ok(())
}

async fn nothing_unannounced(t: &Target) -> Result<()> {
    for (extension, name, value) in
        [("concatenation", "upload-concat", "partial"), ("creation-defer-length", "upload-defer-length", "1")]
    {
        if !t.extensions.iter().any(|offered| offered == extension) {
            let answer = t.creation(10).header(name, value).send().await?;
            ensure!(answer.status() == 400, "{name}: {}", answer.status());
        }
    }
    Ok(())
}

async fn created_with_bytes(t: &Target) -> Result<()> {
    let bytes = content(1000, 20);
    for part in [0, 400, 1000] {
        let request = t.creation(1000).header("content-type", OFFSET_OCTET_STREAM).body(bytes[..part].to_vec());
        let answer = request.send().await?;
        ensure!(answer.status() == 201, "{part}: {}", answer.status());
        ensure!(number(&answer, header::UPLOAD_OFFSET)? == part as u64, "offset after {part}");
        ensure!(t.offset(&t.location(&answer)?).await? == part as u64, "HEAD after {part}");
    }
    Ok(())
}

async fn created_with_other_type(t: &Target) -> Result<()> {
    for media in [None, Some("image/jpeg")] {
        let request = media.into_iter().fold(t.creation(5).body("12345"), |r, media| r.header("content-type", media));
        let answer = request.send().await?;
        ensure!(answer.status() == 415, "{media:?}: {}", answer.status());
    }
    Ok(())
}

async fn no_continue_before_a_refusal(t: &Target) -> Result<()> {
    let head = format!(
        "upload-length: -1\r\ncontent-type: {OFFSET_OCTET_STREAM}\r\ncontent-length: 5\r\nexpect: 100-continue\r\n"
    );
    let mut connection = t.by_hand("POST", &t.uploads, &head).await?;
    let answer = read_until(&mut connection, "\r\n\r\n").await?;
    ensure!(answer.starts_with("HTTP/1.1 400"), "{answer}");
    // And a good one is told to go on.
    let good = head.replace("-1", "5");
    let mut connection = t.by_hand("POST", &t.uploads, &good).await?;
    let answer = read_until(&mut connection, "\r\n\r\n").await?;
    ensure!(answer.starts_with("HTTP/1.1 100"), "{answer}");
    connection.write_all(b"12345").await?;
    let answer = read_until(&mut connection, "\r\n\r\n").await?;
    ensure!(answer.starts_with("HTTP/1.1 201"), "{answer}");
    Ok(())
}

async fn expires(t: &Target) -> Result<()> {
    let answer = t.creation(10).send().await?;
    let upload = t.location(&answer)?;
    let answers = [answer, t.patch(&upload, 0, b"12345").await?, t.head(&upload).await?];
    for answer in answers {
        let when = text(&answer, header::UPLOAD_EXPIRES).context("no Upload-Expires")?;
        ensure!(when.ends_with(" GMT") && when.len() == 29, "{when} is no IMF-fixdate");
        let when = httpdate::parse_http_date(&when)?;
        ensure!(when > SystemTime::now(), "it has expired already");
    }
    t.patch(&upload, 5, b"67890").await?;
    ensure!(text(&t.head(&upload).await?, header::UPLOAD_EXPIRES).is_none(), "a finished upload does not expire");
    Ok(())
}

async fn algorithms(t: &Target) -> Result<()> {
    let options = t.bare(Method::OPTIONS, &t.uploads).send().await?;
    let offered = text(&options, header::TUS_CHECKSUM_ALGORITHM).context("no Tus-Checksum-Algorithm")?;
    ensure!(offered.split(',').any(|name| name == "sha1"), "{offered}");
    ensure!(offered == offered.to_lowercase() && !offered.contains(' '), "{offered}");
    Ok(())
}

/// Of the bytes `hello world`.
const SHA1_OF_HELLO: &str = "sha1 Kq5sNclPz7QV2+lfQIuc6R7oRu0=";

async fn right_sums(t: &Target) -> Result<()> {
    let sha256 = format!("sha256 {}", base64(Digest::of(b"hello world").as_bytes()));
    for sum in [SHA1_OF_HELLO, &sha256] {
        let upload = t.create(11).await?;
        let answer = t.patching(&upload, 0).header(header::UPLOAD_CHECKSUM, sum).body("hello world").send().await?;
        ensure!(answer.status() == 204, "{sum}: {}", answer.status());
        ensure!(number(&answer, header::UPLOAD_OFFSET)? == 11, "{sum}: offset");
    }
    let created =
        t.creation(20).header("content-type", OFFSET_OCTET_STREAM).header(header::UPLOAD_CHECKSUM, SHA1_OF_HELLO);
    let created = created.body("hello world").send().await?;
    ensure!(created.status() == 201 && number(&created, header::UPLOAD_OFFSET)? == 11, "{}", created.status());
    Ok(())
}

async fn wrong_sums(t: &Target) -> Result<()> {
    let upload = t.create(22).await?;
    t.patch(&upload, 0, b"hello world").await?;
    for _ in 0..2 {
        let wrong = t.patching(&upload, 11).header(header::UPLOAD_CHECKSUM, SHA1_OF_HELLO).body("hello w0rld");
        let answer = wrong.send().await?;
        ensure!(answer.status().as_u16() == 460, "{}", answer.status());
        ensure!(t.offset(&upload).await? == 11, "the chunk was counted");
    }
    let right =
        t.patching(&upload, 11).header(header::UPLOAD_CHECKSUM, SHA1_OF_HELLO).body("hello world").send().await?;
    ensure!(right.status() == 204, "the right bytes: {}", right.status());
    if let Some(digest) = text(&right, header::REPR_DIGEST) {
        ensure!(digest == Digest::of(b"hello worldhello world").to_repr_digest(), "the discarded bytes are in it");
    }
    Ok(())
}

async fn odd_sums(t: &Target) -> Result<()> {
    let upload = t.create(11).await?;
    for (sum, expected) in [
        ("md4 AAAA", 400),
        ("sha1", 400),
        ("sha1 $$$", 400),
        ("", 400),
        // A digest of another length is a digest that nothing meets.
        ("sha1 Kq5sNclPz7QV2+lfQIuc6Q==", 460),
    ] {
        let answer = t.patching(&upload, 0).header(header::UPLOAD_CHECKSUM, sum).body("hello world").send().await?;
        ensure!(answer.status().as_u16() == expected, "{sum:?}: {}", answer.status());
        ensure!(t.offset(&upload).await? == 0, "{sum:?}: counted");
    }
    Ok(())
}

async fn cut_with_sum(t: &Target) -> Result<()> {
    let bytes = content(40_000_000, 21);
    let upload = t.create(bytes.len() as u64).await?;
    t.patch(&upload, 0, &bytes[..100]).await?;
    let sum = format!("{}: sha256 {}\r\n", header::UPLOAD_CHECKSUM, base64(Digest::of(&bytes[100..]).as_bytes()));
    let left = bytes.len() as u64 - 100;
    let mut connection = t.half_patch(&upload, 100, left, &sum, &bytes[100..bytes.len() - 10]).await?;
    connection.shutdown().await?;
    // The server has seen the end when it closes or answers.
    read_until(&mut connection, "\r\n\r\n").await?;
    ensure!(t.offset(&upload).await? == 100, "unverified bytes were counted");
    Ok(())
}

async fn unfinished_is_ended(t: &Target) -> Result<()> {
    let upload = t.create(10).await?;
    t.patch(&upload, 0, b"12345").await?;
    let answer = t.request(Method::DELETE, &upload).send().await?;
    ensure!(answer.status() == 204, "{}", answer.status());
    for answer in [t.head(&upload).await?, t.patch(&upload, 5, b"67890").await?] {
        ensure!([404, 410].contains(&answer.status().as_u16()), "afterwards: {}", answer.status());
    }
    Ok(())
}

async fn finished_is_ended(t: &Target) -> Result<()> {
    let upload = t.upload(&content(10, 22)).await?;
    let answer = t.request(Method::DELETE, &upload).send().await?;
    ensure!(answer.status() == 204, "{}", answer.status());
    let after = t.head(&upload).await?;
    ensure!([404, 410].contains(&after.status().as_u16()), "afterwards: {}", after.status());
    Ok(())
}

async fn running_request_is_ended(t: &Target) -> Result<()> {
    let upload = t.create(600_000).await?;
    let mut running = t.half_patch(&upload, 0, 600_000, "", &content(300_000, 23)).await?;
    let answer = t.request(Method::DELETE, &upload).send().await?;
    ensure!(answer.status() == 204, "{}", answer.status());
    let told = read_until(&mut running, "\r\n\r\n").await?;
    ensure!(!told.starts_with("HTTP/1.1 204"), "it was told of success");
    wait_for("the upload to be gone", async || {
        let status = t.head(&upload).await.ok()?.status().as_u16();
        [404, 410].contains(&status).then_some(())
    })
    .await;
    Ok(())
}
