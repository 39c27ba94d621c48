//! How a page is met without eyes and without a pointer: what a screen reader is told of it, and where the Tab key leads.
//! Asked of every page and state that is looked at.

use anyhow::{Context, ensure};
use serde_json::{Value, json};

use super::phone::Phone;

/// Roles of what can be used: each must have a name.
const CONTROLS: [&str; 12] = [
    "button",
    "link",
    "checkbox",
    "radio",
    "textbox",
    "searchbox",
    "combobox",
    "spinbutton",
    "slider",
    "menuitem",
    "DisclosureTriangle",
    "Date",
];

/// Most presses of the Tab key on one page: lists of photos go on for long.
const PRESSES: usize = 70;

/// Marks the controls that Tab is to reach; how many there are.
const MARK: &str = r##"
const inside = [...document.querySelectorAll("dialog[open]")].pop() || document;
const all = [...inside.querySelectorAll("a[href], button, input, select, textarea, summary, [tabindex='0']")].filter((e) =>
  !e.disabled && e.tabIndex >= 0 && e.getClientRects().length && e.checkVisibility({ visibilityProperty: true })
  && !(e.type === "radio" && e.name && !e.checked));
for (const e of all) e.dataset.tab = "wanted";
window.before = [document.activeElement, scrollX, scrollY];
window.last = null;
if (document.activeElement) document.activeElement.blur();
// Where the keyboard begins anew: at the top of the page, or of the dialog.
getSelection().removeAllRanges();
const top = inside === document ? document.body : inside;
top.tabIndex = -1;
top.focus({ preventScroll: true });
top.removeAttribute("tabindex");
return all.length;
"##;

/// Where the focus is: whether it left the page, and what is wrong with how it came there and how it shows.
const HERE: &str = r##"
const e = document.activeElement;
if (!e || e === document.body || e === document.documentElement || e.dataset.tab === "reached") return [true, ""];
const wrong = [];
const name = e.outerHTML.slice(0, 110);
if (window.last && window.last.isConnected && !(window.last.compareDocumentPosition(e) & Node.DOCUMENT_POSITION_FOLLOWING))
  wrong.push(`before the one before: ${name}`);
window.last = e;
if (e.dataset.tab) e.dataset.tab = "reached";
const ring = (of) => { const s = getComputedStyle(of); return s.outlineStyle !== "none" && parseFloat(s.outlineWidth) >= 2; };
// Some draw it beside themselves or around them.
const drawn = e.matches(".hidden-input, .filters input") ? e.nextElementSibling : e.matches(".picks input") ? e.closest("li") : e;
if (!ring(drawn)) wrong.push(`no ring: ${name}`);
const box = drawn.getBoundingClientRect();
if (!(box.bottom > 0 && box.top < innerHeight && box.right > 0 && box.left < innerWidth)) wrong.push(`off the screen: ${name}`);
return [false, wrong.join(", ")];
"##;

/// What was not reached; focus and place as they were before.
const BACK: &str = r##"
const left = [...document.querySelectorAll("[data-tab=wanted]")].map((e) => e.outerHTML.slice(0, 110));
for (const e of document.querySelectorAll("[data-tab]")) delete e.dataset.tab;
const [element, x, y] = window.before;
if (element && element !== document.body) element.focus({ preventScroll: true });
else if (document.activeElement) document.activeElement.blur();
scrollTo(x, y);
return left;
"##;

impl Phone {
    /// Presses Tab until the focus leaves the page: each control is reached once, in the document's order, on the screen and
    /// with a ring around it. Leaves focus and place as they were.
    pub(super) async fn tabs_in_order(&self, name: &str) -> anyhow::Result<()> {
        let all = self.js(MARK, vec![]).await?;
        let mut through = false;
        for _ in 0..PRESSES {
            self.press("Tab", 9).await?;
            let here = self.js(HERE, vec![]).await?;
            ensure!(here[1] == json!(""), "{name}, by Tab: {}", here[1]);
            through = here[0] == json!(true);
            if through {
                break;
            }
        }
        let left = self.js(BACK, vec![]).await?;
        ensure!(all != json!(0), "{name}: nothing to be reached by Tab");
        ensure!(!through || left == json!([]), "{name}: of {all} Tab does not reach {left:#}");
        Ok(())
    }

    /// A key as the keyboard gives it, by its DOM name and its number.
    pub(super) async fn press(&self, key: &str, code: u32) -> anyhow::Result<()> {
        let text = match key {
            "Enter" => "\r",
            " " => " ",
            _ => "",
        };
        for kind in [if text.is_empty() { "rawKeyDown" } else { "keyDown" }, "keyUp"] {
            let typed = if kind == "keyDown" { text } else { "" };
            let event = json!({ "type": kind, "key": key, "code": if key == " " { "Space" } else { key },
                "windowsVirtualKeyCode": code, "text": typed });
            self.devtools("Input.dispatchKeyEvent", event).await?;
        }
        Ok(())
    }

    /// What a screen reader is told: every control has a name, there is one main part, and headings go down step by step.
    pub(super) async fn reads_well(&self, name: &str) -> anyhow::Result<()> {
        let tree = self.devtools("Accessibility.getFullAXTree", json!({})).await?;
        let nodes = tree["nodes"].as_array().context("nodes")?;
        let heard: Vec<&Value> = nodes.iter().filter(|node| node["ignored"] != true).collect();
        let role = |node: &Value| node["role"]["value"].as_str().unwrap_or_default().to_owned();
        let says = |node: &Value| node["name"]["value"].as_str().unwrap_or_default().trim().to_owned();
        for node in &heard {
            let nameless = CONTROLS.contains(&role(node).as_str()) && says(node).is_empty();
            ensure!(!nameless, "{name}: no name for {node}");
        }
        let modal = heard.iter().any(|node| role(node) == "dialog");
        let levels: Vec<i64> = heard.iter().filter(|node| role(node) == "heading").map(|node| level(node)).collect();
        if modal {
            let named = heard.iter().filter(|node| role(node) == "dialog").all(|node| !says(node).is_empty());
            ensure!(named, "{name}: a dialog without a name");
            return Ok(());
        }
        for landmark in ["main", "banner", "contentinfo"] {
            let there = heard.iter().filter(|node| role(node) == landmark).count();
            ensure!(there == 1, "{name}: {there} of {landmark}");
        }
        ensure!(levels.first() == Some(&1), "{name}: the headings are {levels:?}");
        ensure!(levels.is_sorted_by(|before, after| after - before <= 1), "{name}: the headings are {levels:?}");
        Ok(())
    }
}

/// The level of a heading, 1 to 6; 0 when it has none.
fn level(node: &Value) -> i64 {
    let properties = node["properties"].as_array().map(Vec::as_slice).unwrap_or_default();
    properties
        .iter()
        .find(|property| property["name"] == "level")
        .map_or(0, |p| p["value"]["value"].as_i64().unwrap_or(0))
}
