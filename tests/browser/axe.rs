//! The rules of axe-core: from the npm registry into the target folder, never into the repository.

use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Mutex;

use anyhow::{Context, ensure};

const PACKAGE: &str = "axe-core@4.11.0";

/// What is wrong on the page, as far as it matters: which rule, and where.
pub(super) const RUN: &str = r##"
const done = arguments[arguments.length - 1];
axe.run(document, { resultTypes: ["violations"], iframes: false }).then(
  (result) => done(result.violations.filter((v) => v.impact === "serious" || v.impact === "critical")
    .map((v) => ({ rule: v.id, nodes: v.nodes.map((n) => n.html.slice(0, 160) + " " + (n.any[0] ? n.any[0].message : "")) }))),
  (error) => done([String(error)]));
"##;

/// Tests of one run share one installation.
static INSTALLING: Mutex<()> = Mutex::new(());

/// The rules as a script; `None`, loudly, where there is no npm or no registry, and an error where they must be.
pub(super) fn source(folder: &Path) -> anyhow::Result<Option<String>> {
    let _one = INSTALLING.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let script = folder.join("node_modules/axe-core/axe.min.js");
    if !script.exists() {
        std::fs::create_dir_all(folder)?;
        let install = ["install", "--no-save", "--no-audit", "--no-fund", "--ignore-scripts", "--silent", PACKAGE];
        let mut npm = Command::new("npm");
        npm.args(install).arg("--prefix").arg(folder).stdin(Stdio::null()).stdout(Stdio::null());
        let installed = npm.status().is_ok_and(|status| status.success());
        if !installed {
            ensure!(std::env::var_os("FINDME_REQUIRE_ASSETS").is_none_or(|v| v != "1"), "missing: {PACKAGE} from npm");
            println!("SKIPPED, NOT TESTED: accessibility; missing {PACKAGE} (npm)");
            return Ok(None);
        }
    }
    std::fs::read_to_string(&script).map(Some).with_context(|| script.display().to_string())
}
