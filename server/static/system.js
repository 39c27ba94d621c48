// The operator's page, lower half: room, how faces are found and how sure that is here, and what was erased.

import * as api from "./desk.js";
import { locale, moment, number, say, size } from "./say.js";

const part = (id) => document.getElementById(id);
const percent = (share) => (share === null ? "–" : share.toLocaleString(locale, { style: "percent", maximumFractionDigits: 1 }));

const likeness = (cosine) => (cosine === null ? "–" : cosine.toLocaleString(locale, { minimumFractionDigits: 2, maximumFractionDigits: 2 }));

function cell(name, text) {
  const each = document.createElement(name);
  each.textContent = text;
  if (name === "th") each.scope = "row";
  return each;
}

function facts(list, pairs) {
  const each = pairs.map(([key, text]) => {
    const div = document.createElement("div");
    div.append(cell("dt", say(key)), cell("dd", text));
    return div;
  });
  list.replaceChildren(...each);
}

function show(body) {
  part("free").textContent = body.free_bytes === null ? "" : say("free", { n: size(body.free_bytes) });
  const rows = body.events.map((event) => {
    const row = document.createElement("tr");
    row.append(cell("th", event.name), cell("td", number(event.photos)), cell("td", size(event.bytes)), cell("td", number(event.faces)));
    return row;
  });
  part("storage").tBodies[0].replaceChildren(...rows);
  const { faces, accuracy } = body;
  facts(part("models"), [
    ["faces-state", faces.problem || say(`faces-${faces.state}`)],
    ["pack", faces.pack || "–"],
    ["licence", faces.licence || "–"],
    ["engine", faces.engine || "–"],
    ["you-from", likeness(faces.you_from)],
    ["maybe-from", likeness(faces.maybe_floor)],
    ["version", body.version],
  ]);
  part("unmeasured").hidden = accuracy !== null;
  facts(part("accuracy"), accuracy === null ? [] : [
    ["measured", say("measured-on", { n: accuracy.set, of: moment(accuracy.made_at) })],
    ["searches", say("searches-of", { n: number(accuracy.searches), of: number(accuracy.photos) })],
    ["you-precision", percent(accuracy.you_precision)],
    ["you-recall", percent(accuracy.you_recall)],
    ["both-recall", percent(accuracy.both_recall)],
    ["strangers", say("strangers-of", { n: percent(accuracy.strangers_shown), of: number(accuracy.strangers) })],
  ]);
}

let next = null;

async function older() {
  const answer = await api.audit(next);
  if (answer.code !== "ok") return;
  next = answer.body.next;
  const lines = answer.body.entries.map((entry) => {
    const known = say(`audit-${entry.action}`, { n: number(entry.count) });
    const what = known.startsWith("audit-") ? `${entry.action} (${number(entry.count)})` : known;
    return cell("li", [moment(entry.at), entry.name || say("event-gone"), what, say(`actor-${entry.actor}`)].join(" · "));
  });
  part("audit").append(...lines);
  if (!part("audit").children.length) part("audit").append(cell("li", say("no-attention")));
  part("audit-more").hidden = !next;
}

/** Fills it; `went` says what failed. */
export async function system(went) {
  const answer = await api.system();
  if (went(answer)) show(answer.body);
  await older();
}

part("audit-more").addEventListener("click", older);
