//! The order of syncs before an answer, as the kernel sees it. A power cut cannot show that a folder is synced: ext4 writes
//! names together with whatever else is synced. So the system calls themselves are looked at.
#![cfg(target_os = "linux")]

use std::collections::HashMap;

use crate::crew::upload;
use crate::foreign::installed;
use crate::support::photos::of_size;
use crate::support::{Server, not_tested, say, wait_for};
use crate::wire::Wire;

/// One system call: the lines of the trace in which it began and ended.
#[derive(Debug)]
struct Call {
    text: String,
    began: usize,
    ended: usize,
}

/// Calls of a trace; those that others interrupted are put together again.
fn calls(trace: &str) -> Vec<Call> {
    let (mut calls, mut open) = (Vec::new(), HashMap::new());
    for (number, line) in trace.lines().enumerate() {
        let Some((thread, text)) = line.split_once(char::is_whitespace) else { continue };
        let text = text.trim_start();
        if let Some(begun) = text.strip_suffix("<unfinished ...>") {
            open.insert(thread.to_owned(), (begun.to_owned(), number));
        } else if text.starts_with("<...") {
            if let Some((begun, began)) = open.remove(thread) {
                calls.push(Call { text: begun, began, ended: number });
            }
        } else {
            calls.push(Call { text: text.to_owned(), began: number, ended: number });
        }
    }
    calls
}

#[tokio::test(flavor = "multi_thread")]
async fn bytes_name_and_row_are_synced_in_this_order_before_the_answer() {
    if !installed("strace") {
        return not_tested("strace is not installed");
    }
    let place = tempfile::tempdir().unwrap();
    let file = place.path().join("trace");
    // Detached, so that the process is the server and ends as always.
    let strace = ["strace", "-D", "-f", "-y", "-s", "60", "-o", file.to_str().unwrap(), "-e"];
    let which = "trace=fdatasync,fsync,rename,renameat,renameat2,write,writev,sendto,sendmsg";
    let mut server = Server::idle(&["--faces", "off"]).through(&[&strace[..], &[which]].concat());
    server.run().await;
    let event = server.create_event("order");
    let mut wire = Wire::to(&event.url).await.unwrap();
    let count = 20;
    let mut photos = Vec::new();
    for number in 0..count {
        photos.push(upload(&mut wire, &event, &of_size(number, 100)).await);
    }
    let answers = "HTTP/1.1 201";
    let trace = wait_for("the trace to be written", async || {
        let trace = std::fs::read_to_string(&file).ok()?;
        (trace.matches(answers).count() >= photos.len()).then_some(trace)
    })
    .await;
    server.kill();
    let calls = calls(&trace);
    let mut after = 0;
    for photo in photos {
        let name = photo.to_simple();
        let next = |what: &str, is: &dyn Fn(&str) -> bool, from: usize| {
            let found = calls.iter().filter(|call| call.began >= from && is(&call.text)).min_by_key(|call| call.ended);
            found.unwrap_or_else(|| panic!("{photo}: no {what} after line {from}")).ended
        };
        let renamed = calls.iter().find(|call| call.text.starts_with("rename") && call.text.contains(&name)).unwrap();
        let staged = renamed.text.split('"').nth(1).unwrap().rsplit('/').next().unwrap().to_owned();
        let bytes = next("sync of the bytes", &|text| text.contains("sync(") && text.contains(&staged), after);
        assert!(bytes < renamed.began, "{photo} was renamed before its bytes were synced");
        let folder =
            next("sync of the folder", &|text| text.starts_with("fsync") && text.contains("/photos/"), renamed.ended);
        let row = next("sync of the catalogue", &|text| text.contains("sync(") && text.contains("-wal"), folder);
        let answer =
            calls.iter().filter(|call| call.text.contains(answers) && call.began > after).min_by_key(|call| call.began);
        let answer = answer.unwrap();
        assert!(answer.began > row, "{photo} was acknowledged at {} before its row was synced at {row}", answer.began);
        after = answer.ended;
    }
    say(&format!("order of syncs: {count} uploads, each bytes → rename → folder → catalogue → answer"));
}
