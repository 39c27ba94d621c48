//! schemathesis reads the API's description and sends what it allows and what it does not, as each kind of caller.

use std::process::{Command, Stdio};

use crate::crew::upload;
use crate::foreign::Foreign;
use crate::support::photos::small;
use crate::support::{Server, say};
use crate::wire::Wire;

/// What must hold for each answer.
const CHECKS: &str = "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance";

/// So many examples for each operation and caller.
pub(crate) async fn run(examples: u64, seed: u64) {
    let server = Server::start().await;
    let event = server.create_event("schema");
    let mut wire = Wire::to(&event.url).await.unwrap();
    for number in 0..3 {
        upload(&mut wire, &event, &small(number)).await;
    }
    event.rest().await;
    let guest = event.guest().await;
    let python = Foreign::python(&["schemathesis>=4,<5"]);
    let callers = [
        ("photographer", format!("Authorization: Bearer {}", event.token)),
        ("operator", format!("Authorization: Bearer {}", server.operator_token())),
        ("guest", format!("Cookie: {}", guest.cookie())),
    ];
    let mut failed = Vec::new();
    for (who, header) in callers {
        let mut command = Command::new(python.path("venv/bin/schemathesis"));
        command.args(["run", &format!("{}/api/openapi.json", server.url()), "--header", &header]);
        command.args(["--checks", CHECKS, "--max-examples", &examples.to_string(), "--seed", &seed.to_string()]);
        // A stream does not end; who erases themselves is a guest no more.
        command.args(["--exclude-path", "/api/live", "--exclude-operation-id", "erase", "--request-timeout", "10"]);
        command.args(["--phases", "examples,coverage,fuzzing", "--continue-on-failure", "--no-color"]);
        command.env("SCHEMATHESIS_HOOKS", python.path("schema_hooks.py"));
        command.current_dir(python.path("")).stdin(Stdio::null());
        let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        // From its list of failures on: each with the request that shows it.
        let end = said.find("= FAILURES =").or_else(|| said.find("= SUMMARY =")).unwrap_or(0);
        say(&format!("schemathesis as {who}: {}\n{}", output.status, &said[end..]));
        if !output.status.success() {
            failed.push(who);
        }
    }
    assert!(!server.log().contains("panicked"), "a panic");
    assert!(failed.is_empty(), "the API is not as it describes itself, for {failed:?}");
    server.assert_no_faults();
}
