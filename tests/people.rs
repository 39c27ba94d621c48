//! The people of an event, as its operator sees them: faces in groups, nobody's name; and hiding one of them everywhere.

use findme_common::protocol::{HidePerson, People, PersonHidden, header};
use findme_server::picture;
use reqwest::{Method, StatusCode};

use crate::support::guest::client;
use crate::support::{Server, asset};

#[tokio::test(flavor = "multi_thread")]
async fn people_are_gathered_largest_first_and_one_is_hidden_everywhere() {
    let (Some(people), Some(models)) = (asset("photos/people"), asset("models")) else { return };
    let server = Server::start_with_models(&models).await;
    let event = server.create_event("party");
    for name in ["obama/obama.jpg", "obama/obama-1080p.jpg", "obama/obama3.jpg", "biden/biden.jpg", "biden/biden2.jpg"]
    {
        let bytes = std::fs::read(people.join(name)).unwrap();
        let request = event.request(Method::POST, "/api/uploads").header(header::UPLOAD_LENGTH, bytes.len());
        let request = request.header("content-type", "application/offset+octet-stream");
        assert_eq!(request.body(bytes).send().await.unwrap().status(), StatusCode::CREATED);
    }
    assert_eq!(event.rest().await.indexed, 5);
    let path = format!("/api/admin/events/{}/people", event.id);
    let ask = |method: Method, path: &str| {
        client().request(method, format!("{}{path}", server.url())).bearer_auth(server.operator_token())
    };
    let gathered = async || ask(Method::GET, &path).send().await.unwrap().json::<People>().await.unwrap();
    let guest = event.guest().await;
    guest.selfie(std::fs::read(people.join("obama/obama2.jpg")).unwrap()).await.unwrap();
    event.guest().await;

    let found = gathered().await;
    let sizes: Vec<_> = found.people.iter().map(|person| person.photos).collect();
    assert_eq!((sizes.as_slice(), found.groups, found.faces), ([3, 2].as_slice(), 2, 5), "{found:?}");
    assert_eq!((found.guests.joined, found.guests.enrolled, found.guests.without_photo), (2, 1, 0));
    let first = &found.people[0];
    let answer = ask(Method::GET, &format!("{path}/{}/picture", first.face)).send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::OK);
    let picture = picture::from_bytes(&answer.bytes().await.unwrap(), &picture::Limits::default()).unwrap();
    assert!((40..=200).contains(&picture.source_width), "{} pixels", picture.source_width);
    let other = found.people[1].face;

    // Found by nobody any more, and guests see none of their photos; everybody else is as before.
    let hide = ask(Method::POST, &format!("{path}/{}/hide", first.face)).json(&HidePerson { photos: true });
    let hidden: PersonHidden = hide.send().await.unwrap().json().await.unwrap();
    assert_eq!((hidden.photos.len(), hidden.hidden), (3, 3));
    assert!(guest.held().await.matches.is_empty());
    assert_eq!(guest.all_photos().await.len(), 2);
    let found = gathered().await;
    assert_eq!((found.groups, found.people[0].face, found.faces), (1, other, 2));
    // A photo of theirs that comes later, and one that is looked at again, do not bring them back.
    let later = std::fs::read(people.join("obama/obama1.jpg")).unwrap();
    let request = event.request(Method::POST, "/api/uploads").header(header::UPLOAD_LENGTH, later.len());
    request.header("content-type", "application/offset+octet-stream").body(later).send().await.unwrap();
    let again = format!("/api/admin/events/{}/reindex", event.id);
    ask(Method::POST, &again).json(&serde_json::json!({ "failed": false })).send().await.unwrap();
    assert_eq!(event.rest().await.indexed, 6);
    assert_eq!((gathered().await.groups, gathered().await.faces), (1, 2));
    assert!(guest.held().await.matches.is_empty());
    // Lifting it does.
    let lift = format!("/api/admin/events/{}/suppressions/{}", event.id, hidden.suppression);
    assert_eq!(ask(Method::DELETE, &lift).send().await.unwrap().status(), StatusCode::NO_CONTENT);
    event.rest().await;
    assert_eq!((gathered().await.groups, gathered().await.faces), (2, 6));
    let gone = ask(Method::POST, &format!("{path}/{}/hide", first.face)).json(&HidePerson::default());
    assert_eq!(gone.send().await.unwrap().status(), StatusCode::NOT_FOUND);
    server.assert_no_faults();
}
