//! Several writers of one upload: requests of one node, and nodes of one catalogue.

use super::*;

#[tokio::test]
async fn of_two_writers_one_wins_and_bytes_never_mix() {
    let world = World::new().await;
    for round in 0..20 {
        let bytes = content(50_000, 100 + round);
        let id = world.create(&bytes).await.id;
        let write = |size| {
            let (uploads, event, body) = (world.uploads.clone(), world.event, whole(&bytes, size));
            tokio::spawn(async move { uploads.append(event, id, 0, body).await })
        };
        let (a, b) = (write(500), write(700));
        let results = [a.await.unwrap(), b.await.unwrap()];
        let won = results.iter().filter(|result| result.as_ref().is_ok_and(|s| s.receipt.is_some())).count();
        if won == 0 {
            // Both were stopped by the other; a client asks and goes on.
            let at = world.uploads.stand(world.event, id).await.unwrap().offset;
            world.append(id, at, &bytes[at as usize..]).await.unwrap();
        }
        assert!(won <= 1, "{results:?}");
        assert_eq!(std::fs::read(world.published(&bytes)).unwrap(), bytes);
    }
}

/// Two nodes of one catalogue, each with a folder of its own.
async fn two_nodes() -> (World, Uploads, Uploads, TempDir) {
    let world = World::new().await;
    let dir = tempfile::tempdir().unwrap();
    let other = PhotoStore::open(dir.path()).unwrap();
    other.create_event(world.event).unwrap();
    let node = |n| Some(Node::from_bytes([n; 16]));
    let a = Uploads::new(world.catalog.clone(), world.uploads.store.clone(), Arc::default()).on_node(node(1));
    let b = Uploads::new(world.catalog.clone(), other, Arc::default()).on_node(node(2));
    (world, a, b, dir)
}

#[tokio::test]
async fn a_node_promises_no_bytes_of_another_and_starts_an_upload_over() {
    let (world, a, b, _dir) = two_nodes().await;
    let bytes = content(40_000, 3);
    let id = a.create(world.new_upload(&bytes)).await.unwrap().id;
    a.append(world.event, id, 0, whole(&bytes[..25_000], 7000)).await.unwrap();
    assert_eq!(b.stand(world.event, id).await.unwrap().offset, 0, "bytes that it does not have");
    assert_eq!(b.create(world.new_upload(&bytes)).await.unwrap().offset, 0);
    assert_eq!(a.stand(world.event, id).await.unwrap().offset, 25_000, "asking takes nothing away");
    let further = b.append(world.event, id, 25_000, whole(&bytes[25_000..], 7000)).await;
    assert!(matches!(further, Err(UploadError::OffsetMismatch { expected: 0 })), "{further:?}");
    b.append(world.event, id, 0, whole(&bytes[..10_000], 7000)).await.unwrap();
    assert_eq!(a.stand(world.event, id).await.unwrap().offset, 0);
    // The first node comes back and finds itself too late; what it has is not mixed with what the other got.
    let late = a.append(world.event, id, 25_000, whole(&bytes[25_000..], 7000)).await;
    assert!(matches!(late, Err(UploadError::OffsetMismatch { expected: 0 })), "{late:?}");
    let done = b.append(world.event, id, 10_000, whole(&bytes[10_000..], 7000)).await.unwrap();
    assert_eq!(done.receipt.unwrap().digest, Digest::of(&bytes));
    assert_eq!(a.stand(world.event, id).await.unwrap().receipt, done.receipt, "what is complete is so everywhere");
    a.recover().await.unwrap();
    assert!(a.store.staged_uploads().unwrap().is_empty(), "what nobody needs any more is left over");
}

#[tokio::test]
async fn a_node_that_lost_an_upload_while_it_wrote_commits_nothing() {
    let (world, a, b, _dir) = two_nodes().await;
    let bytes = content(40_000, 4);
    let id = a.create(world.new_upload(&bytes)).await.unwrap().id;
    let (sender, receiver) = tokio::sync::mpsc::unbounded_channel::<Piece>();
    let body = Box::pin(futures_util::stream::unfold(receiver, |mut receiver| async {
        receiver.recv().await.map(|piece| (piece, receiver))
    }));
    let writing = tokio::spawn({
        let (a, event) = (a.clone(), world.event);
        async move { a.append(event, id, 0, body).await }
    });
    sender.send(Ok(Bytes::copy_from_slice(&bytes[..1000]))).unwrap();
    while a.store.staged_length(id).unwrap().is_none() {
        tokio::task::yield_now().await;
    }
    b.append(world.event, id, 0, whole(&bytes[..5000], 700)).await.unwrap();
    sender.send(Ok(Bytes::copy_from_slice(&bytes[1000..]))).unwrap();
    drop(sender);
    let late = writing.await.unwrap();
    assert!(matches!(late, Err(UploadError::TakenOver)), "{late:?}");
    assert_eq!(b.stand(world.event, id).await.unwrap().offset, 5000, "the other goes on undisturbed");
    b.append(world.event, id, 5000, whole(&bytes[5000..], 700)).await.unwrap();
    let (names, _) = world.catalog.names(world.event, 0, 10).await.unwrap();
    assert_eq!(names.len(), 1);
}
