//! What every use of a face service goes through, against one that lives in this file.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU32, Ordering::SeqCst};

use super::*;
use crate::clock::now_ms;
use crate::{NewEvent, Site};

/// A service whose pictures are lists of people: each byte is a face.
#[derive(Debug, Default)]
struct Pretended {
    /// By event: the faces with the names that they are kept under.
    kept: Mutex<HashMap<EventId, Vec<(String, String)>>>,
    calls: [AtomicU32; 6],
    /// Answers that are still to be «too busy».
    busy: AtomicU32,
    numbers: AtomicU32,
}

impl Pretended {
    fn answer<'a, T: Send + 'a>(&self, operation: Operation, value: Result<T, ServiceError>) -> Answer<'a, T> {
        self.calls[operation as usize].fetch_add(1, SeqCst);
        let busy = self.busy.fetch_update(SeqCst, SeqCst, |busy| busy.checked_sub(1)).is_ok();
        let value = if busy { Err(ServiceError::Passing("too busy".to_owned())) } else { value };
        Box::pin(async move {
            tokio::task::yield_now().await;
            value
        })
    }

    fn count(&self, operation: Operation) -> u32 {
        self.calls[operation as usize].load(SeqCst)
    }

    fn names(&self, event: EventId) -> Vec<String> {
        self.kept
            .lock()
            .unwrap()
            .get(&event)
            .map_or_else(Vec::new, |kept| kept.iter().map(|(_, n)| n.clone()).collect())
    }
}

impl FaceService for Pretended {
    fn create(&self, event: EventId) -> Answer<'_, ()> {
        if self.busy.load(SeqCst) == 0 {
            assert!(self.kept.lock().unwrap().insert(event, Vec::new()).is_none(), "made twice");
        }
        self.answer(Operation::Create, Ok(()))
    }

    fn index<'a>(&'a self, event: EventId, name: &'a str, jpeg: Bytes) -> Answer<'a, Vec<RemoteFace>> {
        if self.busy.load(SeqCst) > 0 {
            return self.answer(Operation::Index, Ok(Vec::new()));
        }
        let mut kept = self.kept.lock().unwrap();
        let kept = kept.get_mut(&event).expect("the collection was made first");
        let face = |_: &u8| {
            let reference = FaceRef { event, name: format!("face-{}", self.numbers.fetch_add(1, SeqCst)) };
            kept.push((reference.name.clone(), name.to_owned()));
            let area = FaceBox { x: 0.0, y: 0.0, width: 0.1, height: 0.1 };
            RemoteFace { reference, area, score: 1.0, turned: 0.0 }
        };
        let faces = jpeg.iter().map(face).collect();
        self.answer(Operation::Index, Ok(faces))
    }

    fn search<'a>(&'a self, face: &'a FaceRef) -> Answer<'a, Vec<(FaceRef, Similarity)>> {
        self.answer(Operation::Search, Err(ServiceError::NotThere(face.name.clone())))
    }

    fn list(&self, event: EventId) -> Answer<'_, Vec<(FaceRef, String)>> {
        let of = |(face, name): &(String, String)| (FaceRef { event, name: face.clone() }, name.clone());
        let all = self.kept.lock().unwrap().get(&event).map(|kept| kept.iter().map(of).collect());
        self.answer(Operation::List, all.ok_or(ServiceError::NotThere(String::new())))
    }

    fn delete_faces<'a>(&'a self, event: EventId, faces: &'a [FaceRef]) -> Answer<'a, ()> {
        if let Some(kept) = self.kept.lock().unwrap().get_mut(&event) {
            kept.retain(|(face, _)| faces.iter().all(|gone| gone.name != *face));
        }
        self.answer(Operation::DeleteFaces, Ok(()))
    }

    fn delete(&self, event: EventId) -> Answer<'_, ()> {
        let gone = self.kept.lock().unwrap().remove(&event);
        self.answer(Operation::Delete, gone.map(drop).ok_or(ServiceError::NotThere(String::new())))
    }
}

struct World {
    _folder: tempfile::TempDir,
    site: Site,
    service: Arc<Pretended>,
    event: EventId,
}

impl World {
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let site = Site::open(folder.path()).await.unwrap();
        let event = site.create_event(NewEvent::new("event")).await.unwrap().id;
        Self { _folder: folder, site, service: Arc::default(), event }
    }

    /// One of several processes.
    fn remote(&self, budget: Option<&str>) -> Remote {
        let terms =
            RemoteTerms { rate: NonZeroU32::new(1000).unwrap(), budget: budget.map(|text| text.parse().unwrap()) };
        Remote::new(self.service.clone(), self.site.catalog.clone(), terms)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn workers_of_three_processes_make_one_collection() {
    let world = World::new().await;
    let processes = [world.remote(None), world.remote(None), world.remote(None)];
    let work = (0..8).map(|n| {
        let (remote, event) = (processes[n % 3].clone(), world.event);
        tokio::spawn(async move { remote.index(event, &n.to_string(), Bytes::from_static(b"ab")).await.unwrap().len() })
    });
    for work in work.collect::<Vec<_>>() {
        assert_eq!(work.await.unwrap(), 2);
    }
    assert_eq!((world.service.count(Operation::Create), world.service.count(Operation::Index)), (1, 8));
}

#[tokio::test]
async fn a_busy_service_is_asked_again_and_what_is_refused_costs_nothing() {
    let world = World::new().await;
    let remote = world.remote(None);
    world.service.busy.store(3, SeqCst);
    assert_eq!(remote.index(world.event, "one", Bytes::from_static(b"a")).await.unwrap().len(), 1);
    let spent = async || world.site.catalog.spent_remotely().await.unwrap();
    assert_eq!(spent().await, 1000, "once, however often it was tried");
    world.service.busy.store(TRIES, SeqCst);
    let error = remote.index(world.event, "two", Bytes::from_static(b"a")).await.unwrap_err();
    assert!(matches!(error, RemoteError::Service(ServiceError::Passing(_))), "{error}");
    assert_eq!(spent().await, 1000);
    assert_eq!(remote.search(&FaceRef { event: world.event, name: "gone".to_owned() }).await.unwrap(), []);
}

#[tokio::test(flavor = "multi_thread")]
async fn processes_do_not_pass_the_ceiling_together() {
    let world = World::new().await;
    let processes = [world.remote(Some("0.0105")), world.remote(Some("0.0105"))];
    let work = (0..40).map(|n: usize| {
        let (remote, event) = (processes[n % 2].clone(), world.event);
        tokio::spawn(async move { remote.index(event, &n.to_string(), Bytes::from_static(b"a")).await })
    });
    let mut over = 0;
    for work in work.collect::<Vec<_>>() {
        match work.await.unwrap() {
            Ok(_) => {}
            Err(RemoteError::OverBudget) => over += 1,
            Err(error) => panic!("{error}"),
        }
    }
    assert_eq!((world.service.count(Operation::Index), over), (10, 30));
    assert!(processes[0].is_over_budget().await.unwrap());
    assert!(!world.remote(Some("0.02")).is_over_budget().await.unwrap());
    assert!("nonsense".parse::<Dollars>().is_err() && "-1".parse::<Dollars>().is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn faces_that_nothing_refers_to_are_erased_also_when_their_process_died() {
    let world = World::new().await;
    let remote = world.remote(None);
    let answered = remote.index(world.event, "photo", Bytes::from_static(b"abc")).await.unwrap();
    remote.settle(world.event, "photo", &answered).await;
    assert_eq!(world.service.names(world.event).len(), 3);
    remote.erase().await.unwrap();
    assert!(world.service.names(world.event).is_empty(), "no row refers to them");

    // This one's process dies before anything is on record.
    remote.index(world.event, "lost", Bytes::from_static(b"ab")).await.unwrap();
    remote.find_lost(now_ms() - 60_000).await.unwrap();
    remote.erase().await.unwrap();
    assert_eq!(world.service.names(world.event), ["lost", "lost"], "it may still be at it");
    remote.find_lost(now_ms() + 1).await.unwrap();
    remote.erase().await.unwrap();
    assert!(world.service.names(world.event).is_empty());
    assert_eq!(world.service.count(Operation::List), 1);
    remote.find_lost(now_ms() + 1).await.unwrap();
    assert_eq!(world.service.count(Operation::List), 1, "nothing is lost any more");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_that_goes_takes_its_collection_along() {
    let world = World::new().await;
    let remote = world.remote(None);
    let late = remote.index(world.event, "photo", Bytes::from_static(b"abc")).await.unwrap();
    assert!(world.site.delete_event(world.event, crate::catalog::Actor::Operator).await.unwrap());
    let pending = async || world.site.catalog.erasures_pending(now_ms()).await.unwrap();
    assert_eq!(pending().await, 1);
    remote.erase().await.unwrap();
    assert!(!world.service.kept.lock().unwrap().contains_key(&world.event));
    assert_eq!(pending().await, 0);
    // The answer of a worker that was at it comes late; nothing is left of it either, and nothing is tried for ever.
    remote.settle(world.event, "photo", &late).await;
    remote.erase().await.unwrap();
    assert_eq!(pending().await, 0);
    assert!(remote.index(world.event, "later", Bytes::from_static(b"a")).await.is_err());
}
