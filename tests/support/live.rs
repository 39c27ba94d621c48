//! A listener of `GET /api/live`, as a browser's EventSource is one.

use std::time::Duration;

use reqwest::{RequestBuilder, Response, StatusCode};

use super::PATIENCE;

/// One server-sent event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Heard {
    pub(crate) id: i64,
    pub(crate) name: String,
    pub(crate) data: String,
}

impl Heard {
    /// Id of the photo that it tells of.
    pub(crate) fn photo(&self) -> String {
        let data: serde_json::Value = serde_json::from_str(&self.data).unwrap();
        data["photo"].as_str().unwrap_or_else(|| panic!("{self:?}")).to_owned()
    }
}

/// One open connection.
#[derive(Debug)]
pub(crate) struct Listener {
    response: Response,
    text: String,
}

impl Listener {
    /// Opens the stream (`request` says where, and who asks); what came after `last` is replayed.
    pub(crate) async fn open(request: RequestBuilder, last: Option<i64>) -> Self {
        let request = match last {
            Some(last) => request.header("last-event-id", last.to_string()),
            None => request,
        };
        Self::over(request.send().await.unwrap())
    }

    /// The stream that an answer began.
    pub(crate) fn over(response: Response) -> Self {
        assert_eq!(response.status(), StatusCode::OK);
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        Self { response, text: String::new() }
    }

    /// The next event; `None` when the connection ended. Comments (heartbeats) are passed over.
    pub(crate) async fn next(&mut self) -> Option<Heard> {
        tokio::time::timeout(PATIENCE, self.read()).await.expect("no event, heartbeats at most")
    }

    async fn read(&mut self) -> Option<Heard> {
        loop {
            while let Some((block, rest)) = self.text.split_once("\n\n") {
                let heard = event(block);
                self.text = rest.to_owned();
                if heard.is_some() {
                    return heard;
                }
            }
            match self.response.chunk().await {
                Ok(Some(bytes)) => self.text.push_str(std::str::from_utf8(&bytes).unwrap()),
                Ok(None) | Err(_) => return None,
            }
        }
    }

    /// The next event of this name; all before it are dropped.
    pub(crate) async fn wait_for(&mut self, name: &str) -> Heard {
        loop {
            let heard = self.next().await.unwrap_or_else(|| panic!("the stream ended before {name}"));
            if heard.name == name {
                return heard;
            }
        }
    }

    /// Whether nothing comes within this time.
    pub(crate) async fn is_silent_for(&mut self, time: Duration) -> Result<(), Heard> {
        match tokio::time::timeout(time, self.next()).await {
            Err(_) | Ok(None) => Ok(()),
            Ok(Some(heard)) => Err(heard),
        }
    }
}

fn event(block: &str) -> Option<Heard> {
    let field = |name: &str| block.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
    Some(Heard {
        id: field("id")?.parse().unwrap(),
        name: field("event")?.to_owned(),
        data: field("data").unwrap_or_default().to_owned(),
    })
}
